// The reacher family: goals, the success rule, physics, determinism, errors, rendering.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <set>
#include <thread>
#include <vector>

#include "errors.hpp"
#include "goals.hpp"
#include "interface.hpp"
#include "reacher.hpp"
#include "skip.hpp"

namespace {

using maa::Index;
using maa::examples::Environment;
using maa::examples::Image;
using maa::examples::Placement;
using test::error_of;
using test::has;
namespace reacher = maa::examples::reacher;

using Observation = std::array<float, 6>;
using Action = std::array<float, 2>;

// The joint angles that bring the fingertip to a goal, with the elbow on one side (+1, -1).
Placement arm_at(const reacher::Goal& goal, int elbow) {
  constexpr double a = reacher::upper_length, b = reacher::lower_length;
  const double square = goal.x * goal.x + goal.y * goal.y;
  const double q2 = elbow * std::acos((square - a * a - b * b) / (2 * a * b));
  const double q1 = std::atan2(goal.y, goal.x) - std::atan2(b * std::sin(q2), a + b * std::cos(q2));
  return {std::remainder(q1, 2 * std::numbers::pi), q2, 0, 0};
}

std::array<double, 2> fingertip(const Observation& o) {
  const double c = o[0] * o[1] - o[2] * o[3], s = o[2] * o[1] + o[0] * o[3];  // of q1 + q2
  return {reacher::upper_length * o[0] + reacher::lower_length * c,
          reacher::upper_length * o[2] + reacher::lower_length * s};
}

std::unique_ptr<Environment> at(const std::string& goal) {
  static const auto simulator = reacher::make_simulator();
  return simulator->make_environment(goal);
}

std::vector<Observation> swing(Environment& environment, std::uint64_t seed, int steps = 100) {
  std::vector<Observation> seen(1);
  environment.reset(environment.draw_placement(seed), seen.front());
  for (int t = 0; t < steps; ++t) {
    const auto phase = static_cast<float>(t);
    seen.emplace_back();
    environment.step(Action{std::sin(.2f * phase), std::cos(.13f * phase)}, seen.back());
  }
  return seen;
}

}  // namespace

TEST_CASE("reacher: goals follow their rule, apart from each other, and each use has its share") {
  std::map<reacher::Use, int> uses;
  for (std::size_t k = 0; k < reacher::goals.size(); ++k) {
    const auto& goal = reacher::goals[k];
    const double step = static_cast<double>(k), inner = .07 * .07, outer = .195 * .195;
    const double radius = std::sqrt(inner + (step + .5) / 18 * (outer - inner));
    const double angle = step * std::numbers::pi * (3 - std::sqrt(5.0));
    CHECK(std::abs(goal.x - radius * std::cos(angle)) < 6e-4);
    CHECK(std::abs(goal.y - radius * std::sin(angle)) < 6e-4);
    ++uses[goal.use];
    for (std::size_t j = 0; j < k; ++j) {
      CHECK(std::hypot(goal.x - reacher::goals[j].x, goal.y - reacher::goals[j].y) > .07);
    }
  }
  CHECK(uses == std::map<reacher::Use, int>{
                    {reacher::Use::seen, 9}, {reacher::Use::unseen, 6}, {reacher::Use::validation, 3}});
}

TEST_CASE("reacher: every goal is reached with either elbow; success comes after ten steps there") {
  for (const auto& goal : reacher::goals) {
    for (const int elbow : {-1, 1}) {
      CAPTURE(goal.name);
      CAPTURE(elbow);
      const auto placement = arm_at(goal, elbow);
      CHECK(std::abs(placement[1]) < reacher::elbow_limit);
      const auto environment = at(goal.name);
      Observation observation{};
      environment->reset(placement, observation);
      CHECK(std::hypot(fingertip(observation)[0] - goal.x, fingertip(observation)[1] - goal.y) < 1e-6);
      for (Index step = 1; step <= 12; ++step) {
        const auto result = environment->step(Action{}, observation);
        CHECK(result.success == (step >= reacher::success_steps));
        CHECK(std::abs(result.reward) < 1e-6);
      }
    }
  }
}

