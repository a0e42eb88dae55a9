// Group normalisation over sequences (Wu & He, 2018) with what follows it in the denoiser's blocks, and layer
// normalisation over rows (Ba et al., 2016). Formulas, shapes and what may be null:
// backend/cpu/norm.hpp.
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

inline void check_groups(Index channels, Index groups, const char* op) {
  require(groups >= 1 && channels >= 1 && channels % groups == 0, op, ": expected groups that divide the ",
          channels, " channels, found ", groups);
}

// The group norm of a batch of sequences, whose rows may be strided.
inline kernels::NormForwardArguments norm_forward_arguments(Index groups, Index length, double epsilon, In x,
                                                            const Real* gain, const Real* bias, Out y,
                                                            Out statistics) {
  kernels::NormForwardArguments p{};
  p.groups = groups;
  p.group_size = x.cols / groups;
  p.length = length;
  p.epsilon = static_cast<float>(epsilon);
  p.x = raw(x.data);
  p.x_row = x.stride;
  p.gain = raw(gain);
  p.bias = raw(bias);
  p.y = raw(y.data);
  p.y_row = y.stride;
  p.statistics = raw(statistics.data);
  p.statistics_row = statistics.stride;
  return p;
}
inline void norm_forward(const Backend& backend, const kernels::NormForwardArguments& p, Index batch) {
  backend.launch(kernels::norm_forward_kernel, p.length == 0 ? 0 : batch * p.groups, p);
}

inline kernels::NormBackwardArguments norm_backward_arguments(Index groups, Index length, In x, In statistics,
                                                              const Real* gain, In dy, Out dx) {
  kernels::NormBackwardArguments p{};
  p.groups = groups;
  p.group_size = x.cols / groups;
  p.length = length;
  p.x = raw(x.data);
  p.x_row = x.stride;
  p.statistics = raw(statistics.data);
  p.statistics_row = statistics.stride;
  p.gain = raw(gain);
  p.dy = raw(dy.data);
  p.dy_row = dy.stride;
  p.dx = raw(dx.data);
  p.dx_row = dx.stride;
  return p;
}

// dgain, dbias and dx_sums (the sum of dx over samples and positions) accumulate; each may be null.
inline void norm_backward(const Backend& backend, kernels::NormBackwardArguments p, Index batch, Real* dgain,
                          Real* dbias, Real* dx_sums) {
  if (batch == 0 || p.length == 0) {
    return;
  }
  const Index channels = p.groups * p.group_size;
  // About as many blocks as run at once, so that sums of many samples take little memory.
  constexpr Index most_blocks = 1024;
  const auto scope = backend.scratch().scope();
  p.batch = batch;
  p.chunk = (batch * p.groups + most_blocks - 1) / most_blocks;
  Index rows = (batch + p.chunk - 1) / p.chunk;
  p.parts = raw(backend.scratch().take<Real>(rows * 4 * channels));
  backend.launch(kernels::norm_backward_kernel, rows * p.groups, p);

  const float* parts = p.parts;
  Index row = 4 * channels;
  // Of dgain, dbias and dx, in that order, the sums up to the last that is wanted.
  const Index cols = (dx_sums != nullptr ? 3 : dbias != nullptr ? 2 : dgain != nullptr ? 1 : 0) * channels;
  constexpr Index rows_at_once = 32;
  if (rows > rows_at_once && cols > 0) {
    const Index shares = (rows + rows_at_once - 1) / rows_at_once;
    float* const sums = raw(backend.scratch().take<Real>(shares * cols));
    backend.launch(kernels::add_parts_kernel, shares * cols,
                   kernels::AddPartsArguments{parts, sums, rows, row, cols, rows_at_once});
    parts = sums;
    rows = shares;
    row = cols;
  }
  backend.launch(
      kernels::norm_totals_kernel, cols,
      kernels::NormTotalsArguments{parts, raw(dgain), raw(dbias), raw(dx_sums), rows, row, channels});
}

}  // namespace detail

