// Little policies that are trained, snapshots of them, and what they do: a point mass is pushed to a goal
// that the task is named for and that is not observed.
#pragma once

#include <maa/backend/cpu.hpp>
#include <maa/data/dataset.hpp>
#include <maa/data/fold_normalizer.hpp>
#include <maa/models/policy.hpp>

namespace test {

using namespace maa;

template <Activation first, Activation second, Squash squash = Squash::tanh>
using ToyPolicyOf = MlpPolicy<
    MlpNetwork<6, 2, HiddenLayers<Hidden<16, first>, Hidden<16, second>>, Heads::mean_and_log_std, squash>>;
using ToyPolicy = ToyPolicyOf<Activation::relu, Activation::relu>;

// Position and speed in units of their own, as simulators have them.
class Toy {
 public:
  Toy(Index task, Rng& rng) : task_(task) {
    for (auto& x : state_) {
      x = rng.uniform(-1, 1);
    }
  }
  std::array<float, 6> observation() const {
    const auto [x, y, vx, vy] = state_;
    return {static_cast<float>(3 + 2 * x), static_cast<float>(y),           static_cast<float>(5 * vx),
            static_cast<float>(0.3 * vy),  static_cast<float>(-2 + x * vx), static_cast<float>(y * y)};
  }
  std::array<float, 2> expert() const {
    const double goals[][2] = {{0.8, 0.6}, {-0.8, 0.4}, {0.1, -0.9}};
    const auto [x, y, vx, vy] = state_;
    return {static_cast<float>(std::clamp(3 * (goals[task_][0] - x) - 2 * vx, -1.0, 1.0)),
            static_cast<float>(std::clamp(3 * (goals[task_][1] - y) - 2 * vy, -1.0, 1.0))};
  }
  void step(std::span<const float> action) {
    for (std::size_t i = 0; i < 2; ++i) {
      state_[i + 2] = 0.9 * state_[i + 2] + 0.2 * static_cast<double>(action[i]);
      state_[i] += 0.2 * state_[i + 2];
    }
  }