TEST_CASE("reacher: sweeping through the goal does not count, however often, and a new episode begins anew") {
  const auto& goal = reacher::goals[8];
  const auto environment = at(goal.name);
  Observation observation{};
  const double middle = arm_at(goal, 1)[0], bend = arm_at(goal, 1)[1];
  environment->reset({middle - 1.2, bend, 0, 0}, observation);
  Index inside = 0;
  float torque = 1;
  for (int t = 0; t < 300; ++t) {  // there and back
    const double elbow = 20 * (bend - std::atan2(observation[3], observation[1])) - 5 * observation[5];
    CHECK_FALSE(environment->step(Action{torque, static_cast<float>(elbow)}, observation).success);
    const double off =
        std::remainder(std::atan2(observation[2], observation[0]) - middle, 2 * std::numbers::pi);
    torque = off > .6 ? -1.0f : off < -.6 ? 1.0f : torque;
    const auto tip = fingertip(observation);
    inside += std::hypot(tip[0] - goal.x, tip[1] - goal.y) <= reacher::success_distance ? 1 : 0;
  }
  CHECK(inside > reacher::success_steps);

  for (int episode = 0; episode < 2; ++episode) {
    environment->reset(arm_at(goal, 1), observation);
    for (Index t = 1; t < reacher::success_steps; ++t) {
      CHECK_FALSE(environment->step(Action{}, observation).success);
    }
  }
}

TEST_CASE("reacher: the reward is distance and effort") {
  const auto& goal = reacher::goals[3];
  const auto environment = at(goal.name);
  Observation observation{};
  environment->reset({1, -1, 0, 0}, observation);
  for (const Action action : {Action{.5f, -.25f}, Action{3, -3}, Action{}}) {
    const double reward = environment->step(action, observation).reward;
    double effort = 0;
    for (const float a : action) effort += std::pow(std::clamp(static_cast<double>(a), -1.0, 1.0), 2);
    const auto tip = fingertip(observation);
    const double distance = std::hypot(tip[0] - goal.x, tip[1] - goal.y);
    CHECK(reward == doctest::Approx(-10 * distance - .02 * effort).epsilon(1e-5));
  }
}

TEST_CASE(
    "reacher: rest stays rest, motion dies out, torque moves the joints its way and no further than the "
    "limit") {
  const auto environment = at("goal-01");
  Observation first{}, observation{};
  environment->reset({.4, -.9, 0, 0}, first);
  for (int t = 0; t < 100; ++t) environment->step(Action{}, observation);
  CHECK(observation == first);

  environment->reset({.4, -.9, .5, -.5}, observation);
  CHECK(observation[4] == doctest::Approx(.1));
  CHECK(observation[5] == doctest::Approx(-.1));
  for (int t = 0; t < 100; ++t) environment->step(Action{}, observation);
  CHECK(std::hypot(observation[4], observation[5]) < 1e-3);

  for (const float side : {-1.0f, 1.0f}) {
    environment->reset({0, 0, 0, 0}, observation);
    float fastest = 0;
    for (int t = 0; t < 100; ++t) {
      environment->step(Action{0, side}, observation);
      CHECK(std::abs(std::atan2(observation[3], observation[1])) < reacher::elbow_limit + .1);
      fastest = std::max(fastest, 5 * side * observation[5]);
    }
    CHECK(fastest > 6);
    CHECK(fastest < 10);
    CHECK(std::atan2(observation[3], observation[1]) == doctest::Approx(2.6 * side).epsilon(.02));
  }
}

TEST_CASE("reacher: the world turned about the shoulder, or reflected, moves the same way") {
  const auto environment = at("goal-01");
  const auto moved = [&](double q1, double q2, float sign) {
    Observation observation{};
    environment->reset({q1, q2, sign * .2, sign * -.3}, observation);
    std::vector<float> joints;
    for (int t = 0; t < 60; ++t) {
      environment->step(Action{sign * std::sin(.3f * static_cast<float>(t)), sign * .4f}, observation);
      joints.insert(joints.end(), {sign * observation[3], sign * observation[4], sign * observation[5]});
    }
    return joints;
  };
  const auto plain = moved(.3, .8, 1), turned = moved(-1.9, .8, 1), reflected = moved(-.3, -.8, -1);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(std::abs(plain[i] - turned[i]) < 1e-5);
    CHECK(std::abs(plain[i] - reflected[i]) < 1e-5);
  }
}

