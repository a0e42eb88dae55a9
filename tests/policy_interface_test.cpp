// Observation scaling and action box of a data set: what is learned is what its networks see, and generated
// policies have the same interface.
#include <doctest/doctest.h>

#include "errors.hpp"
#include "small_generator.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace test;

// Powers of two, so that mapping there and back loses no bit.
PolicyInterface interface() {
  PolicyInterface result;
  result.observation_mean = {0.5f, -1, 0, 2, 0, 0.25f};
  result.observation_scale = {2, 0.5f, 1, 4, 0.25f, 1};
  result.observation_clip = 64;
  result.action_centre = {1, 0};
  result.action_half_width = {2, 0.5f};
  result.metadata = {{"action_names", "hip,knee"}};
  return result;
}
// A demonstration in the world, of which a network sees `inner`.
Trajectory outside(const Trajectory& inner) {
  const auto map = interface();
  auto result = inner;
  for (Index t = 0; t < inner.length(); ++t) {
    for (Index j = 0; j < 6; ++j) {
      const auto at = static_cast<std::size_t>(j);
      result.observations()(t, j) =
          inner.observations()(t, j) / map.observation_scale[at] + map.observation_mean[at];
    }
  }
  const auto act = [&](MatrixView<const float> from, MatrixView<float> to) {
    for (Index t = 0; t < from.rows; ++t) {
      for (Index j = 0; j < 2; ++j) {
        const auto at = static_cast<std::size_t>(j);
        to(t, j) = map.action_centre[at] + map.action_half_width[at] * from(t, j);
      }
    }
  };
  act(inner.actions(), result.actions());
  if (inner.has_target_actions()) {
    Buffer<float> targets(inner.length() * 2);
    act(inner.target_actions(), {targets.data(), inner.length(), 2});
    result.set_target_actions({targets.data(), inner.length(), 2});
  }
  return result;
}
// Numbers that survive that: multiples of 2^-12 below 4.
Trajectory rounded(Trajectory trajectory) {
  const auto round = [](std::span<float> numbers) {
    for (float& x : numbers) {
      x = std::clamp(std::round(x * 4096) / 4096, -4.0f, 4.0f);
    }
  };
  round(trajectory.observations().span());
  round(trajectory.actions().span());
  Buffer<float> targets(trajectory.length() * 2);
  std::copy_n(trajectory.actions().data, targets.size(), targets.data());
  trajectory.set_target_actions({targets.data(), trajectory.length(), 2});
  return trajectory;
}

