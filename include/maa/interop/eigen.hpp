// Eigen over the library's memory, and the other way round, without copies. The memory must outlive the view.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#include <Eigen/Core>

MAA_NAMESPACE_BEGIN

namespace detail {

template <class T>
using EigenMatrix = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using EigenVector = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
template <class T, class Plain>
using SameConst = std::conditional_t<std::is_const_v<T>, const Plain, Plain>;

}  // namespace detail

// Row-major map; assigning to it writes through.
template <class T>
auto as_eigen(MatrixView<T> view) {
  using Map =
      Eigen::Map<detail::SameConst<T, detail::EigenMatrix<T>>, Eigen::Unaligned, Eigen::OuterStride<>>;
  return Map(view.data, view.rows, view.cols, Eigen::OuterStride<>(view.stride));
}
// Column vector.
template <class T>
auto as_eigen(std::span<T> values) {
  using Map = Eigen::Map<detail::SameConst<T, detail::EigenVector<T>>>;
  return Map(values.data(), static_cast<Index>(values.size()));
}
template <class T>
auto as_eigen(Buffer<T>& values) {
  return as_eigen(values.span());
}
template <class T>
auto as_eigen(const Buffer<T>& values) {
  return as_eigen(values.span());
}

// A view of a row-major Eigen matrix, map or block whose columns lie side by side; otherwise Error.
template <class Matrix>
requires(bool(Matrix::IsRowMajor)) auto as_matrix_view(Matrix& matrix)
    -> MatrixView<std::remove_pointer_t<decltype(matrix.data())>> {
  require(matrix.cols() <= 1 || matrix.innerStride() == 1,
          "matrix view: expected columns side by side, found a stride of ", matrix.innerStride());
  return {matrix.data(), matrix.rows(), matrix.cols(), matrix.outerStride()};
}

MAA_NAMESPACE_END
