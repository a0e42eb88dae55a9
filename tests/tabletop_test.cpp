// The tabletop family: experts, rewards, determinism, symmetry, errors, rendering.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <maa/core/error.hpp>
#include <maa/core/rng.hpp>

#include "errors.hpp"
#include "larger.hpp"
#include "metaworld_interface.hpp"
#include "skip.hpp"
#include "tabletop.hpp"

namespace {

using maa::Index;
using maa::examples::Environment;
using maa::examples::Image;
using maa::examples::Placement;
using test::error_of;
using test::has;
namespace tabletop = maa::examples::tabletop;

using Observation = std::array<float, 39>;
using Action = std::array<float, 4>;

struct Episode {
  bool success = false;
  std::vector<Observation> observations;
};

// The expert with normal noise of deviation `noise` on its actions, from the placement and noise of one seed.
Episode expert_episode(Environment& environment, std::uint64_t seed, double noise, bool stop = true) {
  maa::Rng random(seed, 1);
  Episode episode;
  Observation observation{};
  Action action{};
  environment.reset(environment.draw_placement(seed), observation);
  episode.observations.push_back(observation);
  for (Index t = 0; t < environment.max_episode_steps() && !(stop && episode.success); ++t) {
    environment.expert_action(action);
    for (float& value : action) value += static_cast<float>(noise * random.normal());
    episode.success |= environment.step(action, observation).success;
    episode.observations.push_back(observation);
  }
  return episode;
}

}  // namespace

TEST_CASE("tabletop: experts succeed over random placements") {
  constexpr int episodes = 100;
  REQUIRE(tabletop::task_names().size() >= 10);
  for (const std::string& name : tabletop::task_names()) {
    const auto environment = tabletop::make_environment(name);
    int exact = 0;
    int noisy = 0;
    for (std::uint64_t seed = 0; seed < episodes; ++seed) {
      exact += expert_episode(*environment, 1000 + seed, 0.0).success;
      noisy += expert_episode(*environment, 1000 + seed, 0.3).success;
    }
    CAPTURE(name);
    CHECK(exact >= 99);
    CHECK(noisy >= 90);
  }
}

TEST_CASE("tabletop: doing nothing never succeeds, and the observation is as documented") {
  for (const std::string& name : tabletop::task_names()) {
    CAPTURE(name);
    const auto environment = tabletop::make_environment(name);
    CHECK(environment->task() == name);
    CHECK(environment->observation_size() == 39);
    CHECK(environment->action_size() == 4);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Observation first{};
      environment->reset(environment->draw_placement(seed), first);
      CHECK(std::equal(first.begin(), first.begin() + 18, first.begin() + 18));
      CHECK(first[3] == doctest::Approx(1.0));
      CHECK(std::any_of(first.begin() + 36, first.end(), [](float value) { return value != 0.0F; }));
      Observation next{};
      bool success = false;
      for (int t = 0; t < 5; ++t) {
        success |= environment->step(Action{0, 0, 0, -1}, next).success;
        if (t == 0) CHECK(std::equal(first.begin(), first.begin() + 18, next.begin() + 18));
      }
      CHECK_FALSE(success);
      CHECK(std::equal(first.begin() + 36, first.end(), next.begin() + 36));
      CHECK(std::none_of(next.begin(), next.end(), [](float value) { return std::isnan(value); }));
    }
  }
}

TEST_CASE("tabletop: rewards are as documented, and rise on the expert's way to success") {
  const auto far = [](double x) { return x / (x + 0.1); };
  const auto distance = [](const float* a, const std::array<double, 3>& b) {
    return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
  };
  for (const std::string& name : tabletop::task_names()) {
    CAPTURE(name);
    const auto environment = tabletop::make_environment(name);
    double worst = 0, begin = 0, end = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      maa::Rng random(seed, 3);
      Observation observation{};
      Action action{};
      environment->reset(environment->draw_placement(seed), observation);
      std::vector<double> rewards;
      bool success = false;
      while (!success && std::ssize(rewards) < environment->max_episode_steps()) {
        environment->expert_action(action);
        for (float& value : action) value += static_cast<float>(0.1 * random.normal());
        const auto result = environment->step(action, observation);
        success = result.success;
        rewards.push_back(result.reward);
        REQUIRE(result.reward >= -2);
        REQUIRE(result.reward <= 1);

        const float* const object = observation.data() + (name == "reach" ? 0 : 4);
        std::array<double, 3> goal{}, start{};
        std::copy_n(observation.begin() + 36, 3, goal.begin());
        const double left = distance(object, goal);
        for (std::size_t i = 0; i < 3; ++i) {
          const double from = object[i];
          start[i] = from - 0.05 * (goal[i] - from) / (left + 0.01);
        }
        const double reach = name == "reach" ? 0 : distance(observation.data(), start);
        worst = test::larger(worst, std::abs(result.reward - (success ? 1 : 0) + far(reach) + far(left)));
      }
      CHECK(success);
      begin += rewards.front();
      end += rewards.back() - 1;  // without what success adds
    }
    CHECK(worst < 1e-4);
    CHECK(end > begin + 20 * 0.2);
  }
}

