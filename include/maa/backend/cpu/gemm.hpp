// Matrix products on strided operands.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/kernels/gemm_table.hpp>

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

namespace detail {

template <class T>
kernels::Product<T> checked_product(const char* op, const Strided<T>& a, const Strided<T>& b,
                                    const MatrixView<T>& c, const T* bias, Write write) {
  require(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, op,
          ": expected [M, K] [K, N] to [M, N], found [", a.rows, ", ", a.cols, "] [", b.rows, ", ", b.cols,
          "] to [", c.rows, ", ", c.cols, "]");
  return {a.data,
          a.row_stride,
          a.col_stride,
          b.data,
          b.row_stride,
          b.col_stride,
          c.data,
          c.stride,
          bias,
          c.rows,
          c.cols,
          a.cols,
          write == Write::accumulate};
}

template <class T>
void multiply_serial(const Backend& backend, const kernels::Product<T>& product) {
  if constexpr (std::is_same_v<T, float>) {
    Workspace::Scope scope(thread_scratch());
    kernels::multiply_for(backend.isa())(product, thread_scratch().take<float>(kernels::gemm_scratch));
  } else {
    kernels::multiply_reference(product);
  }
}

// An element's bits do not depend on the block it is computed in, so the split only serves speed: pieces of 1
// M multiplications or more, at most 32. Columns are cut before rows: a block packs its columns of b itself
// (slow if that takes a transpose), and its rows of a once more than the blocks beside it. Rows are cut where
// a block holds too many, or columns alone give fewer than 8 pieces; 56 or more stay together, not to be
// taken for a product of few rows.
template <class T>
void multiply(const Backend& backend, const kernels::Product<T>& product) {
  const Index rows = product.rows, cols = product.cols;
  const Index pieces = std::min<Index>(32, rows * cols * product.depth >> 20);
  if (pieces <= 1 || backend.pool().threads() == 1) {
    multiply_serial(backend, product);
    return;
  }
  const auto ceil_div = [](Index a, Index b) { return (a + b - 1) / b; };
  Index row_blocks = ceil_div(rows, 256);
  const Index col_blocks = std::clamp<Index>(ceil_div(pieces, row_blocks), 1, std::max<Index>(1, cols / 64));
  row_blocks = std::max(row_blocks, std::min(ceil_div(std::min<Index>(8, pieces), col_blocks), rows / 56));
  const Index width = ceil_div(ceil_div(cols, col_blocks), 32) * 32;  // whole panels
  const Index used_blocks = ceil_div(cols, width);
  backend.pool().for_each(row_blocks * used_blocks, [&](Index i) {
    const Index r = i / used_blocks, first_col = i % used_blocks * width;
    const Index first_row = rows * r / row_blocks, end_row = rows * (r + 1) / row_blocks;
    multiply_serial(
        backend, product.block(first_row, end_row - first_row, first_col, std::min(width, cols - first_col)));
  });
}

}  // namespace detail

// c = a b or c += a b with a [M, K], b [K, N], c [M, N], on the calling thread; for use inside parallel
// loops. Same bits as gemm. c must not overlap a or b. Fastest if one stride of each operand is 1.
template <class T>
void gemm_serial(const Backend& backend, Strided<std::type_identity_t<T>> a,
                 Strided<std::type_identity_t<T>> b, MatrixView<T> c, Write write) {
  detail::multiply_serial(backend, detail::checked_product<T>("gemm_serial", a, b, c, nullptr, write));
}

// The same, parallel over blocks of c.
template <class T>
void gemm(const Backend& backend, Strided<std::type_identity_t<T>> a, Strided<std::type_identity_t<T>> b,
          MatrixView<T> c, Write write) {
  detail::multiply(backend, detail::checked_product<T>("gemm", a, b, c, nullptr, write));
}

}  // namespace cpu
MAA_NAMESPACE_END
