// The real MetaWorld through the bridge. Needs the virtual environment of examples/metaworld/make_venv.sh: in
// MAA_METAWORLD_VENV or in build/metaworld/venv; skipped where neither is there.
#include <doctest/doctest.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <maa/core/error.hpp>
#include <maa/core/rng.hpp>

#include "metaworld.hpp"
#include "metaworld_interface.hpp"
#include "python_bridge.hpp"
#include "skip.hpp"
#include "temporary_folder.hpp"

namespace {

using test::error_of;
using test::has;
using test::make_false_venv;
using test::record;
using namespace maa::examples;
using maa::Index;

std::filesystem::path venv() {
  const char* given = std::getenv("MAA_METAWORLD_VENV");
  return given != nullptr && *given != '\0' ? given : MAA_METAWORLD_DEFAULT_VENV;
}

[[maybe_unused]] const bool checked = [] {
  if (std::getenv("MAA_METAWORLD_VENV") == nullptr && !std::filesystem::exists(venv())) {
    test::skip("no virtual environment in " + venv().string() +
               "; bash examples/metaworld/make_venv.sh makes it");
  }
  return true;
}();

using Observation = std::array<float, 39>;
using Action = std::array<float, 4>;

Simulator& simulator() {
  static const auto shared = make_metaworld({.venv = venv(), .workers = 2});
  return *shared;
}

const std::vector<std::string> paper_tasks = {
    "window-open",  "door-open",         "drawer-open",   "dial-turn",   "faucet-close",
    "button-press", "door-unlock",       "handle-press",  "plate-slide", "reach",
    "window-close", "door-close",        "drawer-close",  "faucet-open", "button-press-wall",
    "door-lock",    "handle-press-side", "coffee-button", "reach-wall"};

}  // namespace

TEST_CASE("metaworld: the tasks and what they have in common") {
  const auto& names = simulator().task_names();
  CHECK(names.size() == 50);
  CHECK(std::ranges::is_sorted(names));
  for (const std::string& task : paper_tasks) {
    CHECK_MESSAGE(std::ranges::find(names, task) != names.end(), task);
  }
  CHECK(simulator().mirror_task("window-open") == "window-close");
  CHECK(simulator().mirror_task("faucet-close") == "faucet-open");
  CHECK(simulator().mirror_task("door-open").empty());
  const auto versions = simulator().versions();
  CHECK(versions.at("metaworld") == "3.1.1");
  CHECK(versions.at("mujoco") == "3.3.0");
  for (const char* what : {"python", "numpy", "gymnasium"}) CHECK_FALSE(versions.at(what).empty());

  const auto environment = simulator().make_environment("reach");
  CHECK(environment->task() == "reach");
  CHECK(environment->observation_size() == 39);
  CHECK(environment->action_size() == 4);
  CHECK(environment->max_episode_steps() == 500);
  CHECK(&simulator().interface() == &metaworld_interface());
}

TEST_CASE("metaworld: experts succeed on the paper's 19 tasks") {
  CHECK(test::failures_of_experts(simulator(), paper_tasks, {22, 23}, 150) == "");
}

TEST_CASE("metaworld: resets and draws are the package's own, on all tasks, whatever came before") {
  // The package's: two resets after a change, a draw by a reset. Ours: shortcuts, and scenes that were kept.
  const auto plain = make_metaworld({.venv = venv(), .workers = 2, .plain = true});
  const auto& names = simulator().task_names();
  std::array<std::string, 2> differences;
  {
    std::vector<std::jthread> threads;
    for (std::size_t half = 0; half < 2; ++half) {
      threads.emplace_back([&, half] {
        try {
          for (std::size_t i = half; i < names.size(); i += 2) {
            const auto ours = simulator().make_environment(names[i]);
            const auto theirs = plain->make_environment(names[i]);
            const Placement first = ours->draw_placement(0);
            const Placement second = ours->draw_placement(1);
            bool same = first == theirs->draw_placement(0) && second == theirs->draw_placement(1);
            const auto expected = record(*theirs, first, 20);
            same &= record(*ours, first, 20) == expected;
            record(*ours, second, 10);
            same &= record(*ours, first, 20) == expected;
            if (!same) differences[half] += names[i] + " ";
          }
        } catch (const maa::Error& error) {
          differences[half] += error.what();
        }
      });
    }
  }
  CHECK(differences[0] + differences[1] == "");
}

