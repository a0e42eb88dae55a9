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
  const T* b_minus = nullptr;  // if set, the second factor is b - b_minus; strides as b
  T* twin = nullptr;           // if set, becomes a copy of c; row stride as c

  // The part of c (and with it of a, b and bias) that begins at (row, col).
  Product block(Index row, Index row_count, Index col, Index col_count) const {
    auto part = *this;
    part.a += row * a_row;
    part.b += col * b_col;
    part.b_minus = b_minus == nullptr ? nullptr : b_minus + col * b_col;
    part.c += row * c_row + col;
    part.twin = twin == nullptr ? nullptr : twin + row * c_row + col;
    part.bias = bias == nullptr ? nullptr : bias + col;
    part.rows = row_count;
    part.cols = col_count;
    return part;
  }
};

// The plain product: for double, and what the vector kernels are tested against.
template <class T>
void multiply_reference(const Product<T>& p) {
  constexpr Index block = 64;
  const auto right = [&](Index k, Index j) {
    const Index at = k * p.b_row + j * p.b_col;
    return p.b_minus == nullptr ? p.b[at] : p.b[at] - p.b_minus[at];
  };
  for (Index i = 0; i < p.rows; ++i) {
    const T* a = p.a + i * p.a_row;
    for (Index first = 0; first < p.cols; first += block) {
      const Index count = block < p.cols - first ? block : p.cols - first;
      T sums[block] = {};
      if (p.b_row == 1) {
        for (Index j = 0; j < count; ++j) {
          T chains[4] = {};  // independent of one another
          Index k = 0;
          for (; k + 4 <= p.depth; k += 4) {
            for (Index u = 0; u < 4; ++u) {
              chains[u] += a[(k + u) * p.a_col] * right(k + u, first + j);
            }
          }
          for (; k < p.depth; ++k) {
            chains[0] += a[k * p.a_col] * right(k, first + j);
          }
          sums[j] = (chains[0] + chains[1]) + (chains[2] + chains[3]);
        }
      } else {
        for (Index k = 0; k < p.depth; ++k) {
          const T left = a[k * p.a_col];
          for (Index j = 0; j < count; ++j) {
            sums[j] += left * right(k, first + j);
          }
        }
      }
      for (Index j = 0; j < count; ++j) {
        const Index at = i * p.c_row + first + j;
        const T base = p.accumulate ? p.c[at] : p.bias == nullptr ? T(0) : p.bias[first + j];
        p.c[at] = base + sums[j];
        if (p.twin != nullptr) {
          p.twin[at] = p.c[at];
        }
      }
    }
  }
}

}  // namespace kernels
MAA_NAMESPACE_END