TEST_CASE("a generator learns what networks see, and its policies have the data set's interface") {
  auto inner = dataset();
  auto outer = inner;
  outer.interface = interface();
  for (std::size_t i = 0; i < inner.trajectories.size(); ++i) {
    inner.trajectories[i] = rounded(inner.trajectories[i]);
    outer.trajectories[i] = outside(inner.trajectories[i]);
    REQUIRE(std::ranges::equal(outer.interface.inside(outer.trajectories[i]).observations().span(),
                               inner.trajectories[i].observations().span()));
  }
  const TemporaryFolder folder;
  outer.save(folder / "data.safetensors");
  outer = Dataset::load(folder / "data.safetensors");
  SmallGenerator of_inner, trained;
  REQUIRE(of_inner.fit(inner, recipe(30)));
  REQUIRE(trained.fit(outer, recipe(30)));
  trained.save(folder / "generator.safetensors");
  const auto of_outer = SmallGenerator::load(folder / "generator.safetensors");
  CHECK(of_outer.interface().metadata == interface().metadata);

  const auto prompt = rounded(demonstration(1, 77));
  const auto world = outside(prompt);
  const GenerateOptions options{.count = 2, .polish = {.steps = 20}};
  const auto inner_policies = of_inner.generate(prompt, options);
  const auto policies = of_outer.generate(world, options);
  for (std::size_t i = 0; i < policies.size(); ++i) {
    CHECK(std::ranges::equal(policies[i].weights(), inner_policies[i].weights()));
  }
  CHECK(policies[0].scaling() == interface().scaling<Policy>());
  CHECK(policies[0].box() == interface().box<Policy>());
  std::array<float, 2> seen, done;
  inner_policies[0].act(prompt.observations().row_span(3), seen);
  policies[0].act(world.observations().row_span(3), done);
  CHECK(done[0] == 1 + 2 * seen[0]);
  CHECK(done[1] == 0.5f * seen[1]);

  CHECK(of_outer.novelty({&world, 1}) == of_inner.novelty({&prompt, 1}));
  CHECK(std::ranges::equal(of_outer.embed({&world, 1}), of_inner.embed({&prompt, 1})));
  const auto fitted = of_outer.fit_heads({&policies[0], 1}, {&world, 1});
  CHECK(std::ranges::equal(fitted[0].weights(),
                           of_inner.fit_heads({&inner_policies[0], 1}, {&prompt, 1})[0].weights()));
  CHECK(fitted[0].box() == policies[0].box());
  const auto sure = of_outer.uncertainty({&policies[0], 1}, {&world, 1})[0];
  CHECK(
      sure.deviation(world.observations().span()) ==
      of_inner.uncertainty({&inner_policies[0], 1}, {&prompt, 1})[0].deviation(prompt.observations().span()));

  const Policy without(policies[0].weights());
  CHECK_THROWS_WITH_AS(of_outer.fit_heads({&without, 1}, {&world, 1}),
                       doctest::Contains("this generator's interface"), Error);
  const Trajectory narrow(20, 5, 2);
  CHECK_THROWS_WITH_AS(of_outer.generate(narrow),
                       doctest::Contains("expected 6 observations and 2 actions, found 5"), Error);
}

TEST_CASE("check reads a data set through its interface") {
  auto data = dataset();
  for (auto& trajectory : data.trajectories) {  // by a policy of the zoo
    const Policy actor(data.weight_matrix().row_span(trajectory.task == "plus" ? 0 : 12));
    actor.act_batch(trajectory.observations().span(), trajectory.actions().span());
    trajectory = outside(rounded(trajectory));
    trajectory.run = 0;
  }
  CHECK_FALSE(check<Policy>(data).plausible);
  data.interface = interface();
  CHECK(check<Policy>(data).plausible);
}

TEST_CASE("metadata that no file can hold are refused before the first step") {
  auto data = dataset();
  data.interface.metadata = {{"joint_names", "\xff"}};
  SmallGenerator generator;
  Index steps = 0;
  CHECK_THROWS_WITH_AS(generator.fit(data, recipe(3),
                                     [&](const TrainProgress&) {
                                       ++steps;
                                       return true;
                                     }),
                       doctest::Contains("UTF-8"), Error);
  CHECK(steps == 0);
}

TEST_CASE("interfaces of other sizes, or of numbers that make no sense, are errors") {
  const auto refused = [](auto change, const char* message) {
    auto data = dataset();
    data.interface = interface();
    change(data.interface);
    CHECK_THROWS_WITH_AS(data.validate(), doctest::Contains(message), Error);
  };
  refused([](auto& i) { i.observation_mean.pop_back(); }, "expected 6 numbers for each of observation_mean");
  refused([](auto& i) { i.observation_scale.clear(); }, "found 6 and 0");
  refused([](auto& i) { i.observation_scale[2] = 0; }, "finite and positive, found 0 and 0 at 2");
  refused([](auto& i) { i.action_half_width[1] = -1; }, "finite and positive, found 0 and -1 at 1");
  refused([](auto& i) { i.observation_clip = 0; }, "positive observation_clip, found 0");
  refused([](auto& i) { i.metadata["action_names"] = "hip"; },
          "expected 2 action_names with commas between, found 1: 'hip'");
  refused([](auto& i) { i.metadata["observation_names"] = "a,b,c,d,e,f,"; }, "expected 6 observation_names");
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(save_policy(folder / "policy", Policy(), {{"action_names", "hip"}}),
                       doctest::Contains("expected 2 action_names"), Error);
  CHECK_FALSE(std::filesystem::exists(folder / "policy"));
}

}  // namespace