TEST_CASE("tabletop: an action that is held is the same action in every step") {
  const std::string name = "faucet-open";
  const auto plain = tabletop::make_environment(name);
  const auto held = tabletop::make_environment(name, 4);
  CHECK(held->max_episode_steps() == 30);
  Observation observation{}, expected{}, earlier{};
  plain->reset(plain->draw_placement(7), expected);
  held->reset(held->draw_placement(7), observation);
  CHECK(observation == expected);
  maa::Rng random(7);
  for (Index t = 0; t < 30; ++t) {
    Action action{};
    held->expert_action(action);
    for (float& value : action) value += static_cast<float>(0.3 * random.normal());
    earlier = observation;
    const auto result = held->step(action, observation);
    maa::examples::StepResult last;
    for (int i = 0; i < 4; ++i) last = plain->step(action, expected);
    REQUIRE(std::equal(observation.begin(), observation.begin() + 18, expected.begin()));
    REQUIRE(std::equal(observation.begin() + 18, observation.begin() + 36, earlier.begin()));
    CHECK(result.success == last.success);
    CHECK(result.reward == last.reward);
  }
  CHECK(has(error_of([&] { tabletop::make_environment(name, 7); }), "found 7"));
  CHECK(has(error_of([&] { tabletop::make_environment(name, 0); }), "found 0"));

  const auto& interface = maa::examples::metaworld_interface(true);
  const auto simulator = tabletop::make_simulator(interface, 4);
  CHECK(&simulator->interface() == &interface);
  CHECK(simulator->make_environment(name)->max_episode_steps() == 30);
  CHECK(simulator->versions() != tabletop::make_simulator()->versions());
  using Layer = maa::Hidden<8, maa::Activation::relu>;
  using Narrow = maa::MlpPolicy<maa::MlpNetwork<6, 4, maa::HiddenLayers<Layer>>>;
  const maa::examples::Interface narrow{maa::examples::policy_type<Narrow>(), {}, {}};
  CHECK(has(error_of([&] { tabletop::make_simulator(narrow, 4); }), "got 6"));
}

TEST_CASE("tabletop: placements are drawn by seed and pin the scene") {
  for (const std::string& name : tabletop::task_names()) {
    CAPTURE(name);
    const auto environment = tabletop::make_environment(name);
    const auto other = tabletop::make_environment(name);
    CHECK(environment->draw_placement(5) == other->draw_placement(5));
    CHECK(environment->draw_placement(5) != environment->draw_placement(6));
    Observation before{};
    Observation after{};
    environment->reset(environment->draw_placement(5), before);
    expert_episode(*environment, 6, 0.3);
    environment->reset(environment->draw_placement(5), after);
    CHECK(before == after);
    environment->reset(environment->draw_placement(6), after);
    CHECK(before != after);
  }
}

