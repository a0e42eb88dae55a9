// The geometry of a one-dimensional convolution, common to all backends.
#pragma once

#include <maa/core/config.hpp>

MAA_NAMESPACE_BEGIN

// Output position l of a convolution sees input positions l * stride + tap - padding, tap in [0, kernel);
// those outside the input are zeros. A transposed convolution of the same shape is its adjoint; several input
// lengths have one output length, output_padding (below stride) chooses among them. (PyTorch's Conv1d and
// ConvTranspose1d with dilation 1.)
struct ConvShape {
  Index kernel = 1;
  Index stride = 1;
  Index padding = 0;
  Index output_padding = 0;  // transposed only: positions added at the end

  // 0 if the padded input is shorter than the kernel.
  constexpr Index output_length(Index length) const {
    const Index room = length + 2 * padding - kernel;
    return room < 0 ? 0 : room / stride + 1;
  }
  // 0 if the padding cuts everything away.
  constexpr Index transposed_output_length(Index length) const {
    const Index uncut = (length - 1) * stride + kernel + output_padding;
    return length <= 0 || uncut <= 2 * padding ? 0 : uncut - 2 * padding;
  }
};

MAA_NAMESPACE_END
