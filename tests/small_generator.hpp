// A small generator and data that it learns from in a second: two tasks that only actions tell apart.
#pragma once

#include <maa/generator.hpp>

#include "larger.hpp"
#include "small_config.hpp"

namespace test {

using namespace maa;

using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::relu>>>;
using Policy = MlpPolicy<Network>;
using SmallGenerator = Generator<Policy, SmallConfig>;

// A task's behaviour: actions that follow the observation, towards one side or the other. Observations look
// alike in both tasks; only the actions tell them apart.
inline void demonstrate(Index task, Trajectory& trajectory, Rng& rng) {
  Buffer<float> targets(trajectory.length() * 2);
  rng.fill_normal(trajectory.observations().span());
  for (Index t = 0; t < trajectory.length(); ++t) {
    const float* o = trajectory.observations().row(t);
    const float sign = task == 0 ? 1.0f : -1.0f;
    trajectory.actions()(t, 0) = std::tanh(o[0] + sign);
    trajectory.actions()(t, 1) = std::tanh(0.5f * o[2] - sign);
  }
  std::copy_n(trajectory.actions().data, targets.size(), targets.data());
  trajectory.set_target_actions(MatrixView<const float>(targets.data(), trajectory.length(), 2));
}

inline Trajectory demonstration(Index task, std::uint64_t seed) {
  Trajectory trajectory(20, 6, 2);
  Rng rng(seed);
  demonstrate(task, trajectory, rng);
  trajectory.success_step = 14;
  trajectory.task = task == 0 ? "plus" : "minus";
  trajectory.run = -1;
  return trajectory;
}

inline Dataset dataset() {
  Dataset data(6, 2, Policy::parameter_size, {"plus", "minus"});
  const auto base = Policy::untrained(1);
  Rng rng(2);
  for (Index task = 0; task < 2; ++task) {
    for (Index run = 0; run < 3; ++run) {
      for (Index step = 0; step < 4; ++step) {
        Buffer<float> weights{base.weights()};
        for (float& weight : weights) {
          weight += static_cast<float>(0.05 * rng.normal() + 0.1 * static_cast<double>(task));
        }
        data.add_policy({task, run, step}, weights.span());
      }
    }
    for (std::uint64_t i = 0; i < 10; ++i) {
      data.add_trajectory(demonstration(task, 100 * static_cast<std::uint64_t>(task) + i));
    }
  }
  return data;
}

inline BehaviorRecipe recipe(Index steps = 150) {
  BehaviorRecipe result;
  result.check = false;           // the policies are not the demonstrators
  result.guidance = {1, 0.5, 0};  // candidates to choose from
  result.embedder.train.steps = 60;
  result.embedder.train.batch = 16;
  result.behavior.train.steps = steps;
  result.behavior.train.batch = 8;
  result.behavior.train.learning_rate.base = 3e-3;
  result.behavior.queries = 24;
  result.seed = 5;
  return result;
}

inline double action_error(const Policy& policy, const Trajectory& expected) {
  double sum = 0;
  std::array<float, 2> action;
  for (Index t = 0; t < expected.length(); ++t) {
    policy.act(expected.observations().row_span(t).first<6>(), action);
    for (std::size_t j = 0; j < 2; ++j) {
      const double difference =
          static_cast<double>(action[j]) - static_cast<double>(expected.actions()(t, static_cast<Index>(j)));
      sum += difference * difference;
    }
  }
  return sum / static_cast<double>(2 * expected.length());
}
inline double action_error(const Policy& policy, Index task) {
  return action_error(policy, demonstration(task, 9'999));
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

inline double largest_difference(const Policy& a, const Policy& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.weights().size(); ++i) {
    largest = test::larger(largest, static_cast<double>(std::abs(a.weights()[i] - b.weights()[i])));
  }
  return largest;
}

// A third task with its own policies and trajectories of noise, `scale` times a normal one's size.
inline Dataset with_noise_task(float scale, Index trajectories = 4) {
  auto data = dataset();
  data.tasks.push_back("noise");
  Rng rng(77);
  const auto base = Policy::untrained(1);
  for (Index step = 0; step < 3; ++step) {
    Buffer<float> weights{base.weights()};
    for (float& weight : weights) {
      weight += scale * static_cast<float>(rng.normal());
    }
    data.add_policy({2, 0, step}, weights.span());
  }
  for (Index i = 0; i < trajectories; ++i) {
    Trajectory trajectory(20, 6, 2);
    rng.fill_normal(trajectory.observations().span(), static_cast<double>(scale));
    rng.fill_uniform(trajectory.actions().span(), -0.9, 0.9);
    trajectory.success_step = 14;
    trajectory.task = "noise";
    trajectory.run = i % 2 == 0 ? -1 : 0;
    data.add_trajectory(std::move(trajectory));
  }
  return data;
}

}  // namespace test

// What tests share is compiled once, in small_generator.cpp.
#ifndef MAA_TEST_TEMPLATE
#define MAA_TEST_TEMPLATE extern template
#endif
MAA_TEST_TEMPLATE class maa::MlpPolicy<test::Network>;
MAA_TEST_TEMPLATE struct maa::GeneratorState<test::Network, test::SmallConfig>;
MAA_TEST_TEMPLATE class maa::detail::Generation<test::Network, test::SmallConfig, maa::cpu::Backend>;
MAA_TEST_TEMPLATE class maa::Generator<test::Policy, test::SmallConfig>;
MAA_TEST_TEMPLATE bool test::SmallGenerator::fit(const maa::Dataset&, const maa::BehaviorRecipe&,
                                                 const maa::WarmStart&, const maa::TrainCallback&);
MAA_TEST_TEMPLATE bool test::SmallGenerator::fit_inside(const maa::Dataset&, const maa::PolicyInterface&,
                                                        const maa::BehaviorRecipe&, const maa::WarmStart&,
                                                        const maa::TrainCallback&);
MAA_TEST_TEMPLATE maa::GeneratorState<test::Network, test::SmallConfig>
maa::detail::load_generator<test::Network, test::SmallConfig>(const std::filesystem::path&, maa::Unread);
MAA_TEST_TEMPLATE void maa::detail::save_generator(
    const std::filesystem::path&, const maa::GeneratorState<test::Network, test::SmallConfig>&);
