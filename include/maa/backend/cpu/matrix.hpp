// Moving matrices whose rows may be strided: copy, add, clear.
#pragma once

#include <maa/backend/cpu/loops.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// Rows of `cols` numbers per task; moving a number takes less than the arithmetic of other loops.
inline Index moved_rows_per_task(Index cols) {
  return rows_per_task(std::max(Index{1}, cols / 4));
}

}  // namespace detail

// to = from.
template <class T>
void copy_matrix(const Backend& backend, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "copy_matrix: from");
  for_chunks(backend.pool(), to.rows, detail::moved_rows_per_task(to.cols),
             [=](Index, Index first, Index last) {
               for (Index i = first; i < last; ++i) {
                 std::copy_n(from.row(i), to.cols, to.row(i));
               }
             });
}

// to += from.
template <class T>
void add_matrix(const Backend& backend, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "add_matrix: from");
  for_chunks(backend.pool(), to.rows, detail::moved_rows_per_task(to.cols),
             [&](Index, Index first, Index last) {
               for (Index i = first; i < last; ++i) {
                 if constexpr (std::is_same_v<T, float>) {
                   backend.kernels().add(from.row(i), to.row(i), to.cols);
                 } else {
                   kernels::reference::add(from.row(i), to.row(i), to.cols);
                 }
               }
             });
}

// to = from + row, the same row [cols] for all.
template <class T>
void add_row(const Backend& backend, In<T> from, const std::type_identity_t<T>* row, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "add_row: from");
  for_chunks(backend.pool(), to.rows, detail::rows_per_task(to.cols), [=](Index, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      const T* const values = from.row(i);
      detail::lane_map(to.cols, to.row(i), [=](Index j) { return values[j] + row[j]; });
    }
  });
}

// to = 0.
template <class T>
void fill_zero(const Backend& backend, MatrixView<T> to) {
  for_chunks(backend.pool(), to.rows, detail::moved_rows_per_task(to.cols),
             [=](Index, Index first, Index last) {
               for (Index i = first; i < last; ++i) {
                 std::fill_n(to.row(i), to.cols, T(0));
               }
             });
}

}  // namespace cpu
MAA_NAMESPACE_END
