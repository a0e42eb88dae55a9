// A simulator in worker processes: what passes through, errors, workers that die, and that none is left
// behind. The simulator is a small one of this file, served by children of the test.
#include <doctest/doctest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <maa/core/error.hpp>

#include "errors.hpp"
#include "remote_environment.hpp"

namespace {

using test::error_of;
using test::has;
using namespace maa::examples;
using maa::Index;

int environments_made = 0;  // in this process

using Policy =
    maa::MlpPolicy<maa::MlpNetwork<3, 2, maa::HiddenLayers<maa::Hidden<4, maa::Activation::relu>>>>;
const Interface interface {
  maa::examples::policy_type<Policy>(), {}, {}
};

// Adds up its actions. Sizes differ from MetaWorld's; a few values ask for trouble.
class Counter final : public Environment {
 public:
  explicit Counter(std::string task) : task_(std::move(task)) { ++environments_made; }

  const std::string& task() const override { return task_; }
  Index observation_size() const override { return 3; }
  Index action_size() const override { return 2; }
  Index max_episode_steps() const override { return 17; }
  double action_limit() const override { return 2.5; }
  // Seeds below 10 are questions about the process.
  Placement draw_placement(std::uint64_t seed) override {
    if (seed == 0) return {static_cast<double>(::getpid())};
    if (seed == 1) return {static_cast<double>(environments_made)};
    return {static_cast<double>(seed >> 32U), static_cast<double>(seed & 0xFFFFFFFFU), 0.1};
  }
  void reset(const Placement& placement, std::span<float> observation) override {
    maa::require(placement.size() == 3, "counter: a placement has 3 numbers, got ", placement.size());
    for (std::size_t i = 0; i < 3; ++i) sum_[i] = static_cast<float>(placement[i]);
    show(observation);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    maa::require(action.size() == 2, "counter: an action has 2 numbers, got ", action.size());
    if (action[0] == 666.0F) {
      std::cerr << "an early line\nthe last line" << std::endl;
      ::_exit(3);
    }
    if (action[0] == 333.0F) throw std::runtime_error("not an error of maa");
    for (std::size_t i = 0; i < 2; ++i) sum_[i] += action[i];
    show(observation);
    return {.success = sum_[0] > 1.0F, .failed = sum_[0] < 0.0F, .reward = sum_[1] / 7.0};
  }
  void expert_action(std::span<float> action) override {
    for (float& value : action) value = -sum_[0] / 3.0F;
  }
  Image render(Index width, Index height) override {
    Image image{.width = width, .height = height, .pixels = {}};
    for (Index i = 0; i < 3 * width * height; ++i) image.pixels.push_back(static_cast<std::uint8_t>(7 * i));
    return image;
  }

 private:
  void show(std::span<float> observation) const {
    maa::require(observation.size() == 3, "counter: an observation has 3 numbers, got ", observation.size());
    std::ranges::copy(sum_, observation.begin());
  }

  std::string task_;
  std::array<float, 3> sum_{};
};

class Counters final : public Simulator {
 public:
  std::string name() const override { return "counters"; }
  const Interface& interface() const override { return ::interface; }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    maa::require(task != "nothing", "counters: there is no task \"nothing\"");
    return std::make_unique<Counter>(task);
  }
  std::string mirror_task(const std::string& task) const override { return task == "up" ? "down" : ""; }
  std::map<std::string, std::string> versions() const override { return {{"a", "1"}, {"b", ""}}; }

 private:
  std::vector<std::string> names_ = {"up", "down", "sideways"};
};

// A child of this process instead of another program.
template <class Serve>
StartWorker forked(Serve serve) {
  return [serve](int channel, int errors) {
    std::cout.flush();
    const pid_t process = ::fork();
    if (process == 0) {
      ::dup2(errors, STDERR_FILENO);
      for (int other = 3; other < 256; ++other) {  // as exec would
        if (other != channel) ::close(other);
      }
      ::_exit(serve(channel));
    }
    return process;
  };
}

StartWorker counters() {
  return forked([](int channel) {
    Counters simulator;
    environments_made = 0;
    return serve_environments(simulator, channel, channel);
  });
}

pid_t process_of(Environment& environment) {
  return static_cast<pid_t>(environment.draw_placement(0).at(0));
}

// Whether the process runs; one that only waits to be collected does not.
bool runs(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.at(name_end + 2) != 'Z';
}

