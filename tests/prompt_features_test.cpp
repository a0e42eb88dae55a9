// Which steps of an episode its features and pairs show: long and short ones, with and without success.
#include <doctest/doctest.h>

#include <maa/data/prompt_features.hpp>

#include "errors.hpp"

#include <numeric>

namespace {

using namespace maa;
using test::error_of;
using test::has;

// Observations and actions tell the step: o = t, a = 100 + t.
Trajectory counting(Index length) {
  Trajectory trajectory(length, 1, 1);
  std::iota(trajectory.observations().data, trajectory.observations().data + length, 0.0f);
  std::iota(trajectory.actions().data, trajectory.actions().data + length, 100.0f);
  return trajectory;
}
PromptEncoder encoder(const PromptShape& shape) {
  return {shape, Normalizer(1), Normalizer(1), 0};
}
std::vector<float> success_of(const PromptShape& shape, const Trajectory& trajectory) {
  std::vector<float> features(static_cast<std::size_t>(shape.segments * shape.success_features(1)));
  encoder(shape).write_success(trajectory, {features.data(), shape.segments, shape.success_features(1)});
  return features;
}
// The steps behind the pairs.
std::vector<float> steps_of(const PromptShape& shape, const Trajectory& trajectory) {
  const Index count = shape.pairs();
  std::vector<float> seen(static_cast<std::size_t>(count)), done(seen);
  encoder(shape).write_pairs(trajectory, {seen.data(), count, 1}, {done.data(), count, 1});
  for (std::size_t i = 0; i < seen.size(); ++i) {
    CHECK(done[i] == seen[i] + 100);
  }
  return seen;
}

constexpr PromptShape whole{.from = PromptSteps::whole, .steps = 12, .sequence = 3, .success_states = 3};
constexpr PromptShape first{.steps = 12, .sequence = 3, .success_states = 3};

TEST_CASE("prompts: sequences are spread evenly, over shorter episodes too") {
  using Steps = std::vector<float>;
  CHECK(steps_of(whole, counting(30)) == Steps{0, 1, 2, 9, 10, 11, 18, 19, 20, 27, 28, 29});
  CHECK(steps_of(whole, counting(12)) == Steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(steps_of(whole, counting(7)) == Steps{0, 1, 2, 1, 2, 3, 2, 3, 4, 4, 5, 6});
  CHECK(steps_of(whole, counting(3)) == Steps{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
  CHECK(steps_of(first, counting(30)) == Steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  for (const Index length : {3, 4, 5, 11, 12, 59, 60, 200}) {
    const auto trajectory = counting(length);
    std::vector<float> seen(24), done(24);
    encoder(whole).write_spread_pairs(trajectory, {seen.data(), 24, 1}, {done.data(), 24, 1});
    CHECK(std::ranges::is_sorted(seen));
    CHECK(seen.front() == 0);
    CHECK(seen.back() >= static_cast<float>(length - 1 - length / 24));
    const auto steps = steps_of(whole, trajectory);
    CHECK(steps.front() == 0);
    CHECK(steps.back() == static_cast<float>(length - 1));
    std::vector<float> features(static_cast<std::size_t>(whole.trajectory_features(1, 1)));
    encoder(whole).write_trajectory(trajectory, {features.data(), 1, whole.trajectory_features(1, 1)});
    for (std::size_t chunk = 0; chunk < 4; ++chunk) {
      CHECK(features[4 * chunk] == steps[3 * chunk]);
      CHECK(features[4 * chunk + 3] == steps[3 * chunk + 2] + 100);
    }
  }
}

TEST_CASE("prompts: without success the last states stand for those after it") {
  using States = std::vector<float>;
  auto trajectory = counting(20);
  CHECK(success_of(whole, trajectory) == States{17, 18, 19});
  CHECK(success_of(first, trajectory) == States{17, 18, 19});
  trajectory.success_step = 9;
  CHECK(success_of(whole, trajectory) == States{10, 11, 12});
  CHECK(success_of(first, trajectory) == States{10, 11, 12});
  trajectory.success_step = 18;
  CHECK(success_of(whole, trajectory) == States{19, 19, 19});
  CHECK(success_of(whole, counting(3)) == States{0, 1, 2});
  constexpr PromptShape segments{.kind = PromptKind::segments,
                                 .from = PromptSteps::whole,
                                 .segments = 2,
                                 .steps = 6,
                                 .sequence = 3,
                                 .success_states = 2};
  CHECK(success_of(segments, counting(10)) == States{3, 4, 8, 9});
}

TEST_CASE("prompts: features are clamped to a limit, if there is one") {
  const auto trajectory = counting(20);
  for (const float limit : {0.0f, 4.0f, 1000.0f}) {
    std::vector<float> features(3);
    PromptEncoder(whole, Normalizer(1), Normalizer(1), limit)
        .write_success(trajectory, {features.data(), 1, 3});
    CHECK(features == (limit == 4 ? std::vector<float>{4, 4, 4} : std::vector<float>{17, 18, 19}));
  }
}

TEST_CASE("prompts: what is missing is named with its number") {
  constexpr auto any = whole.needs(ConditionParts::both), strict = first.needs(ConditionParts::both);
  static_assert(any.steps == 3 && !any.success);
  static_assert(strict.steps == 12 && strict.success);
  static_assert(!first.needs(ConditionParts::h).success && !first.paper_needs(ConditionParts::h).success);
  static_assert(whole.paper_needs().steps == 12 && whole.paper_needs().success);
  const auto error = [](const PromptNeeds& needs, const Trajectory& trajectory) {
    return error_of([&] { encoder(whole).require_usable(trajectory, needs); });
  };
  CHECK(error(any, counting(3)) == "no error");
  CHECK(error(any, counting(2)) == "prompt: expected at least 3 steps, found 2");
  CHECK(error(strict, counting(11)) == "prompt: expected at least 12 steps, found 11");
  CHECK(has(error(strict, counting(12)), "expected a trajectory that reaches success"));
  CHECK(has(error(any, Trajectory(20, 2, 1)), "expected 1 observations and 1 actions, found 2 and 1"));
  auto odd = counting(5);
  odd.observations()(2, 0) = std::nanf("");
  CHECK(has(error(any, odd), "found nan in observation 0 of step 2"));
  odd = counting(5);
  odd.observations()(2, 0) = -9e7f;
  CHECK(error(any, odd) == "no error");
  odd.observations()(2, 0) = -2e8f;
  CHECK(has(error(any, odd),
            "expected observation 0 within 1e+08 times its spread in training, found -2e+08 in "
            "step 2"));
  odd = counting(5);
  odd.actions()(4, 0) = 3e38f;
  CHECK(has(error(any, odd), "expected action 0 within 1e+08"));
}

}  // namespace