TEST_CASE("tabletop: the same actions give the same bits, in any environment and thread") {
  const auto& names = tabletop::task_names();
  const auto run = [&](std::size_t task) {
    const auto environment = tabletop::make_environment(names[task]);
    return expert_episode(*environment, 11, 0.3, false).observations;
  };
  std::vector<std::vector<Observation>> parallel(names.size());
  std::vector<std::thread> threads;
  for (std::size_t worker = 0; worker < 4; ++worker) {
    threads.emplace_back([&, worker] {
      for (std::size_t task = worker; task < names.size(); task += 4) parallel[task] = run(task);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t task = 0; task < names.size(); ++task) {
    CAPTURE(names[task]);
    const auto environment = tabletop::make_environment(names[task]);
    expert_episode(*environment, 12, 0.3);  // what came before leaves no trace
    CHECK(expert_episode(*environment, 11, 0.3, false).observations == parallel[task]);
  }
}

TEST_CASE("tabletop: reflected actions in the reflected scene give reflected observations") {
  int mirrored_tasks = 0;
  for (const std::string& name : tabletop::task_names()) {
    const std::string mirror_name = tabletop::mirror_task(name);
    if (mirror_name.empty()) continue;
    ++mirrored_tasks;
    CAPTURE(name);
    CHECK(tabletop::mirror_task(mirror_name) == name);
    const auto environment = tabletop::make_environment(name);
    const auto reflected = tabletop::make_environment(mirror_name);
    const auto symmetry = maa::examples::metaworld_interface(true).symmetry;
    double worst = 0.0;
    double worst_action = 0.0;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      maa::Rng random(seed, 2);
      Observation observation{};
      Observation image{};
      Action action{};
      Action image_action{};
      const Placement placement = environment->draw_placement(seed);
      environment->reset(placement, observation);
      reflected->reset(tabletop::mirror_placement(name, placement), image);
      bool success = false;
      bool image_success = false;
      for (int t = 0; t < 60 && !success; ++t) {
        environment->expert_action(action);
        reflected->expert_action(image_action);
        mirror(symmetry, image, image_action);
        for (std::size_t i = 0; i < 39; ++i) {
          worst = test::larger(worst, static_cast<double>(std::abs(observation[i] - image[i])));
        }
        for (std::size_t i = 0; i < 4; ++i) {
          worst_action =
              test::larger(worst_action, static_cast<double>(std::abs(action[i] - image_action[i])));
        }
        for (float& value : action) value += static_cast<float>(0.1 * random.normal());
        image_action = action;
        image = observation;
        mirror(symmetry, image, image_action);
        success = environment->step(action, observation).success;
        image_success = reflected->step(image_action, image).success;
      }
      CHECK(success == image_success);
    }
    CHECK(worst < 1e-3);
    CHECK(worst_action < 0.05);
  }
  CHECK(mirrored_tasks >= 8);
  CHECK(has(error_of([] { tabletop::mirror_placement("door-open", {}); }), "door-open"));
}

TEST_CASE("symmetry: mirror and translate keep absent objects at zero") {
  const auto environment = tabletop::make_environment("drawer-open");
  const auto symmetry = maa::examples::metaworld_interface(true).symmetry;
  Observation original{};
  environment->reset(environment->draw_placement(3), original);
  Observation observation = original;
  std::fill(observation.begin() + 11, observation.begin() + 18, 0.0F);
  Action action{0.5F, 0.25F, -0.5F, 1.0F};
  mirror(symmetry, observation, action);
  CHECK(action == Action{-0.5F, 0.25F, -0.5F, 1.0F});
  for (std::size_t i : {4, 22, 29, 36}) CHECK(observation[i] == -original[i]);
  for (std::size_t i : {1, 2, 3, 5, 6, 7, 8, 37, 38}) CHECK(observation[i] == original[i]);
  CHECK(observation[10] == -original[10]);  // the quaternion of a turn about z
  for (std::size_t i = 11; i < 18; ++i) CHECK_FALSE(std::signbit(observation[i]));
  mirror(symmetry, observation, action);
  CHECK(std::equal(observation.begin(), observation.begin() + 11, original.begin()));

  const std::array<float, 3> offset{0.5F, -0.25F, 0.125F};
  translate(symmetry, offset, observation);
  for (std::size_t first : {0, 4, 18, 22, 29, 36}) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      CHECK(observation[first + axis] == doctest::Approx(original[first + axis] + offset[axis]));
    }
  }
  for (std::size_t i = 11; i < 18; ++i) CHECK(observation[i] == 0.0F);
  CHECK(observation[7] == original[7]);

  std::array<float, 10> narrow{};
  CHECK(has(error_of([&] { mirror(symmetry, narrow, action); }), "10"));
  CHECK(has(error_of([&] { translate(symmetry, offset, narrow); }), "10"));
  CHECK(maa::examples::metaworld_interface().symmetry.mirrored_observation ==
        std::vector<Index>{0, 4, 11, 18, 22, 29, 36});
}

