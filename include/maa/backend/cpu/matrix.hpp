// Moving matrices whose rows may be strided: copy, add, clear.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>

MAA_NAMESPACE_BEGIN
namespace cpu {

// to = from.
template <class T>
void copy_matrix(const Backend&, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "copy_matrix: from");
  for (Index i = 0; i < to.rows; ++i) {
    std::copy_n(from.row(i), to.cols, to.row(i));
  }
}

// to += from.
template <class T>
void add_matrix(const Backend&, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "add_matrix: from");
  for (Index i = 0; i < to.rows; ++i) {
    for (Index j = 0; j < to.cols; ++j) {
      to(i, j) += from(i, j);
    }
  }
}

// to = 0.
template <class T>
void fill_zero(const Backend&, MatrixView<T> to) {
  for (Index i = 0; i < to.rows; ++i) {
    std::fill_n(to.row(i), to.cols, T(0));
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
