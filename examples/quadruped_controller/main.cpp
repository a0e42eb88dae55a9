// Steps a walking policy at its period in real time and tells how long `act` takes and how late steps begin:
//     quadruped_controller POLICY.safetensors [SECONDS] [FORWARD LEFT TURN]
#include <time.h>

#include <cstdio>
#include <vector>

#include "controller.hpp"

namespace {

// Where your robot is to be: its joints follow their targets, and nothing tilts it.
struct Robot {
  controller::State state;
  void send(const controller::Joints& targets, double period) {
    for (std::size_t i = 0; i < controller::joints; ++i) {
      state.velocity[i] = 0.5 * (targets[i] - state.position[i]) / period;
      state.position[i] += state.velocity[i] * period;
    }
  }
};

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void print(const char* what, std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return 1e6 * seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))];
  };
  std::printf("%s: p50 %.2f us, p99.9 %.2f us, most %.2f us\n", what, at(.5), at(.999), at(1));
}

void run(int argc, char** argv) {
  maa::require(argc >= 2, "usage: quadruped_controller POLICY.safetensors [SECONDS] [FORWARD LEFT TURN]");
  const auto number = [&](int at, double otherwise) { return argc > at ? std::stod(argv[at]) : otherwise; };
  controller::Controller walk(argv[1]);
  const double seconds = number(2, 10);
  const controller::Command command{number(3, .35), number(4, 0), number(5, 0)};
  maa::require(seconds > 0 && seconds < 1e6, "expected a positive number of seconds, found ", seconds);
  const auto steps = static_cast<std::size_t>(std::ceil(seconds / walk.period));
  std::vector<double> acting(steps), late(steps);  // all memory, before the loop
  Robot robot;
  walk.reset();
  const double start = now();
  for (std::size_t i = 0; i < steps; ++i) {
    const double due = start + static_cast<double>(i) * walk.period;
    const timespec until{static_cast<time_t>(due), static_cast<long>(1e9 * (due - std::floor(due)))};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    const double began = now();
    const auto targets = walk.step(robot.state, command);
    acting[i] = now() - began;
    late[i] = began - due;
    robot.send(targets, walk.period);
  }
  std::printf("%zu steps of %g ms\n", steps, 1e3 * walk.period);
  print("a step with act", acting);
  print("late", late);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