TEST_CASE("metaworld: a placement pins the scene, in any worker and after anything") {
  for (const std::string task : {"window-close", "drawer-open", "coffee-button"}) {
    CAPTURE(task);
    const auto environment = simulator().make_environment(task);
    const Placement placement = environment->draw_placement(5);
    CHECK(environment->draw_placement(6) != placement);
    const auto expected = record(*environment, placement, 60);

    const auto other = simulator().make_environment(task);  // the first is alive, so another process
    CHECK(other->draw_placement(5) == placement);
    CHECK(record(*other, placement, 60) == expected);
    record(*other, other->draw_placement(6), 30, 4);
    record(*other, placement, 10, 5);
    const auto another_task = simulator().make_environment("hammer");
    record(*another_task, another_task->draw_placement(1), 20);
    CHECK(record(*other, placement, 60) == expected);

    // A draw does not touch the state.
    Observation observation{};
    Observation undisturbed{};
    const Action action = {0.5F, 0.5F, -0.5F, 1.0F};
    environment->reset(placement, undisturbed);
    environment->step(action, undisturbed);
    environment->reset(placement, observation);
    environment->draw_placement(9);
    environment->draw_placement(std::numeric_limits<std::uint64_t>::max());
    environment->step(action, observation);
    CHECK(observation == undisturbed);
    CHECK(record(*environment, placement, 60, 6) != expected);
  }
}

TEST_CASE("metaworld: observations and actions") {
  const auto environment = simulator().make_environment("reach");
  const Placement placement = environment->draw_placement(2);
  Observation observation{};
  Action advice{};
  environment->reset(placement, observation);
  CHECK(std::equal(observation.begin(), observation.begin() + 18, observation.begin() + 18));
  for (std::size_t i = 0; i < 3; ++i) CHECK(observation[36 + i] == static_cast<float>(placement[3 + i]));
  environment->expert_action(advice);
  const Action again = advice;
  environment->expert_action(advice);
  CHECK(advice == again);

  // Beyond [-1, 1] actions are clipped.
  Observation at_limit{};
  environment->step(Action{1, -1, 1, 1}, at_limit);
  environment->reset(placement, observation);
  environment->step(Action{9, -3, std::numeric_limits<float>::infinity(), 2}, observation);
  CHECK(observation == at_limit);

  // The expert that aims with the hand wants to be 4.5 cm lower: 5 times that in its action, if it is not
  // clipped.
  const auto by_hand = make_metaworld({.venv = venv(), .aim_with_tool_centre = false});
  const auto other = by_hand->make_environment("reach");
  Observation same{};
  environment->reset(placement, observation);
  other->reset(placement, same);
  for (int step = 0; step < 60; ++step) {
    REQUIRE(observation == same);
    environment->expert_action(advice);
    environment->step(advice, observation);
    other->step(advice, same);
  }
  Action lower{};
  environment->expert_action(advice);
  other->expert_action(lower);
  CHECK(advice[0] == lower[0]);
  CHECK(advice[2] - lower[2] == doctest::Approx(5 * 0.045).epsilon(1e-4));
  // Some go on after an episode's end, to record what follows.
  environment->reset(placement, observation);
  for (int step = 0; step < 505; ++step) environment->step(Action{}, observation);
}

TEST_CASE("metaworld: the door's expert does not change what it is asked about") {
  // The package's experts of the door tasks write into the observation.
  const auto environment = simulator().make_environment("door-open");
  Observation observation{};
  Action first{}, second{};
  environment->reset(environment->draw_placement(1), observation);
  for (int step = 0; step < 20; ++step) {
    environment->expert_action(first);
    environment->expert_action(second);
    REQUIRE(first == second);
    environment->step(first, observation);
  }
}

TEST_CASE("metaworld: wrong input is refused by name and leaves the environment usable") {
  const std::string misspelt = error_of([] { simulator().make_environment("window-opn"); });
  CHECK(has(misspelt, "\"window-opn\""));
  CHECK(has(misspelt, "window-open, "));

  Observation observation{};
  {
    const auto fresh = make_metaworld({.venv = venv()})->make_environment("drawer-open");
    CHECK(has(error_of([&] { fresh->step(Action{}, observation); }), "before the first reset"));
    Action action{};
    CHECK(has(error_of([&] { fresh->expert_action(action); }), "before the first reset"));
    CHECK(has(error_of([&] { fresh->render(64, 48); }), "before the first reset"));
  }

  const auto environment = simulator().make_environment("box-close");
  const Placement placement = environment->draw_placement(1);
  REQUIRE(placement.size() == 6);
  const auto expected = record(*environment, placement, 5);
  environment->reset(placement, observation);
  const Observation first = observation;
  Observation after{};
  environment->step(Action{0.1F, 0.2F, 0.3F, 0.4F}, after);

  environment->reset(placement, observation);
  CHECK(has(error_of([&] { environment->reset({0.1, 0.2}, observation); }), "has 6 numbers, got 2"));
  Placement wrong = placement;
  wrong[1] = 7.0;
  CHECK(has(error_of([&] { environment->reset(wrong, observation); }), "got 7"));
  wrong[1] = std::numeric_limits<double>::quiet_NaN();
  CHECK(has(error_of([&] { environment->reset(wrong, observation); }), "got nan"));
  // The package would look for another pair for ever.
  wrong = {0.0, 0.55, placement[2], 0.0, 0.7, placement[5]};
  CHECK(has(error_of([&] { environment->reset(wrong, observation); }), "0.25 apart"));
  Action action{};
  action[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(error_of([&] { environment->step(action, observation); }), "NaN"));
  std::array<float, 3> small{};
  CHECK(has(error_of([&] { environment->step(small, observation); }), "expected an action of 4"));
  CHECK(has(error_of([&] { environment->step(Action{}, small); }), "got 3"));
  CHECK(has(error_of([&] { environment->expert_action(small); }), "got 3"));
  CHECK(has(error_of([&] { environment->reset(placement, small); }), "got 3"));
  CHECK(has(error_of([&] { environment->render(0, 48); }), "0 x 48"));
  CHECK(observation == first);
  // The episode goes on as if nothing had been asked.
  environment->step(Action{0.1F, 0.2F, 0.3F, 0.4F}, observation);
  CHECK(observation == after);
  CHECK(record(*environment, placement, 5) == expected);
}

