// The quadruped: what it observes, physics, success and failure, determinism, models of files, errors,
// rendering.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "commands.hpp"
#include "controller.hpp"
#include "episodes.hpp"
#include "quadruped.hpp"
#include "robot.hpp"
#include "skip.hpp"
#include "temporary_folder.hpp"

namespace {

using maa::Index;
using maa::examples::Environment;
using maa::examples::Image;
using maa::examples::Placement;
using test::error_of;
using test::has;
namespace quadruped = maa::examples::quadruped;

using Observation = std::array<float, 256>;
using Action = std::array<float, 12>;

// friction, added mass, push speed and direction, clock phase, seed
const Placement calm = {0.8, 0, 0, 0, 0, 1};

std::unique_ptr<Environment> at(const std::string& command) {
  static const auto simulator = quadruped::make_simulator();
  return simulator->make_environment(command);
}

std::vector<Observation> walk(Environment& environment, const Placement& placement, int steps = 40) {
  std::vector<Observation> seen(1);
  environment.reset(placement, seen.front());
  for (int t = 0; t < steps; ++t) {
    Action action{};
    for (std::size_t i = 0; i < action.size(); ++i) {
      action[i] = .3f * std::sin(.3f * static_cast<float>(t) + static_cast<float>(i));
    }
    seen.emplace_back();
    environment.step(action, seen.back());
  }
  return seen;
}

}  // namespace