 private:
  Index task_;
  std::array<double, 4> state_;
};

inline const std::vector<std::string>& toy_tasks() {
  static const std::vector<std::string> tasks{"east", "west", "south"};
  return tasks;
}

// act(toy, action) fills the action without noise; noise(action) changes what is executed and recorded.
template <class Act, class Noise>
Trajectory toy_episode(Index task, std::int64_t run, std::uint64_t seed, const Act& act, const Noise& noise,
                       Index steps = 80) {
  Rng rng(seed);
  Toy toy(task, rng);
  Trajectory trajectory(steps, 6, 2);
  Buffer<float> targets(2 * steps);
  for (Index t = 0; t < steps; ++t) {
    std::ranges::copy(toy.observation(), trajectory.observations().row(t));
    const auto action = trajectory.actions().row_span(t);
    act(toy, action);
    std::ranges::copy(action, targets.data() + 2 * t);
    noise(action, rng);
    toy.step(action);
  }
  trajectory.set_target_actions(MatrixView<const float>(targets.data(), steps, 2));
  trajectory.task = toy_tasks()[static_cast<std::size_t>(task)];
  trajectory.run = run;
  trajectory.success_step = steps / 2;
  return trajectory;
}
inline Trajectory without_targets(const Trajectory& from) {
  Trajectory result(from.observations(), from.actions());
  result.task = from.task;
  result.run = from.run;
  result.success_step = from.success_step;
  return result;
}

// What policies are trained on: the expert's episodes with noise.
inline Normalizer toy_normalizer() {
  Buffer<float> rows(3 * 40 * 80 * 6);
  float* next = rows.data();
  for (Index task = 0; task < 3; ++task) {
    for (std::uint64_t i = 0; i < 40; ++i) {
      const auto episode = toy_episode(
          task, 0, 1000 + i,
          [](const Toy& toy, std::span<float> action) { std::ranges::copy(toy.expert(), action.data()); },
          [](std::span<float> action, Rng& rng) {
            for (float& a : action) {
              a = static_cast<float>(rng.uniform(-1, 1));
            }
          });
      next = std::copy_n(episode.observations().data, episode.observations().size(), next);
    }
  }
  return Normalizer::standard(MatrixView<const float>(rows.data(), 3 * 40 * 80, 6), 1e-3, 1e-3);
}

// Weights for raw observations of one run on a task after each of some numbers of training steps.
template <class Policy>
std::vector<Buffer<float>> train_toy(Index task, std::uint64_t seed, const std::vector<Index>& snapshots) {
  using Network = typename Policy::Network;
  const cpu::Backend backend(1);
  const auto normalizer = toy_normalizer();
  Buffer<float> weights(parameter_count<Network>);
  initialize<Network>(weights.span(), Rng(seed));
  Buffer<float> gradients(weights.size()), first(weights.size()), second(weights.size());
  std::vector<Buffer<float>> result;
  Workspace workspace;
  Rng rng(seed + 77);
  constexpr Index rows = 64;
  for (Index step = 0; step <= snapshots.back(); ++step) {
    if (std::ranges::find(snapshots, step) != snapshots.end()) {
      result.push_back(weights);
      fold_normalizer<Network>(normalizer, result.back().span());
    }
    workspace.reset();
    const auto seen = workspace.sequence<float>(1, rows, 6), mean = workspace.sequence<float>(1, rows, 2),
               dmean = workspace.sequence<float>(1, rows, 2);
    std::vector<std::array<float, 2>> wanted;
    for (Index i = 0; i < rows; ++i) {
      const Toy toy(task, rng);
      std::ranges::copy(toy.observation(), seen.flat().row(i));
      wanted.push_back(toy.expert());
    }
    normalizer.apply(seen.flat());
    const MatrixView<const float> row(weights.data(), 1, weights.size());
    const auto saved = policy_batch_forward(backend, Network::layout(), row, PolicyObservations<float>(seen),
                                            workspace, mean);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < 2; ++j) {
        const bool tanh = Network::squash == Squash::tanh;
        const float raw = mean.flat()(i, j), done = tanh ? std::tanh(raw) : raw;
        dmean.flat()(i, j) = (done - wanted[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)]) *
                             (tanh ? 1 - done * done : 1) / static_cast<float>(rows);
      }
    }
    std::fill(gradients.begin(), gradients.end(), 0.0f);
    policy_batch_backward(backend, Network::layout(), row, PolicyObservations<float>(seen), saved,
                          SequenceView<const float>(dmean), SequenceView<const float>(),
                          MatrixView<float>(gradients.data(), 1, gradients.size()));
    AdamWStep update;
    update.learning_rate = 5e-3;
    update.step = step + 1;
    adamw(backend, update, weights.span(), std::span<const float>(gradients.span()), first.span(),
          second.span(), std::span<float>());
  }
  return result;
}

// Three tasks, two runs each with snapshots from early on, and episodes of each run's last snapshot, with
// clipped noise.
template <class Policy = ToyPolicy>
Dataset toy_dataset(double noise = 0, bool targets = false) {
  Dataset data(6, 2, Policy::parameter_size, toy_tasks());
  for (Index task = 0; task < 3; ++task) {
    for (std::int64_t run = 0; run < 2; ++run) {
      const auto seed = static_cast<std::uint64_t>(10 * task + run);
      const std::vector<Index> steps{0, 10, 30, 60, 100, 200, 400};
      const auto snapshots = train_toy<Policy>(task, seed, steps);
      for (std::size_t i = 0; i < steps.size(); ++i) {
        data.add_policy({task, run, steps[i]}, snapshots[i].span());
      }
      const Policy last(snapshots.back().span());
      for (std::uint64_t i = 0; i < 4; ++i) {
        auto episode = toy_episode(
            task, run, 100 * seed + i,
            [&](const Toy& toy, std::span<float> action) { last.act(toy.observation(), action); },
            [&](std::span<float> action, Rng& rng) {
              for (float& a : action) {
                const auto noisy = static_cast<double>(a) + noise * rng.normal();
                a = static_cast<float>(noise > 0 ? std::clamp(noisy, -1.0, 1.0) : noisy);
              }
            });
        data.add_trajectory(targets ? std::move(episode) : without_targets(episode));
      }
    }
  }
  return data;
}

}  // namespace test
