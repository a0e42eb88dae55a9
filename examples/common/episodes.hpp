// Episodes in an environment: rolling a controller out, and recording what an expert says on the way.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include <maa/core/rng.hpp>
#include <maa/data/trajectory.hpp>

#include "environment.hpp"

namespace maa::examples {

// How an episode's actions differ from the controller's: Gaussian noise, and steps in which one random action
// is held.
struct ExecutionNoise {
  double deviation = 0;
  Index burst_start = 0;
  Index burst_length = 0;
};

// The first step whose action led to success, or none. `act(observation, action)` decides; the episode ends
// at success, which is exact where success in any step counts, and at failure.
template <class Act>
std::optional<Index> run_episode(Environment& environment, const Placement& placement, const Act& act) {
  std::vector<float> observation(static_cast<std::size_t>(environment.observation_size()));
  std::vector<float> action(static_cast<std::size_t>(environment.action_size()));
  environment.reset(placement, observation);
  for (Index step = 0; step < environment.max_episode_steps(); ++step) {
    act(std::span<const float>(observation), std::span<float>(action));
    const auto result = environment.step(action, observation);
    if (result.success) {
      return step;
    }
    if (result.failed) {
      break;
    }
  }
  return std::nullopt;
}

// What `act` did with noise, what `teacher` says of the same observations as target actions, and the first
// success within `most_steps` (or the environment's limit). The episode goes on for `least_steps` and
// `after_success` more states, so that it can be a prompt, and ends at failure.
template <class Act, class Teacher>
Trajectory record_episode(Environment& environment, const Placement& placement, const Act& act,
                          const Teacher& teacher, const ExecutionNoise& noise, Rng rng, Index most_steps,
                          Index least_steps = 60, Index after_success = 3) {
  const auto observation_size = static_cast<std::size_t>(environment.observation_size());
  const auto action_size = static_cast<std::size_t>(environment.action_size());
  std::vector<float> observations, actions, targets, observation(observation_size), action(action_size),
      held(action_size);
  rng.fill_uniform(std::span(held), -1, 1);
  const double limit = environment.action_limit();
  std::optional<Index> success;
  bool failed = false;
  most_steps = std::min(most_steps, environment.max_episode_steps());
  environment.reset(placement, observation);
  Index length = 0;
  const auto goes_on = [&] {
    return !failed &&
           (length < least_steps || (success ? length < *success + after_success + 1 : length < most_steps));
  };
  for (; goes_on(); ++length) {
    observations.insert(observations.end(), observation.begin(), observation.end());
    teacher(std::span<const float>(observation), std::span<float>(action));
    std::ranges::transform(action, std::back_inserter(targets), [limit](float a) {
      return static_cast<float>(std::clamp(static_cast<double>(a), -limit, limit));
    });
    act(std::span<const float>(observation), std::span<float>(action));
    const bool burst = length >= noise.burst_start && length < noise.burst_start + noise.burst_length;
    for (std::size_t i = 0; i < action_size; ++i) {
      const double noisy = static_cast<double>(action[i]) + noise.deviation * rng.normal();
      action[i] = burst ? held[i] : static_cast<float>(std::clamp(noisy, -limit, limit));
    }
    actions.insert(actions.end(), action.begin(), action.end());
    const auto result = environment.step(action, observation);
    if (result.success && !success && length < most_steps) {
      success = length;
    }
    failed = result.failed;
  }
  Trajectory trajectory(MatrixView<const float>(observations.data(), length, environment.observation_size()),
                        MatrixView<const float>(actions.data(), length, environment.action_size()));
  trajectory.set_target_actions({targets.data(), length, environment.action_size()});
  trajectory.success_step = success;
  trajectory.task = environment.task();
  trajectory.run = -1;
  return trajectory;
}

// The expert as a controller of `environment`.
inline auto expert_of(Environment& environment) {
  return
      [&environment](std::span<const float>, std::span<float> action) { environment.expert_action(action); };
}

}  // namespace maa::examples