TEST_CASE("quadruped: the policies are the library's, and frames lie as declared") {
  CHECK(quadruped::Policy::parameter_size == 50'956);
  const auto environment = at("turn-left");
  CHECK(environment->observation_size() == 256);
  CHECK(environment->action_size() == 12);
  CHECK(environment->action_limit() > 1);
  Observation before{}, after{};
  environment->reset(calm, before);
  for (int frame = 0; frame < 3; ++frame) {  // all the first
    CHECK(std::equal(before.begin() + 64 * frame, before.begin() + 64 * (frame + 1), before.end() - 64));
  }
  const float* now = before.data() + 192;
  CHECK(now[0] == doctest::Approx(.1));
  CHECK(now[2] == doctest::Approx(.7));
  CHECK(now[5] == doctest::Approx(-1));
  const auto reference = quadruped::gait_reference(0);
  for (std::size_t joint = 0; joint < 12; ++joint) {  // within the offsets of the start
    CHECK(std::abs(now[6 + joint] - (reference[joint] - quadruped::default_position[joint % 3])) <=
          .1f + 1e-5f);
  }
  CHECK(now[54] == doctest::Approx(0));
  CHECK(now[55] == doctest::Approx(1));
  Action first{}, second{};
  first[4] = .5f;
  second[7] = -12;
  environment->step(first, after);
  CHECK(std::equal(before.begin() + 64, before.end(), after.begin()));
  environment->step(second, after);
  now = after.data() + 192;
  CHECK(now[30 + 7] == -10);  // as it counts
  CHECK(now[42 + 4] == .5f);
  CHECK(now[30 + 4] == 0);
  const double phase = 2 * std::acos(-1.0) * 2 * quadruped::gait_frequency * quadruped::period;
  CHECK(now[54] == doctest::Approx(std::sin(phase)).epsilon(1e-5));
  CHECK(now[57] == doctest::Approx(std::cos(2 * phase)).epsilon(1e-5));
  CHECK(std::all_of(now + 61, now + 64, [](float x) { return x == 0; }));
}

TEST_CASE("quadruped: metadata name every number") {
  const auto metadata = quadruped::controller_metadata();
  const auto count = [&](const char* key) {
    return 1 + std::count(metadata.at(key).begin(), metadata.at(key).end(), ',');
  };
  CHECK(count("observation_names") == 256);
  for (const char* key : {"action_names", "joint_names", "default_joint_pos", "joint_stiffness",
                          "joint_damping", "action_scale"}) {
    CHECK(count(key) == 12);
  }
  CHECK(metadata.at("period") == "0.02");
}

TEST_CASE("quadruped: diagonal legs swing in turn, and never both pairs") {
  std::set<int> swinging;
  for (double phase = 0.02; phase < 1; phase += 0.05) {
    const auto reference = quadruped::gait_reference(phase);
    int lifted = 0;
    for (int leg = 0; leg < 4; ++leg) {
      lifted |= reference[static_cast<std::size_t>(3 * leg + 1)] > quadruped::default_position[1] + 1e-9
                    ? 1 << leg
                    : 0;
    }
    swinging.insert(lifted);
  }
  CHECK(swinging == std::set<int>{0b1001, 0b0110});
}

TEST_CASE("quadruped: the trot in place stands for ten seconds, and success is of the whole episode") {
  // Standing in place is no success of a command to walk; its tracking error is the command, or more.
  const auto environment = at("forward-fast");
  Observation observation{};
  environment->reset(calm, observation);
  double reward = 0;
  for (Index step = 1; step <= quadruped::episode_steps; ++step) {
    const auto result = environment->step(Action{}, observation);
    REQUIRE_FALSE(result.failed);
    CHECK_FALSE(result.success);
    reward = result.reward;
    CHECK(quadruped::gait_of(*environment).steps == step);
  }
  CHECK(std::isfinite(reward));
  const auto gait = quadruped::gait_of(*environment);
  CHECK(gait.velocity_error > .5);
  CHECK_FALSE(gait.fallen);
  CHECK(std::hypot(gait.forward - .6, gait.left) <= gait.velocity_error + 1e-9);
  CHECK(gait.stride_frequency > 1);  // at most once a turn of the clock, and some swings shuffle
  CHECK(gait.stride_frequency < quadruped::gait_frequency + .1);
  CHECK(gait.duty_factor > .4);  // each foot swings for half of the clock, and leaves the ground for less
  CHECK(gait.duty_factor < .9);
}

TEST_CASE("quadruped: a robot that folds its legs has fallen, which ends the episode") {
  const auto environment = at("forward");
  Action fold{};
  for (std::size_t leg = 0; leg < 4; ++leg) {
    fold[3 * leg + 1] = 4;
    fold[3 * leg + 2] = -4;
  }
  const auto act = [&](std::span<const float>, std::span<float> action) {
    std::ranges::copy(fold, action.begin());
  };
  CHECK_FALSE(maa::examples::run_episode(*environment, calm, act).has_value());
  const auto gait = quadruped::gait_of(*environment);
  CHECK(gait.fallen);
  CHECK(gait.steps < 100);
  const auto recorded =
      maa::examples::record_episode(*environment, calm, act, act, {}, maa::Rng(1), 500, 500);
  CHECK(recorded.length() == gait.steps);
  CHECK(recorded.actions()(0, 1) == 4);  // not clamped to [-1, 1]
  CHECK(recorded.target_actions()(0, 2) == -4);
}

TEST_CASE("quadruped: friction, mass, pushes and the start are the placement's") {
  const auto environment = at("forward");
  const auto reference = walk(*environment, calm, 200);
  for (const auto& [entry, value] :
       {std::pair(0, .4), std::pair(1, 2.0), std::pair(4, .5), std::pair(5, 2.0)}) {
    auto placement = calm;
    placement[static_cast<std::size_t>(entry)] = value;
    CAPTURE(entry);
    CHECK(walk(*environment, placement, 200) != reference);
  }
  auto pushed = calm;
  pushed[2] = .5;
  const auto seen = walk(*environment, pushed, 200);
  CHECK(std::equal(seen.begin(), seen.begin() + 151, reference.begin()));  // until 3 s
  CHECK(seen[151] != reference[151]);
}

TEST_CASE("quadruped: the same bits for the same placement, whatever came before and on any thread") {
  const auto environment = at("backward");
  CHECK(environment->draw_placement(5) == at("backward")->draw_placement(5));
  CHECK(environment->draw_placement(5) != environment->draw_placement(6));
  CHECK(environment->draw_placement(5) != at("forward")->draw_placement(5));
  const auto placement = environment->draw_placement(11);
  const auto expected = walk(*environment, placement);
  walk(*environment, environment->draw_placement(12));
  CHECK(walk(*environment, placement) == expected);
  std::vector<std::vector<Observation>> parallel(3);
  {
    std::vector<std::jthread> threads;
    for (auto& seen : parallel) {
      threads.emplace_back([&] { seen = walk(*at("backward"), placement); });
    }
  }
  for (const auto& seen : parallel) CHECK(seen == expected);
}

TEST_CASE("quadruped: uneven ground is another ground for another seed") {
  const auto simulator = quadruped::make_simulator({.model = {}, .unevenness = .04});
  const auto environment = simulator->make_environment("forward");
  auto placement = calm;
  const auto first = walk(*environment, placement);
  CHECK(walk(*environment, placement) == first);
  CHECK(first != walk(*at("forward"), placement));
  CHECK(has(error_of([] { quadruped::make_simulator({.model = {}, .unevenness = -1}); }), "unevenness"));
}

TEST_CASE("quadruped: a model of a file walks like the own one; what lacks joints or ground is refused") {
  const test::TemporaryFolder folder;
  const auto with = [&](std::string text) {
    test::write_bytes(folder / "robot.xml", text);
    return [&folder] { return quadruped::make_simulator({.model = folder / "robot.xml", .unevenness = 0}); };
  };
  const auto own = quadruped::own_model(false);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    auto text = own;
    const auto place = text.find(from);
    REQUIRE(place != text.npos);
    return text.replace(place, from.size(), to);
  };
  const auto same = with(own)()->make_environment("forward");
  CHECK(walk(*same, calm) == walk(*at("forward"), calm));
  CHECK(has(error_of(with(replaced("name=\"RL_calf_joint\"", "name=\"RL_knee\""))),
            "none named RL_calf_joint"));
  CHECK(has(error_of(with(replaced("<freejoint/>", ""))), "first joint is free"));
  CHECK(has(error_of(with(
                replaced("<geom type=\"plane\" size=\"20 20 .1\" material=\"floor\" contype=\"1\"/>", ""))),
            "to stand on, found none"));
  CHECK(has(error_of(with("<mujoco><worldbody/></mujoco>")), "found no joint"));
  CHECK(has(error_of(with("no model")), "cannot compile"));
  CHECK(has(error_of([&] { quadruped::make_simulator({.model = folder / "none.xml", .unevenness = 0}); }),
            "none.xml"));
  // Physics that diverge.
  const auto wild = with(replaced("iterations=\"20\"", "iterations=\"20\" gravity=\"0 0 1e13\""))();
  const auto environment = wild->make_environment("forward");
  Observation observation{};
  const auto message = error_of([&] {
    environment->reset(calm, observation);
    for (int i = 0; i < 10; ++i) environment->step(Action{}, observation);
  });
  CHECK(has(message, "diverged"));
  std::filesystem::remove("MUJOCO_LOG.TXT");
}