TEST_CASE("tabletop: wrong input is refused by name and leaves the environment usable") {
  const std::string misspelt = error_of([] { tabletop::make_environment("drawer-opn"); });
  CHECK(has(misspelt, "\"drawer-opn\""));
  CHECK(has(misspelt, "drawer-open"));
  CHECK(has(misspelt, "door-open"));

  const auto environment = tabletop::make_environment("drawer-open");
  Observation observation{};
  Action action{};
  CHECK(has(error_of([&] { environment->step(action, observation); }), "reset"));
  CHECK(has(error_of([&] { environment->expert_action(action); }), "reset"));
  CHECK(has(error_of([&] { environment->render(64, 48); }), "reset"));

  Placement placement = environment->draw_placement(1);
  environment->reset(placement, observation);
  const Observation first = observation;
  CHECK(has(error_of([&] { environment->reset({0.1, 0.2}, observation); }), "2"));
  placement[0] = 7.0;
  const std::string outside = error_of([&] { environment->reset(placement, observation); });
  CHECK(has(outside, "drawer-open expects x"));
  CHECK(has(outside, "7"));
  placement[0] = std::numeric_limits<double>::quiet_NaN();
  CHECK(error_of([&] { environment->reset(placement, observation); }) != "no error");
  CHECK(observation == first);

  action[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(error_of([&] { environment->step(action, observation); }), "NaN"));
  std::array<float, 3> short_action{};
  CHECK(has(error_of([&] { environment->step(short_action, observation); }), "expected an action of 4"));
  CHECK(has(error_of([&] { environment->expert_action(short_action); }), "got 3"));
  CHECK(has(error_of([&] { environment->step(Action{}, short_action); }), "got 3"));

  environment->expert_action(action);
  Observation next{};
  environment->step(action, next);
  CHECK(std::equal(first.begin(), first.begin() + 18, next.begin() + 18));
}

TEST_CASE("tabletop: actions beyond [-1, 1] are clipped") {
  const auto environment = tabletop::make_environment("push");
  Observation at_limit{};
  Observation beyond{};
  const Placement placement = environment->draw_placement(2);
  environment->reset(placement, at_limit);
  environment->step(Action{1, -1, 1, 1}, at_limit);
  environment->reset(placement, beyond);
  environment->step(Action{9, -3, std::numeric_limits<float>::infinity(), 2}, beyond);
  CHECK(at_limit == beyond);
}

TEST_CASE("tabletop: rendering shows the state and does not disturb it") {
  const auto environment = tabletop::make_environment("door-open");
  Observation observation{};
  environment->reset(environment->draw_placement(4), observation);
  Image first;
  try {
    first = environment->render(96, 72);
  } catch (const maa::Error& error) {
    // A machine or a build without off-screen OpenGL: the error must say what is missing.
    REQUIRE(has(error.what(), "render"));
    test::skip(error.what());
  }
  CHECK(first.width == 96);
  CHECK(first.height == 72);
  REQUIRE(first.pixels.size() == 96 * 72 * 3);
  CHECK(std::set<std::uint8_t>(first.pixels.begin(), first.pixels.end()).size() > 20);
  CHECK(environment->render(96, 72).pixels == first.pixels);
  // The sky is above the table: blue over red in the first row, red over blue in the middle.
  CHECK(first.pixels[2] >= first.pixels[0]);
  const std::size_t middle = 3 * (50 * 96 + 20);
  CHECK(first.pixels[middle] > first.pixels[middle + 2]);

  const auto unseen = tabletop::make_environment("door-open");
  Observation expected{};
  unseen->reset(unseen->draw_placement(4), expected);
  Action action{};
  for (int t = 0; t < 45; ++t) {
    environment->expert_action(action);
    environment->step(action, observation);
    unseen->step(action, expected);
    if (t % 3 == 0) environment->render(64, 48);
    REQUIRE(observation == expected);
  }
  CHECK(environment->render(96, 72).pixels != first.pixels);
  CHECK(has(error_of([&] { environment->render(0, 48); }), "0 x 48"));
  CHECK(has(error_of([&] { environment->render(64, 4000); }), "4000"));
}