template <class Condition>
bool comes_true(Condition&& condition) {
  for (int waited = 0; waited < 5000 && !condition(); waited += 5) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace

TEST_CASE("remote environment: everything passes through as it is") {
  const auto simulator = make_remote_simulator(counters(), interface);
  CHECK(simulator->name() == "counters");
  CHECK(simulator->task_names() == std::vector<std::string>{"up", "down", "sideways"});
  CHECK(simulator->mirror_task("up") == "down");
  CHECK(simulator->mirror_task("down").empty());
  CHECK(simulator->mirror_task("unknown").empty());
  CHECK(simulator->versions() == std::map<std::string, std::string>{{"a", "1"}, {"b", ""}});

  const auto remote = simulator->make_environment("down");
  Counter local("down");
  CHECK(remote->task() == "down");
  CHECK(remote->observation_size() == 3);
  CHECK(remote->action_size() == 2);
  CHECK(remote->max_episode_steps() == 17);
  CHECK(remote->action_limit() == 2.5);
  CHECK(&simulator->interface() == &interface);
  CHECK(process_of(*remote) != ::getpid());

  const std::uint64_t seed = 0xFEDCBA9876543210U;
  CHECK(remote->draw_placement(seed) == local.draw_placement(seed));
  std::array<float, 3> observation{}, expected{};
  remote->reset({0.1, -0.3, 1e-9}, observation);
  local.reset({0.1, -0.3, 1e-9}, expected);
  CHECK(observation == expected);
  for (const float value : {0.2F, 0.7F, 0.1F, -2.0F}) {
    const std::array<float, 2> action = {value, 1.0F / 3.0F};
    const auto result = remote->step(action, observation), local_result = local.step(action, expected);
    CHECK(result.success == local_result.success);
    CHECK(result.failed == local_result.failed);
    CHECK(result.reward == local_result.reward);
    CHECK(observation == expected);
    std::array<float, 2> advice{}, expected_advice{};
    remote->expert_action(advice);
    local.expert_action(expected_advice);
    CHECK(advice == expected_advice);
  }
  const Image image = remote->render(200, 100);  // more than one piece
  CHECK(image.width == 200);
  CHECK(image.height == 100);
  CHECK(image.pixels == local.render(200, 100).pixels);
}

TEST_CASE("remote environment: errors come back as such and the worker goes on") {
  const auto simulator = make_remote_simulator(counters(), interface);
  CHECK(has(error_of([&] { simulator->make_environment("nothing"); }), "no task \"nothing\""));
  const auto environment = simulator->make_environment("up");
  const pid_t process = process_of(*environment);
  std::array<float, 3> observation{5.0F, 5.0F, 5.0F};
  CHECK(has(error_of([&] { environment->reset({1.0}, observation); }), "3 numbers, got 1"));
  CHECK(observation == std::array<float, 3>{5.0F, 5.0F, 5.0F});
  environment->reset({0.0, 0.0, 0.0}, observation);
  const std::array<float, 3> long_action{};
  CHECK(has(error_of([&] { environment->step(long_action, observation); }), "2 numbers, got 3"));
  std::array<float, 2> short_observation{};
  CHECK(has(error_of([&] { environment->step({long_action.data(), 2}, short_observation); }), "got 2"));
  const std::array<float, 2> foreign = {333.0F, 0.0F};
  CHECK(has(error_of([&] { environment->step(foreign, observation); }), "not an error of maa"));
  const std::array<float, 2> action = {0.5F, 0.25F};
  environment->step(action, observation);
  CHECK(observation == std::array<float, 3>{0.5F, 0.25F, 0.0F});
  CHECK(process_of(*environment) == process);
}

TEST_CASE("remote environment: a worker that dies is an error, and another takes its place") {
  const auto simulator = make_remote_simulator(counters(), interface);
  auto environment = simulator->make_environment("up");
  const pid_t first = process_of(*environment);
  std::array<float, 3> observation{};
  const std::array<float, 2> deadly = {666.0F, 0.0F};
  const std::string died = error_of([&] { environment->step(deadly, observation); });
  CHECK(has(died, "exit code 3"));
  CHECK(has(died, "an early line\nthe last line"));
  CHECK(error_of([&] { environment->draw_placement(7); }) == died);
  CHECK_FALSE(runs(first));

  environment = simulator->make_environment("up");
  const pid_t second = process_of(*environment);
  CHECK(second != first);
  ::kill(second, SIGKILL);
  CHECK(comes_true([&] { return !runs(second); }));
  CHECK(has(error_of([&] { environment->render(2, 2); }), "signal 9"));
  environment = simulator->make_environment("up");
  CHECK(process_of(*environment) != second);

  // One that died while nobody used it.
  const pid_t third = process_of(*environment);
  environment.reset();
  ::kill(third, SIGKILL);
  CHECK(comes_true([&] { return !runs(third); }));
  environment = simulator->make_environment("up");
  CHECK(process_of(*environment) != third);
}

TEST_CASE("remote environment: workers are taken again, with the tasks that they have made") {
  const auto simulator = make_remote_simulator(counters(), interface, 2);
  auto up = simulator->make_environment("up");
  const pid_t of_up = process_of(*up);
  auto down = simulator->make_environment("down");
  const pid_t of_down = process_of(*down);
  CHECK(of_up != of_down);
  const auto sideways = simulator->make_environment("sideways");  // one more than were started
  CHECK(process_of(*sideways) != of_up);
  CHECK(process_of(*sideways) != of_down);
  for (int round = 0; round < 2; ++round) {
    up.reset();
    down.reset();
    down = simulator->make_environment("down");
    up = simulator->make_environment("up");
    CHECK(process_of(*up) == of_up);
    CHECK(process_of(*down) == of_down);
    CHECK(up->draw_placement(1) == Placement{1.0});
    CHECK(down->draw_placement(1) == Placement{1.0});
  }
  down.reset();
  down = simulator->make_environment("up");  // the idle one learns another
  CHECK(process_of(*down) == of_down);
  CHECK(down->draw_placement(1) == Placement{2.0});
}

TEST_CASE("remote environment: threads use their environments at once") {
  const auto simulator = make_remote_simulator(counters(), interface);
  std::array<std::array<float, 3>, 4> sums{};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < 5; ++round) {
          const auto environment = simulator->make_environment("up");
          environment->reset({static_cast<double>(i), 0.0, 0.0}, sums[i]);
          const std::array<float, 2> action = {1.0F, static_cast<float>(i)};
          for (int step = 0; step < 100; ++step) environment->step(action, sums[i]);
        }
      });
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    CHECK(sums[i] == std::array<float, 3>{static_cast<float>(i + 100), static_cast<float>(100 * i), 0.0F});
  }
}

