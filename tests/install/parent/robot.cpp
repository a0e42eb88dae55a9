#include "robot.hpp"

#include <maa/core/parallel.hpp>
#include <maa/io/policy_file.hpp>

double act(const char* file) {
  using Policy = maa::MetaWorldPolicy;
  const maa::ThreadPool pool(1);
  const auto policy = file == nullptr ? Policy::untrained(7) : maa::load_policy<Policy>(file);
  const std::array<float, Policy::observation_size> observation{};
  std::array<float, Policy::action_size> action{};
  pool.for_each(1, [&](maa::Index) { policy.act(observation, action); });
  double sum = 0;
  for (const float value : action) {
    sum += static_cast<double>(value);
  }
  return sum;
}
