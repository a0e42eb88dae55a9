// Products of bfloat16 factors on each unit that this machine has, against sums in double of the rounded
// factors.
#include <maa/kernels/bf16.hpp>

#include <doctest/doctest.h>

#include <maa/core/buffer.hpp>
#include <maa/core/rng.hpp>

#include "larger.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace {

using maa::Buffer;
using maa::Index;
using namespace maa::kernels;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

std::vector<Bf16Unit> units() {
  std::vector<Bf16Unit> list;
  for (const auto unit : {Bf16Unit::avx512_bf16, Bf16Unit::amx}) {
    if (supports(unit)) {
      list.push_back(unit);
    }
  }
  return list;
}

// To nearest even, written apart from the kernels' instruction.
std::uint32_t rounded_bits(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return std::isnan(x) ? (bits >> 16 | 0x40) : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
double rounded(float x) {
  const std::uint32_t bits = rounded_bits(x) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return static_cast<double>(value);
}

// A matrix with gaps between its numbers.
struct Matrix {
  Index rows, cols, row_stride, col_stride;
  std::vector<float> values;

  enum class Layout { by_row, by_column, neither };
  Matrix(Index rows_, Index cols_, Layout layout, std::uint64_t seed)
      : rows(rows_),
        cols(cols_),
        row_stride(layout == Layout::by_row      ? cols + 5
                   : layout == Layout::by_column ? 1
                                                 : 2 * cols + 3),
        col_stride(layout == Layout::by_row      ? 1
                   : layout == Layout::by_column ? rows + 5
                                                 : 2),
        values(static_cast<std::size_t>(rows * row_stride + cols * col_stride)) {
    maa::Rng(seed).fill_normal<float>(values);
  }
  float& at(Index i, Index j) { return values[static_cast<std::size_t>(i * row_stride + j * col_stride)]; }
};

// Words of a panel, [steps][16 pairs][32 columns]; a matrix is one panel after the other.
Index panel_words(Index depth) {
  return bf16_steps(depth) * 16 * 32;
}

Buffer<std::uint32_t> packed_panels(Matrix& b) {
  const Index words = panel_words(b.rows);
  Buffer<std::uint32_t> panels((b.cols + 31) / 32 * words);
  for (Index k = 0; k < b.rows; ++k) {
    for (Index j = 0; j < b.cols; ++j) {
      panels[j / 32 * words + k / 2 * 32 + j % 32] |= rounded_bits(b.at(k, j)) << (k % 2 * 16);
    }
  }
  return panels;
}

// Packs in two parts of the rows and two of the depth, as tasks do. What lies between must not matter.
Buffer<std::uint32_t> packed_rows(const Bf16Table& table, Matrix& a) {
  const Index step = bf16_step_words(a.rows);
  Buffer<std::uint32_t> rows(bf16_steps(a.cols) * step);
  for (auto& word : rows.span()) {
    word = 0x7fc07fc0;  // NaN
  }
  const Index row_cut = a.rows / 3, depth_cut = a.cols / 64 * 32;
  for (const Index row : {Index{0}, row_cut}) {
    for (const Index k : {Index{0}, depth_cut}) {
      const Index row_count = row == row_cut ? a.rows - row : row_cut;
      const Index depth = k == depth_cut ? a.cols - k : depth_cut;
      if (row_count > 0 && depth > 0) {
        table.pack_rows(&a.at(row, k), a.row_stride, a.col_stride, row_count, depth,
                        rows.data() + k / 32 * step + row * 16, step);
      }
    }
  }
  return rows;
}

struct Write {
  bool bias = false, accumulate = false;
};

// A result with room around every row, whose contents must stay.
struct Output {
  static constexpr Index margin = 33;
  static constexpr float mark = 12345.5f;
  Index rows, cols, stride;
  std::vector<float> c;

  Output(Index rows_, Index cols_)
      : rows(rows_),
        cols(cols_),
        stride(cols_ + 2 * margin),
        c(static_cast<std::size_t>((rows_ + 2) * stride), mark) {
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) {
        c[at(i, j)] = start(i, j);
      }
    }
  }
  static float start(Index i, Index j) { return static_cast<float>((i * 7 + j) % 13) * 0.25f; }
  std::size_t at(Index i, Index j) const { return static_cast<std::size_t>((i + 1) * stride + margin + j); }
  bool margins_intact() const {
    for (std::size_t i = 0; i < c.size(); ++i) {
      const Index row = static_cast<Index>(i) / stride - 1, col = static_cast<Index>(i) % stride - margin;
      const bool inside = row >= 0 && row < rows && col >= 0 && col < cols;
      if (!inside && c[i] != mark) {
        return false;
      }
    }
    return true;
  }
  bool same_bits(const Output& other) const {
    return std::memcmp(c.data(), other.c.data(), c.size() * sizeof(float)) == 0;
  }
};

