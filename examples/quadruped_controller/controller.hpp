// A walking policy as a controller of joint targets: everything it needs is in the policy's file. Copy it and
// main.cpp, and put your robot's sensors and motors in the place of main.cpp's.
#pragma once

#include <maa/io/policy_file.hpp>

#include <cmath>
#include <numbers>
#include <sstream>

namespace controller {

constexpr std::size_t joints = 12, frames = 4, frame_size = 64;
using Joints = std::array<double, joints>;

struct Command {
  double forward = 0, left = 0, turn = 0;  // m/s, m/s, rad/s
};
struct State {  // as measured; vectors in the trunk's frame
  std::array<double, 3> gravity = {0, 0, -1}, angular_velocity{};  // direction; rad/s
  Joints position{}, velocity{};                                   // rad, rad/s, in the order of joint_names
};

// The numbers of a comma-separated list of the metadata. Error unless there are so many.
template <std::size_t count>
std::array<double, count> numbers(const maa::PolicyMetadata& metadata, const std::string& key) {
  std::array<double, count> result{};
  const auto found = metadata.find(key);
  std::istringstream list(found == metadata.end() ? "" : found->second);
  std::string text;
  std::size_t read = 0;
  while (std::getline(list, text, ',')) {
    if (read < count) result[read] = std::stod(text);
    ++read;
  }
  maa::require(read == count, "the policy's metadata: expected ", count, " numbers as ", key, ", found ",
               read);
  return result;
}

class Controller {
 public:
  explicit Controller(const std::filesystem::path& file)
      : policy_(maa::load_policy<maa::QuadrupedPolicy>(file)) {
    const auto metadata = maa::load_policy_metadata(file);
    default_ = numbers<joints>(metadata, "default_joint_pos");
    scale_ = numbers<joints>(metadata, "action_scale");
    stiffness = numbers<joints>(metadata, "joint_stiffness");
    damping = numbers<joints>(metadata, "joint_damping");
    period = numbers<1>(metadata, "period")[0];
    frequency_ = numbers<1>(metadata, "gait_frequency")[0];
    lift_ = numbers<1>(metadata, "gait_lift")[0];
  }

  double period = 0;          // seconds between steps
  Joints stiffness, damping;  // of the joints' controllers: torque = stiffness (target - q) - damping dq

  // Begins anew at a phase of the clock in [0, 1).
  void reset(double phase = 0) {
    phase_ = phase;
    last_ = before_ = {};
    fresh_ = true;
  }

  // Joint targets in rad. Does not allocate, lock or throw.
  Joints step(const State& state, const Command& command) noexcept {
    observe(state, command);
    before_ = last_;
    policy_.act(observation_, last_);
    Joints targets{};
    for (std::size_t i = 0; i < joints; ++i) {
      last_[i] = std::clamp(last_[i], -10.0f, 10.0f);
      const bool first_pair = i / 3 == 0 || i / 3 == 3;  // FL and RR
      const double swing = std::sin(2 * std::numbers::pi * (first_pair ? phase_ : phase_ + 0.5));
      const double part[] = {0, 1, -2};
      targets[i] = default_[i] + part[i % 3] * lift_ * std::max(0.0, swing) +
                   scale_[i] * static_cast<double>(last_[i]);
    }
    phase_ = std::fmod(phase_ + frequency_ * period, 1.0);
    return targets;
  }

  const std::array<float, joints>& action() const { return last_; }

 private:
  // The newest frame last; the order is that of observation_names.
  void observe(const State& state, const Command& command) noexcept {
    std::move(observation_.begin() + frame_size, observation_.end(), observation_.begin());
    float* out = observation_.data() + (frames - 1) * frame_size;
    const auto put = [&](double value) { *out++ = static_cast<float>(value); };
    for (const double value : {command.forward, command.left, command.turn}) put(value);
    for (const double value : state.gravity) put(value);
    for (std::size_t i = 0; i < joints; ++i) put(state.position[i] - default_[i]);
    for (const double value : state.velocity) put(value / 10);
    out = std::copy(last_.begin(), last_.end(), out);
    out = std::copy(before_.begin(), before_.end(), out);
    for (const double turns : {1.0, 2.0}) {
      put(std::sin(2 * std::numbers::pi * turns * phase_));
      put(std::cos(2 * std::numbers::pi * turns * phase_));
    }
    for (const double value : state.angular_velocity) put(value / 4);
    for (int i = 0; i < 3; ++i) put(0);
    for (std::size_t frame = 0; fresh_ && frame + 1 < frames; ++frame) {
      std::copy(observation_.end() - frame_size, observation_.end(),
                observation_.begin() + frame * frame_size);
    }
    fresh_ = false;
  }

  maa::QuadrupedPolicy policy_;
  Joints default_{}, scale_{};
  double frequency_ = 0, lift_ = 0, phase_ = 0;
  std::array<float, joints> last_{}, before_{};  // actions
  std::array<float, frames * frame_size> observation_{};
  bool fresh_ = true;
};

}  // namespace controller
