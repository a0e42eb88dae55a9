#include <doctest/doctest.h>

#include <maa/testing/grad_check.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

using maa::grad_check;

namespace {

// f = sum of sin(k x_k), df/dx_k = k cos(k x_k).
struct Function {
  std::vector<double> x = std::vector<double>(50);
  std::vector<double> gradient = std::vector<double>(50);

  Function() {
    maa::Rng(1).fill_normal<double>(x);
    for (std::size_t k = 0; k < x.size(); ++k) {
      const auto factor = 0.1 * static_cast<double>(k);
      gradient[k] = factor * std::cos(factor * x[k]);
    }
  }
  double operator()() const {
    double sum = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      sum += std::sin(0.1 * static_cast<double>(k) * x[k]);
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("a right gradient passes and the values are as before") {
  Function f;
  const auto before = f.x;
  const auto result = grad_check(f.x, f.gradient, [&] { return f(); });
  CHECK(result.worst_error < 1e-7);
  CHECK(result.checked == 50);
  CHECK(f.x == before);
}

TEST_CASE("one wrong coordinate is found") {
  Function f;
  f.gradient[37] *= 1 + 1e-4;
  const auto result = grad_check(f.x, f.gradient, [&] { return f(); });
  CHECK(result.index == 37);
  CHECK(result.worst_error == doctest::Approx(1e-4).epsilon(0.01));
  CHECK(result.analytic == f.gradient[37]);
  CHECK(result.numeric == doctest::Approx(f.gradient[37] / (1 + 1e-4)));
}

TEST_CASE("a missing gradient is an error of 1, a gradient that is not a number an infinite one") {
  Function f;
  f.gradient[20] = 0;
  CHECK(grad_check(f.x, f.gradient, [&] { return f(); }).worst_error == doctest::Approx(1));
  f.gradient[21] = std::numeric_limits<double>::quiet_NaN();
  const auto result = grad_check(f.x, f.gradient, [&] { return f(); });
  CHECK(result.worst_error == std::numeric_limits<double>::infinity());
  CHECK(result.index == 21);
}

TEST_CASE("samples are different coordinates spread over the range") {
  Function f;
  const auto before = f.x;
  std::set<std::size_t> touched;
  const auto result = grad_check(f.x, f.gradient,
                                 [&] {
                                   for (std::size_t i = 0; i < f.x.size(); ++i) {
                                     if (f.x[i] != before[i]) {
                                       touched.insert(i);
                                     }
                                   }
                                   return f();
                                 },
                                 {.samples = 10});
  CHECK(result.checked == 10);
  CHECK(touched.size() == 10);
  CHECK(*touched.begin() < 5);
  CHECK(*touched.rbegin() >= 45);
  CHECK(grad_check(f.x, f.gradient, [&] { return f(); }, {.samples = 100}).checked == 50);
}

TEST_CASE("values are restored when the function throws; sizes are checked") {
  Function f;
  const auto before = f.x;
  CHECK_THROWS_AS(grad_check(f.x, f.gradient, []() -> double { throw maa::Error("broken"); }), maa::Error);
  CHECK(f.x == before);
  CHECK_THROWS_WITH_AS(grad_check(f.x, std::span<const double>(f.gradient).first(3), [&] { return f(); }),
                       "grad_check: expected a gradient of 50 numbers, found 3", maa::Error);
}
