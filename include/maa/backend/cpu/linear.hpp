// The fully connected layer: y = x W' + b with x [M, in], W [out, in] row-major, b [out], y [M, out].
#pragma once

#include <maa/backend/cpu/weight_gradient.hpp>
#include <maa/kernels/norm_table.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// y = x W' + b, where rows of W lie `weight_row` apart: columns of a wider matrix. `bias` may be null.
template <class T>
void linear_forward(const Backend& backend, In<T> x, const std::type_identity_t<T>* weight, Index weight_row,
                    const std::type_identity_t<T>* bias, MatrixView<T> y) {
  require_shape(y, x.rows, y.cols, "linear_forward: y");
  const Strided<T> transposed = Strided<T>(weight, y.cols, x.cols, weight_row, 1).transposed();
  detail::multiply(backend,
                   detail::checked_product<T>("linear_forward", x, transposed, y, bias, Write::overwrite));
}

// The same with the whole matrix.
template <class T>
void linear_forward(const Backend& backend, In<T> x, const std::type_identity_t<T>* weight,
                    const std::type_identity_t<T>* bias, MatrixView<T> y) {
  linear_forward(backend, x, weight, x.cols, bias, y);
}

// dx = dy W (overwrites).
template <class T>
void linear_backward_input(const Backend& backend, In<T> dy, const std::type_identity_t<T>* weight,
                           MatrixView<T> dx) {
  require_shape(dx, dy.rows, dx.cols, "linear_backward_input: dx");
  gemm(backend, dy, Strided<T>(weight, dy.cols, dx.cols, dx.cols, 1), dx, Write::overwrite);
}

// sums[j] += the sum over rows of x(i, j), in order of i.
template <class T>
void add_column_sums(const Backend& backend, In<T> x, T* sums) {
  for_chunks(backend.pool(), x.cols, 512, [&](Index, Index first, Index last) {
    if constexpr (std::is_same_v<T, float>) {
      kernels::norm_for(backend.isa())
          .column_sums(x.data + first, x.stride, x.rows, last - first, sums + first);
    } else {
      kernels::reference::column_sums(x.data + first, x.stride, x.rows, last - first, sums + first);
    }
  });
}

// dW += dy' x, db += column sums of dy; `dbias` may be null.
template <class T>
void linear_backward_weight(const Backend& backend, In<T> dy, In<T> x, T* dweight,
                            std::type_identity_t<T>* dbias) {
  require_shape(x, dy.rows, x.cols, "linear_backward_weight: x");
  const auto product =
      detail::checked_product<T>("linear_backward_weight", Strided<T>(dy).transposed(), x,
                                 MatrixView<T>(dweight, dy.cols, x.cols), nullptr, Write::accumulate);
  detail::weight_gradient<T>(backend, std::span(&product, 1), detail::GradientForm::plain);
  if (dbias != nullptr) {
    add_column_sums(backend, dy, dbias);
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
