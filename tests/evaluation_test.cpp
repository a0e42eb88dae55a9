#include "../examples/common/statistics.hpp"

#include <doctest/doctest.h>

using maa::examples::bootstrap_interval;
using maa::examples::wilson_interval;

// Expected values: computed apart from this code, in Python.
TEST_CASE("Wilson's interval") {
  const auto half = wilson_interval(5, 10);
  CHECK(half.low == doctest::Approx(0.236593090512564));
  CHECK(half.high == doctest::Approx(0.763406909487436));
  const auto few = wilson_interval(1, 20);
  CHECK(few.low == doctest::Approx(0.0088814));
  CHECK(few.high == doctest::Approx(0.2361309).epsilon(1e-4));
  CHECK(wilson_interval(0, 10).low == 0);
  CHECK(wilson_interval(0, 10).high == doctest::Approx(0.277532799862889));
  CHECK(wilson_interval(10, 10).high == 1);
  CHECK(wilson_interval(10, 10).low == doctest::Approx(0.722467200137111));
  CHECK_THROWS_AS(wilson_interval(1, 0), maa::Error);
  CHECK_THROWS_AS(wilson_interval(3, 2), maa::Error);
}

TEST_CASE("the bootstrap interval of a mean has the width of the normal approximation") {
  std::vector<double> samples(400);
  for (std::size_t i = 0; i < 100; ++i) {
    samples[i] = 1;
  }
  const auto interval = bootstrap_interval({samples}, 3);
  const double half_width = 1.96 * std::sqrt(0.25 * 0.75 / 400);
  CHECK(std::abs(interval.low - (0.25 - half_width)) < 0.004);
  CHECK(std::abs(interval.high - (0.25 + half_width)) < 0.004);
}

TEST_CASE("groups are redrawn on their own and count alike") {
  const std::vector<double> always(10, 1.0), never(1000, 0.0);
  const auto fixed = bootstrap_interval({always, never}, 1);
  CHECK(fixed.low == doctest::Approx(0.5));
  CHECK(fixed.high == doctest::Approx(0.5));

  std::vector<double> mixed(10, 0.0);
  std::fill_n(mixed.begin(), 5, 1.0);
  const auto both = bootstrap_interval({always, mixed}, 1);
  const auto alone = bootstrap_interval({mixed}, 1);
  CHECK(both.low == doctest::Approx(0.5 + 0.5 * alone.low).epsilon(0.05));
  CHECK(both.high == doctest::Approx(0.5 + 0.5 * alone.high).epsilon(0.05));
}

TEST_CASE("the bootstrap depends on its seed alone") {
  const std::vector<std::vector<double>> groups{{0, 1, 1, 0, 1, 0, 0}, {1, 0.25, 0.75, 0.5}};
  const auto first = bootstrap_interval(groups, 7);
  const auto second = bootstrap_interval(groups, 7);
  CHECK(first.low == second.low);
  CHECK(first.high == second.high);
  CHECK_THROWS_AS(bootstrap_interval({}, 7), maa::Error);
  CHECK_THROWS_AS(bootstrap_interval({{}}, 7), maa::Error);
}