TEST_CASE("quadruped: wrong names, sizes and numbers") {
  const auto simulator = quadruped::make_simulator();
  CHECK(has(error_of([&] { simulator->make_environment("foward"); }), "forward"));
  const auto environment = simulator->make_environment("forward");
  Observation observation{};
  Action action{};
  CHECK(has(error_of([&] { environment->step(action, observation); }), "reset"));
  CHECK(has(error_of([&] { environment->render(64, 48); }), "reset"));
  CHECK(has(error_of([&] { environment->reset({0, 0}, observation); }), "got 2"));
  CHECK(has(error_of([&] { environment->reset({0.8, 9, 0, 0, 0, 0}, observation); }), "added mass"));
  environment->reset(calm, observation);
  action[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(error_of([&] { environment->step(action, observation); }), "NaN"));
  CHECK(has(error_of([&] { environment->step(std::array<float, 3>{}, observation); }), "got 3"));
  CHECK(has(error_of([&] { environment->expert_action(action); }), "no scripted expert"));
}

TEST_CASE("quadruped: rendering shows the robot and does not disturb the state") {
  const auto environment = at("forward"), unseen = at("forward");
  Observation observation{}, expected{};
  environment->reset(calm, observation);
  unseen->reset(calm, expected);
  Image image;
  try {
    image = environment->render(96, 72);
  } catch (const maa::Error& error) {
    REQUIRE(has(error.what(), "render"));
    test::skip(error.what());
  }
  REQUIRE(image.pixels.size() == 96 * 72 * 3);
  int blue = 0, orange = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    const int r = image.pixels[i], g = image.pixels[i + 1], b = image.pixels[i + 2];
    blue += b > r + 50 && b > g + 20;
    orange += r > g + 50 && g > b + 20;
  }
  CHECK(blue > 100);
  CHECK(orange > 10);
  for (int t = 0; t < 20; ++t) {
    environment->step(Action{}, observation);
    unseen->step(Action{}, expected);
    environment->render(64, 48);
    REQUIRE(observation == expected);
  }
}

