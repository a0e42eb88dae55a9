// The fully connected layer: y = x W' + b with x [M, in], W [out, in] row-major, b [out], y [M, out].
#pragma once

#include <maa/backend/cuda/product.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// y = x W' + b, where rows of W lie `weight_row` apart: columns of a wider matrix. `bias` may be null.
inline void linear_forward(const Backend& backend, In x, const Real* weight, Index weight_row,
                           const Real* bias, Out y) {
  require_shape(y, x.rows, y.cols, "linear_forward: y");
  multiply(backend, {.a = raw(x.data),
                     .b = raw(weight),
                     .c = raw(y.data),
                     .bias = raw(bias),
                     .m = y.rows,
                     .n = y.cols,
                     .k = x.cols,
                     .a_row = x.stride,
                     .b_row = weight_row,
                     .c_row = y.stride,
                     .b_transposed = 1});
}

// The same with the whole matrix.
inline void linear_forward(const Backend& backend, In x, const Real* weight, const Real* bias, Out y) {
  linear_forward(backend, x, weight, x.cols, bias, y);
}

// dx = dy W (overwrites).
inline void linear_backward_input(const Backend& backend, In dy, const Real* weight, Out dx) {
  require_shape(dx, dy.rows, dx.cols, "linear_backward_input: dx");
  multiply(backend, {.a = raw(dy.data),
                     .b = raw(weight),
                     .c = raw(dx.data),
                     .m = dx.rows,
                     .n = dx.cols,
                     .k = dy.cols,
                     .a_row = dy.stride,
                     .b_row = dx.cols,
                     .c_row = dx.stride});
}

// sums[j] += the sum over rows of x(i, j), in a fixed order.
inline void add_column_sums(const Backend& backend, In x, Real* sums) {
  detail::add_column_sums(backend, x, 1, 0, sums, 0);
}

// dW += dy' x, db += column sums of dy; `dbias` may be null.
inline void linear_backward_weight(const Backend& backend, In dy, In x, Real* dweight, Real* dbias) {
  require_shape(x, dy.rows, x.cols, "linear_backward_weight: x");
  multiply(backend, {.a = raw(dy.data),
                     .b = raw(x.data),
                     .c = raw(dweight),
                     .m = dy.cols,
                     .n = x.cols,
                     .k = dy.rows,
                     .a_row = dy.stride,
                     .b_row = x.stride,
                     .c_row = x.cols,
                     .a_transposed = 1,
                     .accumulate = 1});
  if (dbias != nullptr) {
    add_column_sums(backend, dy, dbias);
  }
}

}  // namespace cuda
MAA_NAMESPACE_END
