// One task with policies as initialised and demonstrations of random numbers: enough to train on, nothing to
// learn.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/models/policy.hpp>

namespace test {

template <class Network>
maa::Dataset random_dataset(maa::Index policies) {
  using namespace maa;
  Dataset data(Network::observation_size, Network::action_size, parameter_count<Network>, {"task"});
  for (Index i = 0; i < policies; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    Buffer<float> weights(parameter_count<Network>);
    initialize<Network>(weights.span(), Rng(seed));
    data.add_policy({0, i, 0}, weights.span());
    Trajectory trajectory(20, Network::observation_size, Network::action_size);
    Rng rng(10 + seed);
    rng.fill_normal(trajectory.observations().span());
    rng.fill_uniform(trajectory.actions().span(), -0.9, 0.9);
    trajectory.success_step = 14;
    trajectory.task = "task";
    trajectory.run = -1;
    data.add_trajectory(std::move(trajectory));
  }
  return data;
}

}  // namespace test
