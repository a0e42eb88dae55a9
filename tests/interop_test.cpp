#include "temporary_folder.hpp"

#include <maa/interop/eigen.hpp>
#include <maa/interop/xtensor.hpp>

#include <doctest/doctest.h>
#include <numeric>

using maa::Buffer;
using maa::MatrixView;
using test::error_of;
using test::has;

namespace {

// 0, 1, 2, ...
Buffer<float> counting(maa::Index size) {
  Buffer<float> values(size);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

}  // namespace

TEST_CASE("interop: a strided matrix seen by xtensor and Eigen is the same memory") {
  auto values = counting(20);
  const MatrixView<float> view(values.data() + 1, 3, 4, 6);
  auto tensor = maa::as_xtensor(view);
  CHECK(tensor.shape(0) == 3);
  CHECK(tensor.shape(1) == 4);
  CHECK(tensor(2, 3) == 16.0f);
  tensor(1, 0) = -7.0f;
  CHECK(values[7] == -7.0f);
  auto matrix = maa::as_eigen(view);
  CHECK(matrix.rows() == 3);
  CHECK(matrix(1, 0) == -7.0f);
  matrix.row(0).setConstant(5.0f);
  CHECK(values[4] == 5.0f);
  CHECK(values[5] == 5.0f);  // between the rows
  CHECK(values[0] == 0.0f);
  tensor *= 2.0f;
  CHECK(values[8] == 16.0f);
  CHECK(values[11] == 11.0f);  // between the rows
  CHECK(xt::xarray<float>(tensor + 1.0f)(2, 0) == 27.0f);
  const MatrixView<const float> constant = view;
  CHECK(maa::as_xtensor(constant)(0, 0) == 10.0f);
  CHECK(maa::as_eigen(constant).col(3).sum() == doctest::Approx(2 * (5 + 10 + 16)));
}

TEST_CASE("interop: single rows, single columns and empty matrices") {
  auto values = counting(6);
  const auto row = maa::as_xtensor(MatrixView<float>(values.data(), 1, 6));
  CHECK(xt::sum(row)() == 15.0f);
  const auto column = maa::as_xtensor(MatrixView<float>(values.data(), 3, 1, 2));
  CHECK(column(2, 0) == 4.0f);
  CHECK(maa::as_xtensor(MatrixView<float>(values.data(), 0, 6)).size() == 0);
}

TEST_CASE("interop: buffers with a shape") {
  auto values = counting(6);
  auto tensor = maa::as_xtensor(values, {2, 3});
  CHECK(tensor(1, 2) == 5.0f);
  tensor(0, 0) = 9.0f;
  CHECK(values[0] == 9.0f);
  CHECK(has(error_of([&] { maa::as_xtensor(values, {2, 2}); }), "expected a shape of 6 numbers, found 4"));
  CHECK(has(error_of([&] { maa::as_xtensor(values, {std::size_t{1} << 63, 2}); }), "too large"));
  maa::as_eigen(values) *= 2.0f;
  CHECK(values[5] == 10.0f);
  const auto& constant = values;
  CHECK(maa::as_eigen(constant).sum() == doctest::Approx(18 + 2 + 4 + 6 + 8 + 10));
}

TEST_CASE("interop: xtensor and Eigen matrices as views") {
  xt::xarray<float> array = xt::zeros<float>({2, 3});
  auto view = maa::as_matrix_view(array);
  view(1, 2) = 4.0f;
  CHECK(array(1, 2) == 4.0f);
  const xt::xtensor<float, 2> single{{1.0f, 2.0f}};
  CHECK(maa::as_matrix_view(single).row_span(0)[1] == 2.0f);
  xt::xarray<float> cube = xt::zeros<float>({2, 3, 4});
  CHECK(has(error_of([&] { maa::as_matrix_view(cube); }), "expected 2 dimensions, found 3"));
  xt::xarray<float, xt::layout_type::column_major> columns = xt::zeros<float>({2, 3});
  CHECK(has(error_of([&] { maa::as_matrix_view(columns); }), "expected columns side by side"));

  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  auto whole = maa::as_matrix_view(matrix);
  whole(0, 0) = -1;
  CHECK(matrix(0, 0) == -1);
  auto block = matrix.rightCols(2);
  CHECK(maa::as_matrix_view(block)(1, 0) == 5);
  const auto& constant = matrix;
  CHECK(maa::as_matrix_view(constant).stride == 3);
}

TEST_CASE("interop: expressions become buffers in row-major order") {
  const xt::xarray<double, xt::layout_type::column_major> columns{{1.0, 2.0}, {3.0, 4.0}};
  const auto buffer = maa::to_buffer<float>(columns + 1.0);
  CHECK(std::vector<float>(buffer.begin(), buffer.end()) == std::vector<float>{2, 3, 4, 5});
}