TEST_CASE("remote environment: workers stay at ctrl-C and end with the simulator") {
  auto simulator = make_remote_simulator(counters(), interface);
  auto environment = simulator->make_environment("up");
  const pid_t used = process_of(*environment);
  pid_t idle = 0;
  {
    const auto other = simulator->make_environment("up");
    idle = process_of(*other);
  }
  ::kill(used, SIGINT);
  CHECK(process_of(*environment) == used);
  CHECK(runs(idle));
  simulator.reset();
  CHECK_FALSE(runs(idle));
  CHECK(process_of(*environment) == used);  // environments may outlive it
  environment.reset();
  CHECK_FALSE(runs(used));
}

TEST_CASE("remote environment: workers end when the program is killed") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t program = ::fork();
  if (program == 0) {
    const auto simulator = make_remote_simulator(counters(), interface);
    const auto environment = simulator->make_environment("up");
    const pid_t worker = process_of(*environment);
    if (::write(pipe[1], &worker, sizeof worker) != sizeof worker) ::_exit(1);
    ::pause();
  }
  ::close(pipe[1]);
  pid_t worker = 0;
  REQUIRE(::read(pipe[0], &worker, sizeof worker) == sizeof worker);
  ::close(pipe[0]);
  CHECK(runs(worker));
  ::kill(program, SIGKILL);
  ::waitpid(program, nullptr, 0);
  CHECK(comes_true([&] { return !runs(worker); }));
}

TEST_CASE("remote environment: a worker that cannot start says why") {
  CHECK(has(error_of([] { make_remote_simulator(start_command({"/no/such/program"}), interface); }),
            "/no/such/program cannot be started: No such file"));
  const std::string ended = error_of([] {
    make_remote_simulator(start_command({"/bin/sh", "-c", "echo out; echo broken >&2; exit 4"}), interface);
  });
  CHECK(has(ended, "exit code 4"));
  CHECK(has(ended, "out\nbroken"));
  const auto refusing = forked(
      [](int channel) { return refuse_environments("there is no simulator today", channel, channel); });
  CHECK(error_of([&] { make_remote_simulator(refusing, interface, 3); }) == "there is no simulator today");
}