struct Problem {
  Matrix a, b;
  std::vector<float> bias;
  Buffer<std::uint32_t> rows, panels;

  Problem(const Bf16Table& table, Index m, Index n, Index k, Matrix::Layout layout = Matrix::Layout::by_row)
      : a(m, k, layout, 1), b(k, n, Matrix::Layout::by_row, 2), bias(static_cast<std::size_t>(n)) {
    maa::Rng(3).fill_normal<float>(bias);
    pack(table);
  }
  void pack(const Bf16Table& table) {
    rows = packed_rows(table, a);
    panels = packed_panels(b);
  }
  // In parts of row_part rows and panel_part panels.
  Output multiply(const Bf16Table& table, const Write& write, Index row_part, Index panel_part) const {
    Output y(a.rows, b.cols);
    Product<float> product{
        nullptr, 0,      0,      nullptr,         0, 0, y.c.data() + y.at(0, 0), y.stride, nullptr,
        a.rows,  b.cols, a.cols, write.accumulate};
    product.bias = write.bias ? bias.data() : nullptr;
    for (Index row = 0; row < a.rows; row += row_part) {
      for (Index col = 0; col < b.cols; col += 32 * panel_part) {
        table.multiply(rows.data() + row * 16, bf16_step_words(a.rows),
                       panels.data() + col / 32 * panel_words(a.cols),
                       product.block(row, std::min(row_part, a.rows - row), col,
                                     std::min(32 * panel_part, b.cols - col)));
      }
    }
    return y;
  }
  // The largest error over its bound: 2^-22 of the sum of magnitudes, and a further one per eighth of the
  // depth's root, as rounding errors of a chain mostly cancel.
  double error(const Output& y, const Write& write) {
    double worst = 0;
    const double unit = std::ldexp(1.0, -22) * (1 + std::sqrt(static_cast<double>(a.cols)) / 8);
    for (Index i = 0; i < y.rows; ++i) {
      for (Index j = 0; j < y.cols; ++j) {
        double sum = 0, scale = 0;
        for (Index k = 0; k < a.cols; ++k) {
          const double term = rounded(a.at(i, k)) * rounded(b.at(k, j));
          sum += term;
          scale += std::abs(term);
        }
        const double base = write.accumulate ? static_cast<double>(Output::start(i, j))
                            : write.bias     ? static_cast<double>(bias[static_cast<std::size_t>(j)])
                                             : 0.0;
        const double difference = std::abs(static_cast<double>(y.c[y.at(i, j)]) - (base + sum));
        const double ratio = difference / (unit * (scale + std::abs(base)) + 1e-30);
        worst = test::larger(worst, ratio);
      }
    }
    return worst;
  }
};

constexpr Write writes[] = {{false, false}, {true, false}, {false, true}};

TEST_SUITE_BEGIN("bf16 units" * doctest::skip(units().empty()));

TEST_CASE("bf16 products: shapes and ways to write") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    REQUIRE(table.unit == unit);
    for (const Index m : {1, 2, 7, 15, 16, 17, 33, 48, 100, 127, 129}) {
      for (const Index n : {1, 16, 31, 32, 33, 64, 71}) {
        for (const Index k : {1, 31, 32, 33, 255, 257}) {
          Problem problem(table, m, n, k);
          const auto& write = writes[(m + n + k) % 3];
          INFO(std::string(name(unit)), " ", m, " ", n, " ", k);
          const auto y = problem.multiply(table, write, m, n);
          CHECK(problem.error(y, write) < 1);
          CHECK(y.margins_intact());
        }
      }
    }
    for (const auto& write : writes) {
      for (const Index m : {5, 40}) {
        Problem problem(table, m, 45, 300);
        INFO(std::string(name(unit)), " rows ", m, " bias ", write.bias, " accumulate ", write.accumulate);
        const auto y = problem.multiply(table, write, m, 2);
        CHECK(problem.error(y, write) < 1);
        CHECK(y.margins_intact());
      }
    }
    for (const Index m : {3, 100}) {
      Problem problem(table, m, 65, 4096);
      INFO(std::string(name(unit)), " rows ", m);
      CHECK(problem.error(problem.multiply(table, {}, m, 3), {}) < 1);
    }
  }
}

