// Every instruction set's kernels against the plain loops in double.
#include <maa/backend/cpu/elementwise.hpp>
#include <maa/kernels/norm_table.hpp>
#include <maa/kernels/policy_batch.hpp>
#include <maa/kernels/system_table.hpp>

#include <doctest/doctest.h>

#include <maa/core/rng.hpp>

#include "larger.hpp"
#include "supported_isas.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

using maa::Activation;
using maa::Index;
using namespace maa::kernels;

constexpr Activation activations[] = {Activation::identity, Activation::relu, Activation::elu,
                                      Activation::gelu,     Activation::mish, Activation::tanh};

float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Units in the last place of a float at x.
double unit(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Evenly spread over all finite bit patterns: every exponent, both signs.
std::vector<float> spread() {
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 99991) {
    const float x = from_bits(static_cast<std::uint32_t>(bits));
    if (std::isfinite(x)) {
      values.push_back(x);
    }
  }
  return values;
}

TEST_CASE("activations: error bounds over the range of float") {
  // In units of the last place, for results from 1e-35 on: below, mish computes with denormal numbers. The
  // left tail of gelu magnifies the rounding of its argument (the scalar kernel's more: it uses libm's erfc
  // as it is).
  const auto bound = [](Activation activation, Isa isa) {
    switch (activation) {
      case Activation::identity:
      case Activation::relu:
        return 0.0;
      case Activation::elu:
        return 1.5;
      case Activation::gelu:
        return isa == Isa::scalar ? 250.0 : 10.0;
      case Activation::mish:
        return 5.0;
      case Activation::tanh:
        return 3.0;
    }
    return 0.0;
  };
  const auto x = spread();
  const auto count = static_cast<Index>(x.size());
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> y(x.size()), slope(x.size());
  for (const auto isa : test::supported_isas()) {
    for (const auto activation : activations) {
      const std::string name =
          maa::concatenate(maa::kernels::name(isa), " activation ", static_cast<int>(activation));
      CAPTURE(name);
      table_for(isa).activation_forward(activation, x.data(), y.data(), count);
      table_for(isa).activation_backward(activation, x.data(), ones.data(), slope.data(), count);
      double worst = 0, worst_slope = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto input = static_cast<double>(x[i]);
        const double exact = activate(activation, input);
        const double error = std::abs(static_cast<double>(y[i]) - exact);
        const bool normal = std::abs(exact) >= 1e-35;
        worst = test::larger(worst, normal ? error / unit(exact) : error <= 1e-40 ? 0.0 : 1e9);
        worst_slope = test::larger(
            worst_slope, std::abs(static_cast<double>(slope[i]) - activation_slope(activation, input)));
      }
      CHECK(worst <= bound(activation, isa));
      CHECK(worst_slope <= 4e-7);
    }
  }
}

TEST_CASE("activations: NaN, infinities and zeros") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity, 0.0f, -0.0f};
  const float limit[][2] = {{infinity, -infinity}, {infinity, 0}, {infinity, -1},
                            {infinity, 0},         {infinity, 0}, {1, -1}};
  const float ones[] = {1, 1, 1, 1, 1};
  for (const auto isa : test::supported_isas()) {
    for (const auto activation : activations) {
      CAPTURE(static_cast<int>(activation));
      float y[5], slope[5];
      table_for(isa).activation_forward(activation, x, y, 5);
      table_for(isa).activation_backward(activation, x, ones, slope, 5);
      CHECK(std::isnan(y[0]));
      CHECK(y[1] == limit[static_cast<int>(activation)][0]);
      CHECK(y[2] == limit[static_cast<int>(activation)][1]);
      CHECK(y[3] == 0.0f);
      CHECK(y[4] == 0.0f);
      for (const int i : {1, 2, 3, 4}) {
        CHECK(std::isfinite(slope[i]));
      }
    }
  }
}

TEST_CASE("activations: odd lengths, in place, nothing written beyond the end") {
  for (const auto isa : test::supported_isas()) {
    for (const auto activation : activations) {
      for (const Index count : {0, 1, 7, 8, 15, 16, 17, 33, 127}) {
        CAPTURE(count);
        std::vector<float> x(static_cast<std::size_t>(count) + 20, 77.0f), dy(x.size(), 77.0f);
        maa::Rng(1).fill_normal<float>(std::span(x).first(static_cast<std::size_t>(count)));
        maa::Rng(2).fill_normal<float>(std::span(dy).first(static_cast<std::size_t>(count)));
        auto y = x;
        auto dx = dy;
        table_for(isa).activation_forward(activation, y.data(), y.data(), count);
        table_for(isa).activation_backward(activation, x.data(), dx.data(), dx.data(), count);
        for (std::size_t i = 0; i < x.size(); ++i) {
          const bool inside = static_cast<Index>(i) < count;
          const auto input = static_cast<double>(x[i]), upstream = static_cast<double>(dy[i]);
          CHECK(static_cast<double>(y[i]) ==
                doctest::Approx(inside ? activate(activation, input) : 77.0).epsilon(1e-5));
          CHECK(
              static_cast<double>(dx[i]) ==
              doctest::Approx(inside ? upstream * activation_slope(activation, input) : 77.0).epsilon(1e-5));
        }
      }
    }
  }
}

