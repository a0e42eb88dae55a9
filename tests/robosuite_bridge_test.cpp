// The real robosuite through the bridge. Needs the virtual environment of examples/robosuite/make_venv.sh: in
// MAA_ROBOSUITE_VENV or in build/robosuite/venv; skipped where neither is there.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <maa/core/error.hpp>

#include "python_bridge.hpp"
#include "robosuite.hpp"
#include "robosuite_interface.hpp"
#include "skip.hpp"
#include "temporary_folder.hpp"

namespace {

using test::error_of;
using test::has;
using test::make_false_venv;
using test::record;
using namespace maa::examples;

std::filesystem::path venv() {
  const char* given = std::getenv("MAA_ROBOSUITE_VENV");
  return given != nullptr && *given != '\0' ? given : MAA_ROBOSUITE_DEFAULT_VENV;
}

[[maybe_unused]] const bool checked = [] {
  if (std::getenv("MAA_ROBOSUITE_VENV") == nullptr && !std::filesystem::exists(venv())) {
    test::skip("no virtual environment in " + venv().string() +
               "; bash examples/robosuite/make_venv.sh makes it");
  }
  return true;
}();

using Observation = std::array<float, 41>;
using Action = std::array<float, 8>;

Simulator& simulator() {
  static const auto shared = make_robosuite({.venv = venv(), .workers = 2});
  return *shared;
}

}  // namespace

TEST_CASE("robosuite: the tasks and what they have in common") {
  CHECK(simulator().task_names() ==
        std::vector<std::string>{"Panda-Lift", "Panda-Door", "Sawyer-Lift", "Sawyer-Door"});
  CHECK(simulator().mirror_task("Panda-Lift").empty());
  const auto versions = simulator().versions();
  CHECK(versions.at("robosuite") == "1.5.2");
  CHECK(versions.at("mujoco") == "3.3.0");
  CHECK(versions.at("numpy") == "1.26.4");
  CHECK_FALSE(versions.at("python").empty());
  CHECK(&simulator().interface() == &robosuite_interface());
  for (const auto& task : simulator().task_names()) {
    const auto environment = simulator().make_environment(task);
    CHECK(environment->task() == task);
    CHECK(environment->observation_size() == 41);
    CHECK(environment->action_size() == 8);
    CHECK(environment->max_episode_steps() == robosuite_episode_steps);
  }
}

TEST_CASE("robosuite: observations are what the interface says") {
  for (const std::string robot : {"Panda", "Sawyer"}) {
    const auto environment = simulator().make_environment(robot + "-Lift");
    Observation o{};
    environment->reset(environment->draw_placement(1), o);
    const std::span seen(o);
    for (std::size_t j = 0; j < 7; ++j) {
      CHECK(o[j] * o[j] + o[7 + j] * o[7 + j] == doctest::Approx(1).epsilon(1e-5));
      CHECK(o[14 + j] == 0);
    }
    double norm = 0;
    for (const float part : seen.subspan(24, 4))
      norm += static_cast<double>(part) * static_cast<double>(part);
    CHECK(norm == doctest::Approx(1).epsilon(1e-5));
    for (std::size_t axis = 0; axis < 3; ++axis) {
      CHECK(o[35 + axis] == doctest::Approx(o[32 + axis] - o[21 + axis]).epsilon(1e-4));
    }
    CHECK(std::abs(o[32]) < 0.04);  // the cube is put down near the table's middle
    CHECK(std::abs(o[33]) < 0.04);
    CHECK(o[40] == doctest::Approx(o[34] - 0.8F).epsilon(1e-3));
    CHECK(o[38] == 0);
    // The gripper's action closes and opens; a joint's moves that joint.
    const float opened = o[28] - o[29];
    Action action{};
    action[7] = 1;
    for (int step = 0; step < 10; ++step) environment->step(action, o);
    CHECK(o[28] - o[29] < opened - 0.02F);
    const float before = std::atan2(o[7 + 3], o[3]);
    action[3] = 1;
    for (int step = 0; step < 5; ++step) environment->step(action, o);
    CHECK(std::atan2(o[7 + 3], o[3]) > before + 0.05F);
  }
}

TEST_CASE("robosuite: experts succeed by both arms") {
  const std::vector<std::string> tasks = {"Panda-Lift", "Panda-Door", "Sawyer-Lift", "Sawyer-Door"};
  CHECK(test::failures_of_experts(simulator(), tasks, {1, 2}, 160) == "");
}

TEST_CASE("robosuite: draws, steps and observations are the package's, to the bit") {
  const auto plain = make_robosuite({.venv = venv(), .plain = true});
  for (const std::string task : {"Panda-Lift", "Sawyer-Door"}) {
    const auto ours = simulator().make_environment(task);
    const auto theirs = plain->make_environment(task);
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{1} << 40}) {
      CHECK(ours->draw_placement(seed) == theirs->draw_placement(seed));
    }
    const auto placement = ours->draw_placement(7);
    for (int time = 0; time < 2; ++time) {
      CHECK(record(*ours, placement, 40) == record(*theirs, placement, 40));
    }
  }
}