TEST_CASE("bf16 products: no depth leaves the bias, no rows nothing") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    Problem problem(table, 20, 40, 0);
    const Write write{true, false};
    CHECK(problem.error(problem.multiply(table, write, 20, 2), write) == 0);
    Product<float> empty{};
    table.multiply(nullptr, 0, nullptr, empty);
  }
}

TEST_CASE("bf16 products: the first factor may have any strides") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    for (const auto layout : {Matrix::Layout::by_column, Matrix::Layout::neither}) {
      Problem problem(table, 21, 33, 77, layout);
      CHECK(problem.error(problem.multiply(table, {}, 21, 2), {}) < 1);
    }
  }
}

TEST_CASE("bf16 products: bits do not depend on the cut") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    for (const auto& write : writes) {
      const Problem problem(table, 131, 145, 1000);
      const auto whole = problem.multiply(table, write, 131, 5);
      for (const Index rows : {1, 3, 16, 30, 64, 130}) {
        INFO(std::string(name(unit)), " rows ", rows, " bias ", write.bias, " accumulate ", write.accumulate);
        CHECK(whole.same_bits(problem.multiply(table, write, rows, 1)));
        CHECK(whole.same_bits(problem.multiply(table, write, rows, 2)));
      }
    }
  }
}

TEST_CASE("bf16 rows: every rounding, and NaN stays NaN") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    // Each upper half with lower halves around the tie; denormal numbers may become zero.
    std::vector<float> values;
    for (std::uint32_t high = 0; high < 0x10000; ++high) {
      for (const std::uint32_t low : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
        const std::uint32_t bits = high << 16 | low;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        values.push_back(x);
      }
    }
    const auto count = static_cast<Index>(values.size());
    Buffer<std::uint32_t> packed(bf16_steps(count) * 16);
    table.pack_rows(values.data(), count, 1, 1, count, packed.data(), 16);
    Index wrong = 0;
    for (Index k = 0; k < count; ++k) {
      const float x = values[static_cast<std::size_t>(k)];
      const std::uint32_t found = packed[k / 2] >> (k % 2 * 16) & 0xffff;
      if (std::isnan(x)) {
        wrong += (found & 0x7fff) <= 0x7f80;
      } else if (std::fpclassify(x) == FP_SUBNORMAL) {
        wrong += (found & 0x7fff) != 0 && found != rounded_bits(x);
      } else {
        wrong += found != rounded_bits(x);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("bf16 products: infinity and NaN pass through, each in its own row") {
  for (const auto unit : units()) {
    const auto& table = *bf16_table_for(unit);
    Problem problem(table, 35, 40, 50);
    problem.a.at(3, 49) = infinity;
    problem.a.at(17, 0) = not_a_number;
    problem.a.at(34, 31) = -infinity;
    problem.pack(table);
    const auto y = problem.multiply(table, {}, 35, 2);
    for (Index i = 0; i < 35; ++i) {
      for (Index j = 0; j < 40; ++j) {
        const float value = y.c[y.at(i, j)];
        CAPTURE(i);
        if (i == 17) {
          CHECK(std::isnan(value));
        } else if (i == 3 || i == 34) {
          const float factor = problem.b.at(i == 3 ? 49 : 31, j);
          CHECK(value == ((i == 3) == (factor > 0) ? infinity : -infinity));
        } else {
          CHECK(std::isfinite(value));
        }
      }
    }
  }
}

TEST_SUITE_END();

TEST_CASE("bf16 units: chosen by the environment") {
  const char* const before = std::getenv("MAA_BF16");
  const auto saved = before == nullptr ? std::nullopt : std::optional<std::string>(before);
  for (const auto unit : {Bf16Unit::none, Bf16Unit::avx512_bf16, Bf16Unit::amx}) {
    ::setenv("MAA_BF16", std::string(name(unit)).c_str(), 1);
    if (supports(unit)) {
      CHECK(select_bf16_unit() == unit);
      CHECK((bf16_table_for(unit) == nullptr) == (unit == Bf16Unit::none));
    } else {
      CHECK_THROWS_AS(select_bf16_unit(), maa::Error);
    }
  }
  ::setenv("MAA_BF16", "fp8", 1);
  CHECK_THROWS_WITH(select_bf16_unit(), "MAA_BF16: expected none, avx512_bf16 or amx, found \"fp8\"");
  ::unsetenv("MAA_BF16");
  CHECK(supports(detect_bf16_unit()));
  CHECK(select_bf16_unit() == detect_bf16_unit());
  if (saved) {
    ::setenv("MAA_BF16", saved->c_str(), 1);
  }
}

}  // namespace