// The controller of examples/quadruped_controller, from the file alone.
TEST_CASE("quadruped: a controller sees what the environment shows, and acts as the policy does") {
  // Where the test "quadruped_controller" finds it.
  const test::TemporaryFolder folder;
  const char* const wanted = std::getenv("MAA_TEST_EXPORTS");
  const auto file = (wanted != nullptr ? std::filesystem::path(wanted) : folder / "") / "walk.safetensors";
  std::filesystem::create_directories(file.parent_path());
  const auto policy = quadruped::Policy::untrained(3);
  maa::save_policy(file, policy, quadruped::controller_metadata());
  controller::Controller walk(file);
  CHECK(walk.period == quadruped::period);
  CHECK(walk.stiffness[4] == quadruped::stiffness);
  CHECK(walk.damping[5] == quadruped::damping);

  const auto environment = at("sideways");
  Observation observation{};
  environment->reset({0.8, 0, 0.3, 1, 0.4, 7}, observation);
  walk.reset(0.4);
  for (int t = 0; t < 60; ++t) {
    CAPTURE(t);
    const float* const now = observation.data() + 192;
    controller::State state;
    for (std::size_t i = 0; i < 3; ++i) {
      state.gravity[i] = now[3 + i];
      state.angular_velocity[i] = 4 * now[58 + i];
    }
    for (std::size_t i = 0; i < 12; ++i) {
      state.position[i] = now[6 + i] + quadruped::default_position[i % 3];
      state.velocity[i] = 10 * now[18 + i];
    }
    const auto targets = walk.step(state, {now[0], now[1], now[2]});
    Action action{};
    policy.act(observation, action);
    const auto reference =
        quadruped::gait_reference(std::fmod(0.4 + t * quadruped::gait_frequency * .02, 1.0));
    for (std::size_t i = 0; i < 12; ++i) {
      CHECK(walk.action()[i] == doctest::Approx(action[i]).epsilon(1e-4));
      CHECK(targets[i] ==
            doctest::Approx(reference[i] + quadruped::action_scale * static_cast<double>(action[i]))
                .epsilon(1e-4));
    }
    if (environment->step(walk.action(), observation).failed) break;
  }

  auto metadata = quadruped::controller_metadata();
  metadata["action_scale"] = "1,2";
  maa::save_policy(folder / "short.safetensors", policy, metadata);
  CHECK(has(error_of([&] { controller::Controller(folder / "short.safetensors"); }),
            "expected 12 numbers as action_scale, found 2"));
  maa::save_policy(folder / "bare.safetensors", policy);
  CHECK(has(error_of([&] { controller::Controller(folder / "bare.safetensors"); }),
            "default_joint_pos, found 0"));
}
