// How convolutions on channels-last sequences are made of matrix products, common to all backends.
//
//     convolution             y[n, l] = b + sum_k W_k x[n, l * stride + k - padding]
//     transposed convolution  y[n, l * stride + k - padding] = b + sum_{l, k} W_k' x[n, l]
//
// Every (position, tap) pair is one product over the batch; pairs that meet the padding are left out, so
// nothing is multiplied by zeros and nothing is copied. The transposed convolution is the adjoint of the
// convolution, so the same pairs serve both: `wide` is the side a convolution reads [batch, wide length, wide
// channels], `narrow` the side it writes, and the weights are [kernel, narrow channels, wide channels].
#pragma once

#include <maa/backend/conv_shape.hpp>
#include <maa/core/views.hpp>

MAA_NAMESPACE_BEGIN
namespace conv {

// Calls body(tap, rows of wide, rows of narrow) for every product. A tap that connects each position with the
// same position of the other side is one product over all positions: it reads its weights once.
template <class Wide, class Narrow, class Body>
void for_each_product(ConvShape shape, SequenceView<Wide> wide, SequenceView<Narrow> narrow,
                      const Body& body) {
  for (Index tap = 0; tap < shape.kernel; ++tap) {
    if (shape.stride == 1 && tap == shape.padding && wide.length == narrow.length) {
      body(tap, wide.flat(), narrow.flat());
      continue;
    }
    for (Index l = 0; l < narrow.length; ++l) {
      const Index position = l * shape.stride + tap - shape.padding;
      if (position >= 0 && position < wide.length) {
        body(tap, wide.position(position), narrow.position(l));
      }
    }
  }
}

// A kernel of 3 over a sequence of 2, whose taps make the 2 x 2 Toeplitz matrix [W1 W2; W0 W1]: three
// products do in place of four.
template <class Wide, class Narrow>
bool is_toeplitz(ConvShape shape, SequenceView<Wide> wide, SequenceView<Narrow> narrow) {
  return shape.kernel == 3 && shape.stride == 1 && shape.padding == 1 && wide.length == 2 &&
         narrow.length == 2;
}

// x and y are the input and output of the forward op whose output length is given.
template <class X, class Y>
void check_convolution(ConvShape shape, SequenceView<X> x, SequenceView<Y> y,
                       Index (ConvShape::*output_length)(Index) const, const char* op) {
  require(shape.kernel >= 1 && shape.stride >= 1 && shape.padding >= 0, op,
          ": expected kernel and stride of at least 1 and padding of at least 0, found kernel ", shape.kernel,
          ", stride ", shape.stride, ", padding ", shape.padding);
  require(shape.output_padding >= 0 && shape.output_padding < shape.stride, op,
          ": expected an output_padding from 0 to below the stride of ", shape.stride, ", found ",
          shape.output_padding);
  const Index length = (shape.*output_length)(x.length);
  require(y.batch == x.batch && y.length == length, op, ": expected an output of batch ", x.batch,
          " and length ", length, " for input length ", x.length, ", kernel ", shape.kernel, ", stride ",
          shape.stride, ", padding ", shape.padding, "; found batch ", y.batch, " and length ", y.length);
}

}  // namespace conv
MAA_NAMESPACE_END
