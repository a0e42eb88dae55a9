// Matrix products and the linear layer on every instruction set, against Eigen in double.
#include <maa/backend/cpu/linear.hpp>

#include <doctest/doctest.h>
#include <Eigen/Core>

#include <maa/core/rng.hpp>

#include "supported_isas.hpp"

#include <cstring>
#include <string>
#include <vector>

namespace {

using maa::Index;
using maa::MatrixView;
using namespace maa::cpu;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

enum class Layout { by_row, by_column, neither };

// Random numbers in a [rows, cols] matrix with gaps between its rows (or columns).
struct Operand {
  std::vector<float> values;
  Strided<float> view;

  Operand(Index rows, Index cols, Layout layout, std::uint64_t seed) {
    const Index gap = 3;
    const Index step = layout == Layout::neither ? 2 : 1;
    const Index row = layout == Layout::by_column ? step : cols * step + gap;
    const Index col = layout == Layout::by_column ? rows * step + gap : step;
    values.resize(static_cast<std::size_t>(rows * row + cols * col));
    maa::Rng(seed).fill_normal<float>(values);
    view = {values.data(), rows, cols, row, col};
  }
  RowMajor exact() const {
    RowMajor m(view.rows, view.cols);
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.cols; ++j) {
        m(i, j) = static_cast<double>(view.data[i * view.row_stride + j * view.col_stride]);
      }
    }
    return m;
  }
};

// An output with room around every row, whose contents must stay.
struct Output {
  static constexpr Index margin = 17;
  static constexpr float mark = 12345.5f;
  Index rows, cols, stride;
  std::vector<float> values;

  Output(Index rows_, Index cols_, float fill = 0.25f)
      : rows(rows_),
        cols(cols_),
        stride(cols_ + 2 * margin),
        values(static_cast<std::size_t>((rows_ + 2) * stride), mark) {
    for (Index i = 0; i < rows; ++i) {
      std::fill_n(view().row(i), cols, fill);
    }
  }
  MatrixView<float> view() { return {values.data() + stride + margin, rows, cols, stride}; }
  bool margins_intact() {
    auto copy = *this;
    for (Index i = 0; i < rows; ++i) {
      std::fill_n(copy.view().row(i), cols, mark);
    }
    return std::all_of(copy.values.begin(), copy.values.end(), [](float v) { return v == mark; });
  }
  bool same_bits(const Output& other) const {
    return std::memcmp(values.data(), other.values.data(), values.size() * sizeof(float)) == 0;
  }
  // Largest difference over the bound for a sum of `depth` terms of the size of `scale`.
  double error(const RowMajor& expected, const RowMajor& scale, Index depth) {
    double worst = 0;
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) {
        const double bound = 6e-8 * (static_cast<double>(depth) + 2) * (scale(i, j) + 1);
        const double off = std::abs(static_cast<double>(view()(i, j)) - expected(i, j)) / bound;
        worst = off <= worst ? worst : off;
        if (off != off) {
          return off;
        }
      }
    }
    return worst;
  }
};

struct Shape {
  Index m, n, k;
};
// Around the edges of register tiles, panels and blocks, and what models use.
const Shape shapes[] = {{1, 1, 1},     {1, 7, 3},     {2, 16, 40},   {3, 33, 17},   {4, 31, 129},
                        {5, 65, 1},    {6, 16, 8},    {7, 17, 31},   {9, 40, 128},  {12, 33, 200},
                        {13, 32, 255}, {14, 48, 257}, {15, 64, 64},  {33, 127, 39}, {96, 39, 128},
                        {127, 33, 65}, {128, 4, 96},  {257, 70, 30}, {300, 5, 600}, {1, 300, 1000}};

template <class Check>
void for_cases(const Check& check) {
  for (const auto isa : test::supported_isas()) {
    for (const auto& s : shapes) {
      for (const auto a : {Layout::by_row, Layout::by_column, Layout::neither}) {
        for (const auto b : {Layout::by_row, Layout::by_column, Layout::neither}) {
          const std::string name = maa::concatenate(maa::kernels::name(isa), " ", s.m, "x", s.n, "x", s.k,
                                                    " layouts ", static_cast<int>(a), static_cast<int>(b));
          CAPTURE(name);
          check(isa, s, Operand(s.m, s.k, a, 1), Operand(s.k, s.n, b, 2));
        }
      }
    }
  }
}

TEST_CASE("gemm is right for any shape and layout, and writes its output only") {
  for_cases([](Isa isa, const Shape& s, const Operand& a, const Operand& b) {
    const Backend backend(1, isa);
    const RowMajor product = a.exact() * b.exact();
    const RowMajor scale = a.exact().cwiseAbs() * b.exact().cwiseAbs();
    Output c(s.m, s.n, std::numeric_limits<float>::quiet_NaN());
    gemm_serial(backend, a.view, b.view, c.view(), Write::overwrite);
    CHECK(c.error(product, scale, s.k) <= 1);
    CHECK(c.margins_intact());
    Output sum(s.m, s.n, 0.25f);
    gemm_serial(backend, a.view, b.view, sum.view(), Write::accumulate);
    CHECK(sum.error(product.array() + 0.25, scale, s.k) <= 1);
    CHECK(sum.margins_intact());
  });
}