TEST_CASE("metaworld: a virtual environment that is missing or another is named, with the way to make it") {
  const auto error_with = [](const std::filesystem::path& folder) {
    const std::string error = error_of([&] { make_metaworld({.venv = folder}); });
    CHECK(has(error, "bash examples/metaworld/make_venv.sh"));
    return error;
  };
  const test::TemporaryFolder folder;
  CHECK(has(error_with(folder / "none"), (folder / "none").string()));
  std::filesystem::create_directory(folder / "empty");
  CHECK(has(error_with(folder / "empty"), "no Python virtual environment"));
  make_false_venv(folder / "newer", "python3.99", {});
  CHECK(has(error_with(folder / "newer"), "has python3.99"));

  const auto library = std::filesystem::directory_iterator(venv() / "lib")->path().filename().string();
  make_false_venv(folder / "bare", library, {});
  CHECK(has(error_with(folder / "bare"), "has no metaworld (expected metaworld 3.1.1)"));
  make_false_venv(folder / "old", library, {{"metaworld", "3.0.0"}});
  CHECK(has(error_with(folder / "old"), "expected metaworld 3.1.1, found 3.0.0"));
  make_false_venv(folder / "mixed", library, {{"metaworld", "3.1.1"}, {"mujoco", "3.4.0"}});
  CHECK(has(error_with(folder / "mixed"), "expected mujoco 3.3.0, found 3.4.0"));
  make_false_venv(folder / "hollow", library, {{"metaworld", "3.1.1"}, {"mujoco", "3.3.0"}});
  CHECK(has(error_of([&] { make_metaworld({.venv = folder / "hollow"}); }), "cannot be imported"));

  CHECK(has(error_of([] { make_metaworld({.venv = venv(), .worker = "/no/such/worker"}); }),
            "/no/such/worker"));
}

TEST_CASE("metaworld: a killed worker is an error, and the next environment works") {
  const auto before = test::workers("metaworld_worke");
  const auto own = make_metaworld({.venv = venv()});
  auto environment = own->make_environment("drawer-open");
  const Placement placement = environment->draw_placement(1);
  const auto expected = record(*environment, placement, 3);
  std::vector<pid_t> started;
  std::ranges::set_difference(test::workers("metaworld_worke"), before, std::back_inserter(started));
  REQUIRE(started.size() == 1);
  ::kill(started[0], SIGKILL);
  Observation observation{};
  CHECK(has(error_of([&] { environment->step(Action{}, observation); }), "signal 9"));
  CHECK(has(error_of([&] { environment->reset(placement, observation); }), "signal 9"));
  environment = own->make_environment("drawer-open");
  CHECK(record(*environment, placement, 3) == expected);
}

TEST_CASE("metaworld: rendering shows the state upright and does not disturb it") {
  const auto environment = simulator().make_environment("door-open");
  const Placement placement = environment->draw_placement(4);
  const auto expected = record(*environment, placement, 12);
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
  CHECK(first.width == 96);
  CHECK(first.height == 72);
  REQUIRE(first.pixels.size() == 96 * 72 * 3);
  CHECK(environment->render(96, 72).pixels == first.pixels);
  // Grey background in the upper right corner; brown table, so red over blue, at the lower edge.
  const auto pixel = [&](std::size_t row, std::size_t column) {
    return &first.pixels[3 * (row * 96 + column)];
  };
  CHECK(std::abs(pixel(1, 90)[0] - pixel(1, 90)[2]) < 20);
  CHECK(pixel(68, 60)[0] > pixel(68, 60)[2] + 20);

  maa::Rng random(3, 1);  // as in record()
  Action action{};
  for (int step = 0; step < 12; ++step) {
    environment->expert_action(action);
    for (float& value : action) value += static_cast<float>(0.2 * random.normal());
    environment->step(action, observation);
    if (step % 4 == 0) environment->render(64, 48);
  }
  CHECK(std::equal(observation.begin(), observation.end(), expected.end() - 39));
  CHECK(environment->render(96, 72).pixels != first.pixels);
}
