// xtensor at the edges: zero-copy views between its containers and the library's, for xtensor 0.24 to 0.27.
// (0.24's arrays of any dimension do not compile with clang 19: xtensor's issue 2804. Nothing else here uses
// xtensor.)
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#pragma push_macro("I")  // complex.h's, which xtensor has template parameters of that name for
#undef I
// xtensor 0.26 moved its headers into folders.
#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xtensor.hpp>
#include <xtensor/views/xstrided_view.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xtensor.hpp>
#endif
#pragma pop_macro("I")

#include <array>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN

// A 2-D xtensor view of the matrix, without ownership: the memory must outlive it. Rows may be apart; xtensor
// never touches what lies between them (an adaptor with strides would: some of its operations run over its
// whole storage).
template <class T>
auto as_xtensor(MatrixView<T> view) {
  const auto extent =
      static_cast<std::size_t>(view.rows == 0 ? 0 : (view.rows - 1) * view.stride + view.cols);
  std::array<std::size_t, 2> shape{static_cast<std::size_t>(view.rows), static_cast<std::size_t>(view.cols)};
  // xtensor's convention: a dimension of size 1 has stride 0, so that it broadcasts.
  std::array<std::ptrdiff_t, 2> strides{view.rows == 1 ? 0 : view.stride, view.cols == 1 ? 0 : 1};
  // The pointer as a temporary: of a variable xtensor would keep a reference.
  auto all =
      xt::adapt(static_cast<T*>(view.data), extent, xt::no_ownership(), std::array<std::size_t, 1>{extent});
  return xt::strided_view(std::move(all), std::move(shape), std::move(strides), 0, xt::layout_type::dynamic);
}

// A view of all numbers with the given shape; Error unless the shape holds exactly values.size() numbers.
template <class T>
auto as_xtensor(std::span<T> values, const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const auto size : shape) {
    require(size == 0 || count <= values.size() / size || count == 0, "xtensor view: the shape is too large");
    count *= size;
  }
  require(count == values.size(), "xtensor view: expected a shape of ", values.size(), " numbers, found ",
          count);
  return xt::adapt(values.data(), values.size(), xt::no_ownership(), shape);
}
template <class T>
auto as_xtensor(Buffer<T>& values, const std::vector<std::size_t>& shape) {
  return as_xtensor(values.span(), shape);
}
template <class T>
auto as_xtensor(const Buffer<T>& values, const std::vector<std::size_t>& shape) {
  return as_xtensor(values.span(), shape);
}

// A view of an xtensor container that is 2-D with neighbouring columns (row-major, or rows of one); otherwise
// Error. The container must outlive the view and not be resized.
template <class Container>
requires requires(Container& container) {
  container.dimension(), container.strides(), container.data_offset();
}
auto as_matrix_view(Container& container) -> MatrixView<std::remove_pointer_t<decltype(container.data())>> {
  require(container.dimension() == 2, "matrix view: expected 2 dimensions, found ", container.dimension());
  const auto rows = static_cast<Index>(container.shape(0));
  const auto cols = static_cast<Index>(container.shape(1));
  const auto stride = static_cast<Index>(container.strides()[0]);
  require(cols <= 1 || container.strides()[1] == 1,
          "matrix view: expected columns side by side, found a stride of ", container.strides()[1]);
  require(rows <= 1 || stride >= cols, "matrix view: expected rows at least ", cols, " apart, found ",
          stride);
  return {container.data() + container.data_offset(), rows, cols, rows <= 1 ? cols : stride};
}

// The numbers of any xtensor expression in row-major order, converted to T.
template <class T, class Expression>
Buffer<T> to_buffer(const xt::xexpression<Expression>& expression) {
  const auto& values = expression.derived_cast();
  Buffer<T> buffer(static_cast<Index>(values.size()));
  auto* next = buffer.data();
  for (auto it = values.template begin<xt::layout_type::row_major>();
       it != values.template end<xt::layout_type::row_major>(); ++it) {
    *next++ = static_cast<T>(*it);
  }
  return buffer;
}

MAA_NAMESPACE_END
