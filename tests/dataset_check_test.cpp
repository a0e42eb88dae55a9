// Mistakes in a data set are found and named, honest data sets pass, and makers are the policies that acted.
#include <doctest/doctest.h>

#include <maa/generator.hpp>

#include "errors.hpp"
#include "small_config.hpp"
#include "toy_policies.hpp"

namespace {

using namespace test;
using Unsquashed = ToyPolicyOf<Activation::relu, Activation::relu, Squash::none>;

const Dataset& toy(double noise = 0) {
  static const Dataset quiet = toy_dataset(), noisy = toy_dataset(0.1);
  return noise > 0 ? noisy : quiet;
}
template <class Change>
Dataset changed(Dataset data, const Change& change) {
  change(data);
  return data;
}
template <class Change>
Dataset with_weights(const Dataset& from, const Change& change) {
  return changed(from, [&](Dataset& data) {
    for (Index i = 0; i < data.policy_count(); ++i) {
      change(data.weight_matrix().row_span(i));
    }
  });
}
template <class Change>
Dataset with_trajectories(const Dataset& from, const Change& change) {
  return changed(from, [&](Dataset& data) { std::ranges::for_each(data.trajectories, change); });
}
void scale_actions(Trajectory& trajectory, float factor) {
  for (float& action : trajectory.actions().span()) {
    action *= factor;
  }
}

template <class Policy = ToyPolicy>
void check_refused(const Dataset& data, const char* cause) {
  const auto found = maa::check<Policy>(data);
  CAPTURE(found.summary);
  CHECK_FALSE(found.plausible);
  CHECK(has(found.summary, cause));
  CHECK(std::ranges::all_of(found.trajectories, [](const auto& t) { return t.maker < 0; }));
}
template <class Policy = ToyPolicy>
DatasetCheck check_plausible(const Dataset& data) {
  auto found = maa::check<Policy>(data);
  CAPTURE(found.summary);
  CHECK(found.plausible);
  return found;
}
Index makers(const DatasetCheck& found) {
  return std::ranges::count_if(found.trajectories, [](const auto& t) { return t.maker >= 0; });
}

TEST_CASE("every mistake is refused, and its cause is named") {
  for (const double noise : {0.0, 0.1}) {
    CAPTURE(noise);
    const auto& data = toy(noise);
    const auto normalizer = toy_normalizer();
    check_refused(with_weights(data, [](std::span<float> row) { std::ranges::reverse(row); }),
                  "with the weights in reverse order");
    const auto others = with_trajectories(data, [](Trajectory& t) { t.run += 100; });  // no policy's
    check_refused(with_weights(others, [](std::span<float> row) { std::ranges::reverse(row); }),
                  "with the weights in reverse order");
    CHECK(has(check_plausible(others).summary, "no trajectory has the run of a policy of its task"));
    check_refused<ToyPolicyOf<Activation::tanh, Activation::tanh>>(
        data, "with activations [relu, relu] in place of [tanh, tanh]");
    check_refused(
        with_weights(data,
                     [&](std::span<float> row) { unfold_normalizer<ToyPolicy::Network>(normalizer, row); }),
        "in other units");
    check_refused(with_trajectories(data, [&](Trajectory& t) { normalizer.apply(t.observations()); }),
                  "in other units");
    const auto doubled = with_trajectories(data, [](Trajectory& t) { scale_actions(t, 2); });
    check_refused(doubled,
                  "24 of 24 trajectories hold actions outside of [-1, 1], but the policy squashes with tanh; "
                  "first: trajectory 0 holds an action of 2");
    check_refused(doubled, "with actions in another box");
    check_refused(with_trajectories(data, [](Trajectory& t) { scale_actions(t, 0.5f); }),
                  "with actions in another box (of the first entry: some");
    auto declared = with_trajectories(data, [](Trajectory& t) { scale_actions(t, 0.5f); });
    const auto actions = static_cast<std::size_t>(declared.action_size);
    declared.interface.action_centre.assign(actions, 0);
    declared.interface.action_half_width.assign(actions, 2);
    check_refused(declared, noise == 0 ? "+- 0.5)" : "with actions in another box");  // the world's units
  }
  check_refused<Unsquashed>(toy(), "with squash tanh, the same policies reproduce the trajectories");
  check_refused<ToyPolicyOf<Activation::elu, Activation::relu>>(toy(),
                                                                "[relu, relu] in place of [elu, relu]");
  const auto unsquashed = with_trajectories(toy_dataset<Unsquashed>(), [](Trajectory& t) {
    for (float& action : t.actions().span()) {
      action = std::clamp(action, -1.0f, 1.0f);
    }
  });
  check_refused(unsquashed, "with squash none");
  check_plausible<Unsquashed>(unsquashed);
}

TEST_CASE("tasks that are named wrongly are refused by name") {
  for (const double noise : {0.0, 0.1}) {
    const auto found = maa::check<ToyPolicy>(with_trajectories(toy(noise), [](Trajectory& t) {
      t.task = t.task == "east" ? "west" : t.task == "west" ? "east" : t.task;
    }));
    CAPTURE(found.summary);
    CHECK_FALSE(found.plausible);
    CHECK(has(found.summary, "the policies of task 'west' reproduce the trajectories of task 'east'"));
    CHECK(has(found.summary, "the policies of task 'east' reproduce the trajectories of task 'west'"));
    CHECK_FALSE(has(found.summary, "trajectories of task 'south'"));
  }
}

TEST_CASE("makers are the policies that acted, whatever else the runs hold") {
  const auto found = check_plausible(toy());
  REQUIRE(found.policies.size() == 42);
  REQUIRE(found.trajectories.size() == 24);
  for (Index t = 0; t < 24; ++t) {
    const auto& check = found.trajectories[static_cast<std::size_t>(t)];
    CHECK(check.maker == 7 * (t / 4) + 6);  // the last snapshot of its run
    CHECK(check.best == check.maker);
    CHECK(check.steps == 80);
    CHECK(check.relative() < 1e-6);
  }
  const auto &early = found.policies[0], &last = found.policies[6];
  CHECK(early.relative() > 1);
  CHECK(last.relative() < 1e-6);
  CHECK(last.steps == 4 * 32);
  CHECK(last.task == 0);
  CHECK(last.run == 0);
  CHECK(last.variance > 0.01);
  // Those of no run are everybody's.
  const auto common = check_plausible(with_trajectories(toy(), [](Trajectory& t) { t.run = -1; }));
  CHECK(common.policies[6].steps == 8 * 32);
  CHECK(makers(common) == 24);
  CHECK(common.trajectories[0].maker == 6);
  // Without the one that acted there is none.
  const auto without = check_plausible(changed(toy(), [](Dataset& data) {
    const auto all = data;
    data.policies.clear();
    for (Index i = 0; i < all.policy_count(); ++i) {
      if (all.policies[static_cast<std::size_t>(i)].step <= 200) {
        data.add_policy(all.policies[static_cast<std::size_t>(i)], all.weight_matrix().row_span(i));
      }
    }
  }));
  CHECK(makers(without) == 0);
}

TEST_CASE("noise: targets tell the maker, and so does white noise, but nothing else") {
  const auto with_targets = check_plausible(toy_dataset(0.3, true));
  CHECK(makers(with_targets) == 24);
  const auto few = check_plausible(toy(0.1));
  CHECK(makers(few) >= 18);
  for (std::size_t t = 0; t < 24; ++t) {
    const auto maker = few.trajectories[t].maker;
    CHECK((maker < 0 || maker == static_cast<Index>(7 * (t / 4) + 6)));
  }
  check_plausible(toy_dataset(0.6));
  check_plausible<Unsquashed>(toy_dataset<Unsquashed>(0.3));
  // Before the squash, as soft actor-critic has it; and not clipped.
  Rng rng(3);
  const auto noisy = [&](double deviation, bool squashed) {
    return with_trajectories(toy(), [&](Trajectory& t) {
      for (float& action : t.actions().span()) {
        const auto noise = static_cast<float>(deviation * rng.normal());
        action =
            squashed ? std::tanh(std::atanh(std::clamp(action, -0.9999f, 0.9999f)) + noise) : action + noise;
      }
    });
  };
  const auto soft = check_plausible(noisy(0.2, true));
  CHECK(makers(soft) >= 12);
  for (const double deviation : {0.1, 0.3}) {
    check_plausible(noisy(deviation, false));
  }
  // A drift is not noise.
  const auto drifting = maa::check<ToyPolicy>(with_trajectories(toy(), [](Trajectory& t) {
    for (Index i = 0; i < t.length(); ++i) {
      t.actions()(i, 0) += 0.1f * std::sin(0.1f * static_cast<float>(i));
      t.actions()(i, 1) += 0.05f;
    }
  }));
  CHECK(makers(drifting) == 0);
}

TEST_CASE("clones of a scripted expert are plausible, and make nothing") {
  for (const bool noisy : {false, true}) {
    const auto found = check_plausible(changed(toy(), [&](Dataset& data) {
      data.trajectories.clear();
      for (Index task = 0; task < 3; ++task) {
        for (std::uint64_t i = 0; i < 6; ++i) {
          data.add_trajectory(toy_episode(
              task, -1, i,
              [](const Toy& scene, std::span<float> action) {
                std::ranges::copy(scene.expert(), action.data());
              },
              [&](std::span<float> action, Rng& rng) {
                for (float& a : action) {
                  a = noisy ? std::clamp(a + static_cast<float>(0.3 * rng.normal()), -1.0f, 1.0f) : a;
                }
              }));
        }
      }
    }));
    CHECK(found.best.relative() < 0.3);
    CHECK(makers(found) == 0);
  }
}

TEST_CASE("the check does not depend on threads, and knows data sets without policies") {
  const auto data = toy(0.1);
  const auto one = maa::check<ToyPolicy>(data, cpu::Backend(1)),
             two = maa::check<ToyPolicy>(data, cpu::Backend(2));
  CHECK(one.summary == two.summary);
  for (std::size_t i = 0; i < one.policies.size(); ++i) {
    CHECK(one.policies[i].error == two.policies[i].error);
  }
  for (std::size_t i = 0; i < one.trajectories.size(); ++i) {
    CHECK(one.trajectories[i].error == two.trajectories[i].error);
    CHECK(one.trajectories[i].maker == two.trajectories[i].maker);
  }
  const auto none = check_plausible(changed(data, [](Dataset& d) { d.policies.clear(); }));
  CHECK(none.trajectories.size() == 24);
  CHECK(makers(none) == 0);
  const auto strangers = check_plausible(changed(data, [](Dataset& d) {
    for (auto& policy : d.policies) {
      policy.run += 10;
    }
  }));
  CHECK(has(strangers.summary, "no trajectory has the run of a policy of its task"));
  CHECK(has(error_of([&] {
              maa::check<MlpPolicy<MlpNetwork<5, 2, HiddenLayers<Hidden<4, Activation::relu>>>>>(data);
            }),
            "check: expected a dataset of 5 observations"));
}

TEST_CASE("fit refuses what is implausible, unless it is told not to check") {
  Generator<ToyPolicy, SmallConfig> generator{cpu::Backend(1)};
  BehaviorRecipe recipe;
  recipe.embedder.train.steps = recipe.behavior.train.steps = 1;
  recipe.behavior.train.batch = 2;
  CHECK(generator.fit(toy(), recipe));
  const auto reversed = with_weights(toy(), [](std::span<float> row) { std::ranges::reverse(row); });
  const auto error = error_of([&] { generator.fit(reversed, recipe); });
  CAPTURE(error);
  CHECK(has(error,
            "fit: expected policies that do what the trajectories show (check = false trains all the same)"));
  CHECK(has(error,
            "42 of 42 policies do not reproduce the actions of their trajectories; first: policy 0 (task "
            "'east', run 0): mean squared error"));
  recipe.check = false;
  CHECK(generator.fit(reversed, recipe));
}

}  // namespace
