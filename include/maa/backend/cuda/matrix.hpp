// Moving matrices whose rows may be strided: copy, add, clear.
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

inline kernels::MatrixArguments matrix_arguments(In from, Out to) {
  return {raw(from.data), raw(to.data), nullptr, to.cols, from.stride, to.stride};
}

}  // namespace detail

// to = from.
inline void copy_matrix(const Backend& backend, In from, Out to) {
  require_shape(from, to.rows, to.cols, "copy_matrix: from");
  backend.launch(kernels::copy_matrix_kernel, to.size(), detail::matrix_arguments(from, to));
}

// to += from.
inline void add_matrix(const Backend& backend, In from, Out to) {
  require_shape(from, to.rows, to.cols, "add_matrix: from");
  backend.launch(kernels::add_matrix_kernel, to.size(), detail::matrix_arguments(from, to));
}

// to = from + row, the same row [cols] for all.
inline void add_row(const Backend& backend, In from, const Real* row, Out to) {
  require_shape(from, to.rows, to.cols, "add_row: from");
  auto arguments = detail::matrix_arguments(from, to);
  arguments.row = raw(row);
  backend.launch(kernels::add_row_kernel, to.size(), arguments);
}

// to = 0.
inline void fill_zero(const Backend& backend, Out to) {
  backend.launch(kernels::copy_matrix_kernel, to.size(), detail::matrix_arguments(In(), to));
}

}  // namespace cuda
MAA_NAMESPACE_END