TEST_CASE("gemm gives the bits of gemm_serial for any number of threads") {
  const Shape large[] = {{1, 2050, 1030}, {9, 1030, 515}, {300, 260, 130}, {130, 515, 300},
                         {700, 39, 128},  {40, 70, 1500}, {1030, 70, 260}};
  for (const auto isa : test::supported_isas()) {
    for (const auto& s : large) {
      for (const auto layout : {Layout::by_row, Layout::by_column}) {
        const Operand a(s.m, s.k, layout, 3),
            b(s.k, s.n, layout == Layout::by_row ? Layout::by_column : layout, 4);
        Output serial(s.m, s.n);
        gemm_serial(Backend(1, isa), a.view, b.view, serial.view(), Write::accumulate);
        for (const int threads : {1, 2, 4}) {
          CAPTURE(threads);
          Output parallel(s.m, s.n);
          gemm(Backend(threads, isa), a.view, b.view, parallel.view(), Write::accumulate);
          CHECK(parallel.same_bits(serial));
        }
      }
    }
  }
}

TEST_CASE("products of depth zero and empty outputs") {
  for (const auto isa : test::supported_isas()) {
    const Backend backend(2, isa);
    const float unused = 0;
    Output c(3, 20);
    gemm(backend, Strided<float>(&unused, 3, 0, 0, 1), Strided<float>(&unused, 0, 20, 20, 1), c.view(),
         Write::accumulate);
    CHECK(c.view()(2, 19) == 0.25f);
    gemm(backend, Strided<float>(&unused, 3, 0, 0, 1), Strided<float>(&unused, 0, 20, 20, 1), c.view(),
         Write::overwrite);
    CHECK(c.view()(2, 19) == 0.0f);
    gemm(backend, Strided<float>(&unused, 0, 5, 5, 1), Strided<float>(&unused, 5, 0, 0, 1),
         MatrixView<float>(), Write::overwrite);
    CHECK(c.margins_intact());
  }
}

TEST_CASE("NaN and infinity spread as in arithmetic") {
  for (const auto isa : test::supported_isas()) {
    const Backend backend(1, isa);
    for (const Index rows : {1, 20}) {
      Operand a(rows, 40, Layout::by_row, 5), b(40, 20, Layout::by_column, 6);
      b.values[3] = std::numeric_limits<float>::infinity();        // column 0
      b.values[43 + 5] = std::numeric_limits<float>::quiet_NaN();  // column 1
      Output c(rows, 20);
      gemm(backend, a.view, b.view, c.view(), Write::overwrite);
      CHECK(std::isinf(c.view()(0, 0)));
      CHECK(std::isnan(c.view()(0, 1)));
      CHECK(std::isfinite(c.view()(0, 2)));
    }
  }
}

TEST_CASE("wrong shapes are refused and name op and sizes") {
  const Backend backend(1);
  const Operand a(2, 3, Layout::by_row, 1), b(4, 5, Layout::by_row, 1);
  Output c(2, 5);
  CHECK_THROWS_WITH_AS(gemm(backend, a.view, b.view, c.view(), Write::overwrite),
                       "gemm: expected [M, K] [K, N] to [M, N], found [2, 3] [4, 5] to [2, 5]", maa::Error);
  CHECK(c.view()(0, 0) == 0.25f);
}

template <class T>
void check_linear(const Backend& backend, double tolerance) {
  for (const Index rows : {1, 3, 20, 96}) {
    const Index in = 39, out = 130;
    std::vector<T> x(static_cast<std::size_t>(rows * in)), w(static_cast<std::size_t>(out * in)),
        bias(static_cast<std::size_t>(out)), dy(static_cast<std::size_t>(rows * out));
    std::uint64_t seed = 10;
    for (auto* values : {&x, &w, &bias, &dy}) {
      maa::Rng(seed++).fill_normal<T>(*values);
    }
    const auto map = [](const std::vector<T>& values, Index r, Index c) {
      using Plain = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
      return RowMajor(Eigen::Map<const Plain>(values.data(), r, c).template cast<double>());
    };
    const RowMajor X = map(x, rows, in), W = map(w, out, in), B = map(bias, 1, out), DY = map(dy, rows, out);
    std::vector<T> y(dy.size(), T(9)), dx(x.size(), T(9)), dw(w.size(), T(1)), db(bias.size(), T(2));
    const MatrixView<T> dyv(dy.data(), rows, out), xv(x.data(), rows, in), yv(y.data(), rows, out);
    const auto off = [&](const std::vector<T>& found, const RowMajor& expected) {
      return (map(found, expected.rows(), expected.cols()) - expected).cwiseAbs().maxCoeff();
    };
    linear_forward(backend, xv, w.data(), bias.data(), yv);
    CHECK(off(y, (X * W.transpose()).rowwise() + B.row(0)) < tolerance);
    linear_forward(backend, xv, w.data(), nullptr, yv);
    CHECK(off(y, X * W.transpose()) < tolerance);
    linear_backward_input(backend, dyv, w.data(), MatrixView<T>(dx.data(), rows, in));
    CHECK(off(dx, DY * W) < tolerance);
    linear_backward_weight(backend, dyv, xv, dw.data(), db.data());
    CHECK(off(dw, (DY.transpose() * X).array() + 1) < tolerance);
    CHECK(off(db, DY.colwise().sum().array() + 2) < tolerance);
    linear_backward_weight(backend, dyv, xv, dw.data(), nullptr);
    CHECK(off(db, DY.colwise().sum().array() + 2) < tolerance);
  }
}

TEST_CASE("linear layer, forward and backward, in float and double") {
  for (const auto isa : test::supported_isas()) {
    check_linear<float>(Backend(2, isa), 1e-4);
  }
  check_linear<double>(Backend(2), 1e-12);
}

}  // namespace