TEST_CASE("elementwise ops: the same bits for any number of threads, and checks") {
  std::vector<float> x(50001), once(x.size());
  maa::Rng(6).fill_normal<float>(x);
  for (const auto isa : test::supported_isas()) {
    maa::cpu::activation_forward(maa::cpu::Backend(1, isa), Activation::gelu, x, std::span(once));
    for (const int threads : {2, 4}) {
      const maa::cpu::Backend backend(threads, isa);
      std::vector<float> y(x.size());
      maa::cpu::activation_forward(backend, Activation::gelu, x, std::span(y));
      CHECK(std::memcmp(y.data(), once.data(), y.size() * sizeof(float)) == 0);
    }
  }
  const maa::cpu::Backend backend(1);
  CHECK_THROWS_AS(maa::cpu::activation_forward(backend, Activation::relu, x, std::span(once).first(3)),
                  maa::Error);
}

TEST_CASE("MAA_ISA pins the instruction set; unknown names are refused") {
  const char* before = std::getenv("MAA_ISA");
  const std::string kept = before == nullptr ? "" : before;
  for (const auto isa : test::supported_isas()) {
    setenv("MAA_ISA", std::string(name(isa)).c_str(), 1);
    CHECK(maa::cpu::Backend(1).isa() == isa);
    CHECK(maa::cpu::Backend(1).kernels().isa == isa);
    CHECK((maa::cpu::Backend(1).gemm_kernels() == nullptr) == (isa == Isa::scalar));
  }
  setenv("MAA_ISA", "sse9", 1);
  CHECK_THROWS_WITH_AS(maa::cpu::Backend(1), "MAA_ISA: expected scalar, avx2 or avx512, found \"sse9\"",
                       maa::Error);
  unsetenv("MAA_ISA");
  CHECK(maa::cpu::Backend(1).isa() == detect_isa());
  if (before != nullptr) {
    setenv("MAA_ISA", kept.c_str(), 1);
  }
}

TEST_CASE("every instruction set has kernels of its own, written for its vectors") {
  const auto isas = test::supported_isas();
  for (std::size_t i = 0; i < isas.size(); ++i) {
    const auto isa = isas[i];
    CAPTURE(name(isa));
    CHECK(table_for(isa).isa == isa);
    const auto* const products = gemm_table_for(isa);
    const auto* const policies = policy_batch_table_for(isa);
    REQUIRE((products == nullptr) == (isa == Isa::scalar));
    REQUIRE((policies == nullptr) == (isa == Isa::scalar));
    if (products != nullptr) {
      CHECK(products->panel_cols == (isa == Isa::avx512 ? 32 : 16));
      CHECK(policies->lanes == (isa == Isa::avx512 ? 16 : 8));
    }
    for (std::size_t j = 0; j < i; ++j) {
      const auto other = isas[j];
      CHECK((table_for(isa).activation_forward != table_for(other).activation_forward));
      CHECK((table_for(isa).activation_backward != table_for(other).activation_backward));
      CHECK((table_for(isa).add != table_for(other).add));
      CHECK((table_for(isa).adamw != table_for(other).adamw));
      CHECK((table_for(isa).sum_of_squares != table_for(other).sum_of_squares));
      CHECK((norm_for(isa).forward != norm_for(other).forward));
      CHECK((norm_for(isa).backward != norm_for(other).backward));
      CHECK((system_for(isa).add_rows != system_for(other).add_rows));
    }
  }
}

TEST_CASE("products with vectors in double: all widths, strides, nothing read or written beyond the end") {
  constexpr double beyond = std::numeric_limits<double>::quiet_NaN();
  maa::Rng rng(3);
  for (const auto isa : test::supported_isas()) {
    const auto& table = system_for(isa);
    for (const Index rows : {0, 1, 2, 5}) {
      for (Index cols = 0; cols <= 41; ++cols) {
        CAPTURE(static_cast<int>(isa));
        CAPTURE(rows);
        CAPTURE(cols);
        const Index stride = cols + 3, spacing = 2;
        const auto at = [](Index i) { return static_cast<std::size_t>(i); };
        std::vector<double> matrix(at(rows * stride) + 1, beyond), x(at(cols) + 8, beyond);
        std::vector<double> factors(at(rows * spacing) + 1, beyond), out(at(cols) + 8, 77);
        for (Index k = 0; k < rows; ++k) {
          factors[at(k * spacing)] = rng.normal();
          rng.fill_normal<double>(std::span(matrix).subspan(at(k * stride), at(cols)));
        }
        rng.fill_normal<double>(std::span(x).first(at(cols)));
        rng.fill_normal<double>(std::span(out).first(at(cols)));
        const auto before = out;
        std::vector<double> products(at(rows) + 1, 77);
        table.add_rows(rows, cols, matrix.data(), stride, -0.5, factors.data(), spacing, out.data());
        table.row_products(rows, cols, matrix.data(), stride, x.data(), products.data());
        for (Index j = 0; j < cols; ++j) {
          double wanted = before[at(j)];
          for (Index k = 0; k < rows; ++k) {
            wanted -= 0.5 * factors[at(k * spacing)] * matrix[at(k * stride + j)];
          }
          CHECK(out[at(j)] == doctest::Approx(wanted).epsilon(1e-13));
        }
        for (Index k = 0; k < rows; ++k) {
          double wanted = 0;
          for (Index j = 0; j < cols; ++j) {
            wanted += matrix[at(k * stride + j)] * x[at(j)];
          }
          CHECK(products[at(k)] == doctest::Approx(wanted).epsilon(1e-12));
        }
        CHECK(std::ranges::all_of(out.begin() + cols, out.end(), [](double v) { return v == 77; }));
        CHECK(products.back() == 77);
      }
    }
  }
}

}  // namespace