TEST_CASE(
    "reacher: placements are drawn by seed, wide or narrow, and pin the scene; threads change nothing") {
  const auto environment = at("goal-02");
  CHECK(environment->draw_placement(5) == at("goal-02")->draw_placement(5));
  CHECK(environment->draw_placement(5) != environment->draw_placement(6));
  CHECK(environment->draw_placement(5) != at("goal-03")->draw_placement(5));
  std::array<double, 2> widest{};
  const auto narrow = reacher::make_simulator(.1)->make_environment("goal-02");
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    for (std::size_t joint = 0; joint < 2; ++joint) {
      widest[joint] = std::max(widest[joint], std::abs(environment->draw_placement(seed)[joint]));
      CHECK(std::abs(narrow->draw_placement(seed)[joint]) <= .1 * std::numbers::pi);
    }
  }
  CHECK(widest[0] > 3);
  CHECK(widest[1] > 2.5);

  const auto expected = swing(*environment, 11);
  swing(*environment, 12);  // what came before leaves no trace
  CHECK(swing(*environment, 11) == expected);
  std::vector<std::vector<Observation>> parallel(3);
  {
    std::vector<std::jthread> threads;
    for (auto& seen : parallel) {
      threads.emplace_back([&seen] { seen = swing(*at("goal-02"), 11); });
    }
  }
  for (const auto& seen : parallel) CHECK(seen == expected);
}

TEST_CASE("reacher: wrong names, sizes and numbers") {
  const auto simulator = reacher::make_simulator();
  CHECK(has(error_of([&] { simulator->make_environment("goal-1"); }), "goal-01"));
  CHECK(has(error_of([] { reacher::make_simulator(1.5); }), "from 0 to 1"));
  const auto environment = simulator->make_environment("goal-01");
  Observation observation{};
  Action action{};
  CHECK(has(error_of([&] { environment->step(action, observation); }), "reset"));
  CHECK(has(error_of([&] { environment->render(64, 48); }), "reset"));
  CHECK(has(error_of([&] { environment->reset({0, 0}, observation); }), "got 2"));
  CHECK(has(error_of([&] { environment->reset({0, 2.7, 0, 0}, observation); }), "q2"));
  environment->reset({0, 0, 0, 0}, observation);
  CHECK(has(error_of([&] {
              environment->step(Action{std::numeric_limits<float>::quiet_NaN(), 0}, observation);
            }),
            "NaN"));
  CHECK(has(error_of([&] { environment->step(std::array<float, 3>{}, observation); }), "got 3"));
  CHECK(has(error_of([&] { environment->expert_action(action); }), "no scripted expert"));
}

TEST_CASE("reacher: rendering shows arm and goal and does not disturb the state") {
  const auto environment = at("goal-09");
  Observation observation{}, expected{};
  environment->reset({2, 1, 0, 0}, observation);
  Image image;
  try {
    image = environment->render(96, 72);
  } catch (const maa::Error& error) {
    REQUIRE(has(error.what(), "render"));
    test::skip(error.what());
  }
  REQUIRE(image.pixels.size() == 96 * 72 * 3);
  int green = 0, blue = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    const int r = image.pixels[i], g = image.pixels[i + 1], b = image.pixels[i + 2];
    green += g > r + 50 && g > b + 20;
    blue += b > r + 50 && b > g + 20;
  }
  CHECK(green > 20);
  CHECK(blue > 20);
  const auto unseen = at("goal-09");
  unseen->reset({2, 1, 0, 0}, expected);
  for (int t = 0; t < 20; ++t) {
    environment->step(Action{1, -1}, observation);
    unseen->step(Action{1, -1}, expected);
    environment->render(64, 48);
    REQUIRE(observation == expected);
  }
}
