// One-dimensional convolution and its transpose on channels-last sequences.
//
//     convolution             y[n, l] = b + sum_k W_k x[n, l * stride + k - padding]
//     transposed convolution  y[n, l * stride + k - padding] = b + sum_{l, k} W_k' x[n, l]
//
// Weights lie in memory as one contiguous matrix per tap k: convolution [kernel, out, in], transposed
// convolution [kernel, in, out]. Every (position, tap) pair is one matrix product over the batch; pairs that
// meet the padding are left out, so nothing is multiplied by zeros and nothing is copied.
#pragma once

#include <maa/backend/conv_shape.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/loops.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// The transposed convolution is the adjoint of the convolution, so three products serve both. In them `wide`
// is the side a convolution reads [batch, wide length, wide channels], `narrow` the side it writes, and the
// weights are [kernel, narrow channels, wide channels].

// Calls product(tap, rows of wide, rows of narrow) for every product. A tap that connects each position with
// the same position of the other side is one product over all positions: it reads its weights once.
template <class Wide, class Narrow, class Product>
void for_each_product(ConvShape shape, SequenceView<Wide> wide, SequenceView<Narrow> narrow,
                      const Product& product) {
  for (Index tap = 0; tap < shape.kernel; ++tap) {
    if (shape.stride == 1 && tap == shape.padding && wide.length == narrow.length) {
      product(tap, wide.flat(), narrow.flat());
      continue;
    }
    for (Index l = 0; l < narrow.length; ++l) {
      const Index position = l * shape.stride + tap - shape.padding;
      if (position >= 0 && position < wide.length) {
        product(tap, wide.position(position), narrow.position(l));
      }
    }
  }
}

template <class T>
Strided<T> tap_matrix(const T* weight, Index tap, Index narrow_channels, Index wide_channels) {
  return {weight + tap * narrow_channels * wide_channels, narrow_channels, wide_channels, wide_channels, 1};
}

// Every position of y = bias (zeros if null).
template <class T>
void fill_positions(const Backend& backend, const T* bias, SequenceView<T> y) {
  const auto rows = y.flat();
  for_chunks(backend.pool(), rows.rows, rows_per_task(rows.cols), [=](Index, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      if (bias != nullptr) {
        std::copy_n(bias, rows.cols, rows.row(i));
      } else {
        std::fill_n(rows.row(i), rows.cols, T(0));
      }
    }
  });
}

// narrow = bias + sum of wide W'.
template <class T>
void conv_to_narrow(const Backend& backend, ConvShape shape, SequenceView<const T> wide, const T* weight,
                    const T* bias, SequenceView<T> narrow) {
  fill_positions(backend, bias, narrow);
  for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<const T> from, MatrixView<T> to) {
    gemm(backend, Strided<T>(from), tap_matrix(weight, tap, to.cols, from.cols).transposed(), to,
         Write::accumulate);
  });
}

// wide = bias + sum of narrow W.
template <class T>
void conv_to_wide(const Backend& backend, ConvShape shape, SequenceView<const T> narrow, const T* weight,
                  const T* bias, SequenceView<T> wide) {
  fill_positions(backend, bias, wide);
  for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<T> to, MatrixView<const T> from) {
    gemm(backend, Strided<T>(from), tap_matrix(weight, tap, from.cols, to.cols), to, Write::accumulate);
  });
}

// dweight += sum of narrow' wide.
template <class T>
void conv_weight_gradient(const Backend& backend, ConvShape shape, SequenceView<const T> wide,
                          SequenceView<const T> narrow, T* dweight) {
  const Index tap_size = narrow.channels * wide.channels;
  for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<const T> from, MatrixView<const T> to) {
    gemm(backend, Strided<T>(to).transposed(), Strided<T>(from),
         MatrixView<T>(dweight + tap * tap_size, to.cols, from.cols), Write::accumulate);
  });
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

}  // namespace detail

// x [batch, length, in], weight [kernel, out, in], bias [out] or null -> y [batch,
// shape.output_length(length), out].
template <class T>
void conv1d_forward(const Backend& backend, ConvShape shape, InSeq<T> x,
                    const std::type_identity_t<T>* weight, const std::type_identity_t<T>* bias,
                    SequenceView<T> y) {
  detail::check_convolution(shape, x, y, &ConvShape::output_length, "conv1d_forward");
  detail::conv_to_narrow<T>(backend, shape, x, weight, bias, y);
}

// dx = adjoint of the convolution applied to dy (overwrites).
template <class T>
void conv1d_backward_input(const Backend& backend, ConvShape shape, InSeq<T> dy,
                           const std::type_identity_t<T>* weight, SequenceView<T> dx) {
  detail::check_convolution(shape, dx, dy, &ConvShape::output_length, "conv1d_backward_input");
  detail::conv_to_wide<T>(backend, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of dy' x over batch and positions, db += sum of dy; `dbias` may be null.
template <class T>
void conv1d_backward_weight(const Backend& backend, ConvShape shape, InSeq<T> dy, InSeq<T> x, T* dweight,
                            std::type_identity_t<T>* dbias) {
  detail::check_convolution(shape, x, dy, &ConvShape::output_length, "conv1d_backward_weight");
  detail::conv_weight_gradient<T>(backend, shape, x, dy, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

// x [batch, length, in], weight [kernel, in, out], bias [out] or null
// -> y [batch, shape.transposed_output_length(length), out].
template <class T>
void conv_transpose1d_forward(const Backend& backend, ConvShape shape, InSeq<T> x,
                              const std::type_identity_t<T>* weight, const std::type_identity_t<T>* bias,
                              SequenceView<T> y) {
  detail::check_convolution(shape, x, y, &ConvShape::transposed_output_length, "conv_transpose1d_forward");
  detail::conv_to_wide<T>(backend, shape, x, weight, bias, y);
}

// dx = the convolution of dy (overwrites).
template <class T>
void conv_transpose1d_backward_input(const Backend& backend, ConvShape shape, InSeq<T> dy,
                                     const std::type_identity_t<T>* weight, SequenceView<T> dx) {
  detail::check_convolution(shape, dx, dy, &ConvShape::transposed_output_length,
                            "conv_transpose1d_backward_input");
  detail::conv_to_narrow<T>(backend, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of x' dy over batch and positions, db += sum of dy; `dbias` may be null.
template <class T>
void conv_transpose1d_backward_weight(const Backend& backend, ConvShape shape, InSeq<T> dy, InSeq<T> x,
                                      T* dweight, std::type_identity_t<T>* dbias) {
  detail::check_convolution(shape, x, dy, &ConvShape::transposed_output_length,
                            "conv_transpose1d_backward_weight");
  detail::conv_weight_gradient<T>(backend, shape, dy, x, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