// Group norm, Mish, FiLM and a residual in one pass:
//
//     y = scale * Mish(gain * x_hat + bias) + shift + residual
//
// x [batch, length, channels]; gain, bias [channels], null for 1 and 0; scale_bias [batch, 2 * channels]: the
// scales, then the shifts, or no data for 1 and 0; residual and y [batch * length, channels], rows may be
// strided; residual without data stands for 0; statistics [batch, 2 * groups]. y may be x or residual.
inline void norm_mish_forward(const Backend& backend, Index groups, double epsilon, InSeq x, const Real* gain,
                              const Real* bias, In scale_bias, In residual, Out y, Out statistics) {
  detail::check_groups(x.channels, groups, "norm_mish_forward");
  require_shape(y, x.batch * x.length, x.channels, "norm_mish_forward: y");
  require_shape(statistics, x.batch, 2 * groups, "norm_mish_forward: statistics");
  auto arguments =
      detail::norm_forward_arguments(groups, x.length, epsilon, x.flat(), gain, bias, y, statistics);
  arguments.mish = 1;
  if (scale_bias.data != nullptr) {
    require_shape(scale_bias, x.batch, 2 * x.channels, "norm_mish_forward: scale_bias");
    arguments.film = raw(scale_bias.data);
    arguments.film_row = scale_bias.stride;
  }
  if (residual.data != nullptr) {
    require_shape(residual, x.batch * x.length, x.channels, "norm_mish_forward: residual");
    arguments.residual = raw(residual.data);
    arguments.residual_row = residual.stride;
  }
  detail::norm_forward(backend, arguments, x.batch);
}

// Its gradients, from the inputs and statistics of the forward pass; the residual's is dy. dy [batch *
// length, channels], rows may be strided. dx and dscale_bias are overwritten; dgain, dbias and dx_sums
// accumulate, and may be null. dx_sums [channels] is the sum of dx over samples and positions: the gradient
// of the bias of a convolution that made x. dscale_bias has data if scale_bias has. dx may be dy.
inline void norm_mish_backward(const Backend& backend, Index groups, InSeq x, In statistics, const Real* gain,
                               const Real* bias, In scale_bias, In dy, OutSeq dx, Out dscale_bias,
                               Real* dgain, Real* dbias, Real* dx_sums) {
  detail::check_groups(x.channels, groups, "norm_mish_backward");
  require_shape(statistics, x.batch, 2 * groups, "norm_mish_backward: statistics");
  require_shape(dy, x.batch * x.length, x.channels, "norm_mish_backward: dy");
  require_shape(dx, x.batch, x.length, x.channels, "norm_mish_backward: dx");
  auto arguments =
      detail::norm_backward_arguments(groups, x.length, x.flat(), statistics, gain, dy, dx.flat());
  arguments.mish = 1;
  arguments.bias = raw(bias);
  if (scale_bias.data != nullptr) {
    require_shape(scale_bias, x.batch, 2 * x.channels, "norm_mish_backward: scale_bias");
    require_shape(dscale_bias, x.batch, 2 * x.channels, "norm_mish_backward: dscale_bias");
    arguments.film = raw(scale_bias.data);
    arguments.film_row = scale_bias.stride;
    arguments.dfilm = raw(dscale_bias.data);
    arguments.dfilm_row = dscale_bias.stride;
  }
  detail::norm_backward(backend, arguments, x.batch, dgain, dbias, dx_sums);
}

// x, y [rows, channels]; gain, bias [channels], null for 1 and 0; statistics [rows, 2]: mean and reciprocal
// standard deviation, which the backward op needs. y may be x.
inline void layer_norm_forward(const Backend& backend, double epsilon, In x, const Real* gain,
                               const Real* bias, Out y, Out statistics) {
  detail::check_groups(x.cols, 1, "layer_norm_forward");
  require_shape(y, x.rows, x.cols, "layer_norm_forward: y");
  require_shape(statistics, x.rows, 2, "layer_norm_forward: statistics");
  detail::norm_forward(backend, detail::norm_forward_arguments(1, 1, epsilon, x, gain, bias, y, statistics),
                       x.rows);
}

// dx is overwritten unless its data is null; dgain and dbias accumulate, and may be null. dx may be dy.
inline void layer_norm_backward(const Backend& backend, In x, In statistics, const Real* gain, In dy, Out dx,
                                Real* dgain, Real* dbias) {
  detail::check_groups(x.cols, 1, "layer_norm_backward");
  require_shape(dy, x.rows, x.cols, "layer_norm_backward: dy");
  require_shape(statistics, x.rows, 2, "layer_norm_backward: statistics");
  if (dx.data != nullptr) {
    require_shape(dx, x.rows, x.cols, "layer_norm_backward: dx");
  }
  detail::norm_backward(backend, detail::norm_backward_arguments(1, 1, x, statistics, gain, dy, dx), x.rows,
                        dgain, dbias, nullptr);
}

}  // namespace cuda
MAA_NAMESPACE_END
