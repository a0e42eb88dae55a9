// The arguments of one matrix product, and its plain form.
#pragma once

#include <maa/core/config.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

// c = a b (+ c, or + bias for each row); element (i, k) of a is a[i * a_row + k * a_col], likewise b; c is
// row-major.
template <class T>
struct Product {
  const T* a;
  Index a_row, a_col;
  const T* b;
  Index b_row, b_col;
  T* c;
  Index c_row;
  const T* bias;  // null or [cols]; not used if `accumulate`
  Index rows, cols, depth;
  bool accumulate;

  // The part of c (and with it of a, b and bias) that begins at (row, col).
  Product block(Index row, Index row_count, Index col, Index col_count) const {
    auto part = *this;
    part.a += row * a_row;
    part.b += col * b_col;
    part.c += row * c_row + col;
    part.bias = bias == nullptr ? nullptr : bias + col;
    part.rows = row_count;
    part.cols = col_count;
    return part;
  }
};

// The plain product: for double, and what the vector kernels are tested against.
template <class T>
void multiply_reference(const Product<T>& p) {
  for (Index i = 0; i < p.rows; ++i) {
    const T* a = p.a + i * p.a_row;
    T* c = p.c + i * p.c_row;
    if (!p.accumulate) {
      for (Index j = 0; j < p.cols; ++j) {
        c[j] = p.bias == nullptr ? T(0) : p.bias[j];
      }
    }
    if (p.b_row == 1) {
      for (Index j = 0; j < p.cols; ++j) {
        const T* b = p.b + j * p.b_col;
        T sums[4] = {};  // independent chains
        Index k = 0;
        for (; k + 4 <= p.depth; k += 4) {
          for (int u = 0; u < 4; ++u) {
            sums[u] += a[(k + u) * p.a_col] * b[k + u];
          }
        }
        for (; k < p.depth; ++k) {
          sums[0] += a[k * p.a_col] * b[k];
        }
        c[j] += (sums[0] + sums[1]) + (sums[2] + sums[3]);
      }
    } else {
      for (Index k = 0; k < p.depth; ++k) {
        const T left = a[k * p.a_col];
        const T* b = p.b + k * p.b_row;
        for (Index j = 0; j < p.cols; ++j) {
          c[j] += left * b[j * p.b_col];
        }
      }
    }
  }
}

}  // namespace kernels
MAA_NAMESPACE_END