TEST_CASE("robosuite: placements are pinned and leave nothing of earlier episodes, to the bit") {
  const auto own = make_robosuite({.venv = venv(), .workers = 2});
  for (const std::string task : {"Panda-Lift", "Panda-Door", "Sawyer-Door"}) {
    const auto environment = own->make_environment(task), other = own->make_environment(task);
    const Placement placement = environment->draw_placement(3);
    CHECK(environment->draw_placement(3) == placement);
    CHECK(environment->draw_placement(4) != placement);
    const auto expected = record(*environment, placement, 40);
    record(*other, other->draw_placement(9), 30, 4);
    record(*other, placement, 10, 5);
    CHECK(record(*other, placement, 40) == expected);
    CHECK(record(*environment, placement, 40) == expected);
    CHECK(record(*environment, environment->draw_placement(4), 40) != expected);
  }
}

TEST_CASE("robosuite: wrong input is refused by name and leaves the environment usable") {
  const std::string misspelt = error_of([] { simulator().make_environment("Panda-lift"); });
  CHECK(has(misspelt, "\"Panda-lift\""));
  CHECK(has(misspelt, "Panda-Lift"));

  const auto environment = simulator().make_environment("Panda-Lift");
  const Placement placement = environment->draw_placement(1);
  REQUIRE(placement.size() == 10);
  const auto expected = record(*environment, placement, 5);
  Observation observation{};
  CHECK(has(error_of([&] { environment->reset({0.1, 0.2}, observation); }), "has 10 numbers, got 2"));
  Placement wrong = placement;
  wrong[7] = 0.5;
  CHECK(has(error_of([&] { environment->reset(wrong, observation); }), "number 7"));
  wrong[7] = std::numeric_limits<double>::quiet_NaN();
  CHECK(has(error_of([&] { environment->reset(wrong, observation); }), "got nan"));
  environment->reset(placement, observation);
  Action action{};
  action[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(error_of([&] { environment->step(action, observation); }), "NaN"));
  std::array<float, 4> small{};
  CHECK(has(error_of([&] { environment->step(small, observation); }), "expected an action of 8"));
  CHECK(record(*environment, placement, 5) == expected);
}

TEST_CASE("robosuite: a virtual environment that is missing or another is named, with the way to make it") {
  const auto error_with = [](const std::filesystem::path& folder) {
    const std::string error = error_of([&] { make_robosuite({.venv = folder}); });
    CHECK(has(error, "bash examples/robosuite/make_venv.sh"));
    return error;
  };
  const test::TemporaryFolder folder;
  CHECK(has(error_with(folder / "none"), (folder / "none").string()));
  const auto library = std::filesystem::directory_iterator(venv() / "lib")->path().filename().string();
  make_false_venv(folder / "bare", library, {});
  CHECK(has(error_with(folder / "bare"), "has no robosuite (expected robosuite 1.5.2)"));
  make_false_venv(folder / "old", library, {{"robosuite", "1.4.1"}});
  CHECK(has(error_with(folder / "old"), "expected robosuite 1.5.2, found 1.4.1"));
  make_false_venv(folder / "numpy", library,
                  {{"robosuite", "1.5.2"}, {"mujoco", "3.3.0"}, {"numpy", "2.1.0"}});
  CHECK(has(error_with(folder / "numpy"), "expected numpy 1.26.4, found 2.1.0"));
}

TEST_CASE("robosuite: a killed worker is an error, and the next environment works") {
  const auto before = test::workers("robosuite_worke");
  const auto own = make_robosuite({.venv = venv()});
  auto environment = own->make_environment("Sawyer-Lift");
  const Placement placement = environment->draw_placement(1);
  const auto expected = record(*environment, placement, 3);
  std::vector<pid_t> started;
  std::ranges::set_difference(test::workers("robosuite_worke"), before, std::back_inserter(started));
  REQUIRE(started.size() == 1);
  ::kill(started[0], SIGKILL);
  Observation observation{};
  CHECK(has(error_of([&] { environment->step(Action{}, observation); }), "signal 9"));
  environment = own->make_environment("Sawyer-Lift");
  CHECK(record(*environment, placement, 3) == expected);
}

TEST_CASE("robosuite: rendering shows the state and does not disturb it") {
  const auto environment = simulator().make_environment("Panda-Lift");
  const Placement placement = environment->draw_placement(4);
  const auto expected = record(*environment, placement, 6);
  Observation observation{};
  environment->reset(placement, observation);
  Image first;
  try {
    first = environment->render(96, 72);
  } catch (const maa::Error& error) {
    // A machine without off-screen OpenGL: the error must say what is missing.
    REQUIRE(has(error.what(), "rendering needs EGL"));
    test::skip(error.what());
  }
  REQUIRE(first.pixels.size() == 96 * 72 * 3);
  CHECK(environment->render(96, 72).pixels == first.pixels);
  CHECK(record(*environment, placement, 6) == expected);
  CHECK(environment->render(96, 72).pixels != first.pixels);
}
