// Matrix products on strided operands.
#pragma once

#include <maa/backend/cpu/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// Whether a product replaces its output or is added to it.
enum class Write { overwrite, accumulate };

// A read-only matrix with any strides (in elements): element (i, j) is data[i * row_stride + j * col_stride].
template <class T>
struct Strided {
  const T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index row_stride = 0;
  Index col_stride = 0;

  Strided() = default;
  Strided(const T* data_, Index rows_, Index cols_, Index row_stride_, Index col_stride_)
      : data(data_), rows(rows_), cols(cols_), row_stride(row_stride_), col_stride(col_stride_) {}
  Strided(MatrixView<const T> m) : Strided(m.data, m.rows, m.cols, m.stride, 1) {}
  Strided(MatrixView<T> m) : Strided(m.data, m.rows, m.cols, m.stride, 1) {}

  Strided transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

// c = a b or c += a b on the calling thread; for use inside parallel loops. Same bits as gemm.
template <class T>
void gemm_serial(const Backend&, Strided<std::type_identity_t<T>> a, Strided<std::type_identity_t<T>> b,
                 MatrixView<T> c, Write write) {
  require(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, "gemm: shapes");
  for (Index i = 0; i < c.rows; ++i) {
    T* out = c.row(i);
    if (write == Write::overwrite) {
      std::fill_n(out, c.cols, T(0));
    }
    for (Index k = 0; k < a.cols; ++k) {
      const T left = a.data[i * a.row_stride + k * a.col_stride];
      for (Index j = 0; j < c.cols; ++j) {
        out[j] += left * b.data[k * b.row_stride + j * b.col_stride];
      }
    }
  }
}

// c = a b or c += a b with a [M, K], b [K, N], c [M, N], parallel over tiles of c. c must not overlap a or b.
template <class T>
void gemm(const Backend& backend, Strided<std::type_identity_t<T>> a, Strided<std::type_identity_t<T>> b,
          MatrixView<T> c, Write write) {
  gemm_serial(backend, a, b, c, write);
}

}  // namespace cpu
MAA_NAMESPACE_END
