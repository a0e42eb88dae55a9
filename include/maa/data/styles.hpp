// Which of a data set's trajectories act alike.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/data/normalizer.hpp>

#include <map>
#include <utility>

MAA_NAMESPACE_BEGIN

// Whose trajectories show what a prompt asks for: all of its task, or those of its task and run. Independent
// runs may solve a task differently (an elbow to the left or to the right), and then what one does is no
// answer to what another showed. automatic: those of the task, unless its runs differ in like states.
enum class Styles { automatic, task, run };
constexpr std::array<std::string_view, 3> names_of(Styles) {
  return {"automatic", "task", "run"};
}

namespace detail {

// Whether the runs of a task act differently where they are in like states. Each of up to 256 steps is
// compared with the nearest step of another trajectory of its own run, and with the nearest of another run,
// of up to 2,048 steps spread over all; it counts if the other run's is as near. They differ if at least 30
// steps count and the squared difference of actions is more than twice as large between runs as within.
// `given`: trajectories of one task.
bool runs_differ(const Dataset& dataset, std::span<const Index> given, const Normalizer& observations);

// A number for each trajectory, equal for those that act alike. `task_of_trajectory` [trajectories].
std::vector<Index> find_styles(const Dataset& dataset, Styles styles,
                               std::span<const Index> task_of_trajectory, const Normalizer& observations);

#if MAA_BODIES

MAA_COLD MAA_INLINE bool runs_differ(const Dataset& dataset, std::span<const Index> given,
                                     const Normalizer& observations) {
  constexpr Index most = 2048;
  constexpr Index asked = 256;
  constexpr Index fewest = 30;
  struct Step {
    Index trajectory;
    const float* action;
  };
  const auto trajectory = [&](Index i) -> const Trajectory& {
    return dataset.trajectories[static_cast<std::size_t>(i)];
  };
  Index total = 0;
  for (const Index i : given) {
    total += trajectory(i).run >= 0 ? trajectory(i).length() : 0;
  }
  const Index stride = std::max<Index>(1, (total + most - 1) / most);
  std::vector<Step> steps;
  Buffer<float> seen((total + stride - 1) / stride * dataset.observation_size);
  Index number = 0;
  for (const Index i : given) {
    const auto& from = trajectory(i);
    const auto actions = from.has_target_actions() ? from.target_actions() : from.actions();
    for (Index t = 0; from.run >= 0 && t < from.length(); ++t, ++number) {
      if (number % stride == 0) {
        std::copy_n(from.observations().row(t), dataset.observation_size,
                    seen.data() + std::ssize(steps) * dataset.observation_size);
        steps.push_back({i, actions.row(t)});
      }
    }
  }
  const Index count = std::ssize(steps);
  const MatrixView<float> states(seen.data(), count, dataset.observation_size);
  observations.apply(states);
  const auto squares = [](const float* a, const float* b, Index size) {
    float sum = 0;
    for (Index j = 0; j < size; ++j) {
      sum += (a[j] - b[j]) * (a[j] - b[j]);
    }
    return static_cast<double>(sum);
  };
  Index counted = 0;
  double within = 0;
  double between = 0;
  for (Index k = 0; k < count; k += std::max<Index>(1, (count + asked - 1) / asked)) {
    const auto& step = steps[static_cast<std::size_t>(k)];
    const auto run = trajectory(step.trajectory).run;
    std::array<double, 2> distance;  // to the own run's, to another's
    distance.fill(std::numeric_limits<double>::infinity());
    std::array<const float*, 2> action{};
    for (Index j = 0; j < count; ++j) {
      const auto& other = steps[static_cast<std::size_t>(j)];
      if (other.trajectory == step.trajectory) {
        continue;
      }
      const std::size_t side = trajectory(other.trajectory).run == run ? 0 : 1;
      const double d = squares(states.row(k), states.row(j), states.cols);
      if (d < distance[side]) {
        distance[side] = d;
        action[side] = other.action;
      }
    }
    if (action[0] != nullptr && action[1] != nullptr && distance[1] <= distance[0]) {
      ++counted;
      within += squares(step.action, action[0], dataset.action_size);
      between += squares(step.action, action[1], dataset.action_size);
    }
  }
  return counted >= fewest && between > 2 * within;
}

MAA_COLD MAA_INLINE std::vector<Index> find_styles(const Dataset& dataset, Styles styles,
                                                   std::span<const Index> task_of_trajectory,
                                                   const Normalizer& observations) {
  std::vector<std::vector<Index>> given(dataset.tasks.size());
  for (Index i = 0; i < std::ssize(task_of_trajectory); ++i) {
    given[static_cast<std::size_t>(task_of_trajectory[static_cast<std::size_t>(i)])].push_back(i);
  }
  std::vector<Index> result(task_of_trajectory.size());
  Index next = 0;
  for (const auto& own : given) {
    const bool apart =
        styles == Styles::run || (styles == Styles::automatic && runs_differ(dataset, own, observations));
    std::map<std::int64_t, Index> numbers;
    for (const Index i : own) {
      const auto run = apart ? dataset.trajectories[static_cast<std::size_t>(i)].run : 0;
      const auto [number, added] = numbers.try_emplace(run, next);
      next += added ? 1 : 0;
      result[static_cast<std::size_t>(i)] = number->second;
    }
  }
  return result;
}

#endif

}  // namespace detail
MAA_NAMESPACE_END
