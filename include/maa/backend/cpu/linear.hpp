// The fully connected layer: y = x W' + b with x [M, in], W [out, in] row-major, b [out], y [M, out].
#pragma once

#include <maa/backend/cpu/gemm.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// y = x W' + b; `bias` may be null.
template <class T>
void linear_forward(const Backend& backend, In<T> x, const std::type_identity_t<T>* weight,
                    const std::type_identity_t<T>* bias, MatrixView<T> y) {
  require_shape(y, x.rows, y.cols, "linear_forward: y");
  const Strided<T> transposed = Strided<T>(weight, y.cols, x.cols, x.cols, 1).transposed();
  detail::multiply(backend,
                   detail::checked_product<T>("linear_forward", x, transposed, y, bias, Write::overwrite));
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
  for_chunks(backend.pool(), x.cols, 128, [&](Index, Index first, Index last) {
    for (Index i = 0; i < x.rows; ++i) {
      const T* row = x.row(i);
      if constexpr (std::is_same_v<T, float>) {
        backend.kernels().add(row + first, sums + first, last - first);
      } else {
        kernels::reference::add(row + first, sums + first, last - first);
      }
    }
  });
}

// dW += dy' x, db += column sums of dy; `dbias` may be null.
template <class T>
void linear_backward_weight(const Backend& backend, In<T> dy, In<T> x, T* dweight,
                            std::type_identity_t<T>* dbias) {
  require_shape(x, dy.rows, x.cols, "linear_backward_weight: x");
  gemm(backend, Strided<T>(dy).transposed(), x, MatrixView<T>(dweight, dy.cols, x.cols), Write::accumulate);
  if (dbias != nullptr) {
    add_column_sums(backend, dy, dbias);
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
