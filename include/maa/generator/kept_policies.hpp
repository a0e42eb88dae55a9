// Policies of the data set that a generator keeps: where one of them acts more like a prompt than what is
// generated for it, the prompt is best answered by itself.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/generator/training_data.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Those that made trajectories of training (TrajectoryCheck::maker), flat weights [N, P]; where any of a task
// tells of success, without those that ever failed there. Of very many, some at equal distances in their
// order.
template <class Network, class Config>
MAA_COLD Buffer<float> kept_policies(const TrainingData<Network, Config>& data) {
  const Index size = parameter_count<Network>, most = (Index{1} << 24) / size;
  enum class Found { nothing, made, failed };
  std::vector<Found> found(static_cast<std::size_t>(data.dataset.policy_count()));
  for (const auto& task : data.training_tasks) {
    const bool tells =
        std::ranges::any_of(task.all, [&](Index i) { return data.trajectory(i).success_step.has_value(); });
    for (const Index i : task.all) {
      const Index maker = data.makers[static_cast<std::size_t>(i)];
      if (maker >= 0) {
        auto& of = found[static_cast<std::size_t>(maker)];
        of = of == Found::failed || (tells && !data.trajectory(i).success_step) ? Found::failed : Found::made;
      }
    }
  }
  std::vector<Index> kept;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == Found::made) {
      kept.push_back(static_cast<Index>(i));
    }
  }
  const Index count = std::min(std::ssize(kept), most);
  Buffer<float> weights(count * size);
  for (Index i = 0; i < count; ++i) {
    const auto from = kept[static_cast<std::size_t>(i * std::ssize(kept) / count)];
    std::ranges::copy(data.dataset.weight_matrix().row_span(from), weights.data() + i * size);
  }
  return weights;
}

// The sum of squares by which a policy's actions differ from those of demonstrations.
template <class Policy>
double action_error(const Policy& policy, std::span<const Trajectory> demonstrations) {
  double sum = 0;
  std::vector<float> actions;
  for (const auto& demonstration : demonstrations) {
    const auto wanted = demonstration.actions();
    actions.resize(static_cast<std::size_t>(wanted.size()));
    policy.act_batch(demonstration.observations().span(), actions);
    for (std::size_t i = 0; i < actions.size(); ++i) {
      const double difference = static_cast<double>(actions[i]) - static_cast<double>(wanted.data[i]);
      sum += difference * difference;
    }
  }
  return sum;
}

// For each prompt of `share` demonstrations the number of that of `kept` which acts most like it, or -1 if
// the first of its policies, policies[prompt * count], does no less so. All in the world's units.
template <class Policy>
std::vector<Index> look_up(const cpu::Backend& backend, std::span<const Policy> kept,
                           std::span<const Trajectory> demonstrations, Index share,
                           std::span<const Policy> policies, Index count) {
  std::vector<Index> found(demonstrations.size() / static_cast<std::size_t>(share), -1);
  backend.pool().for_each(std::ssize(found), [&](Index i) {
    const auto shown =
        demonstrations.subspan(static_cast<std::size_t>(i * share), static_cast<std::size_t>(share));
    double least = action_error(policies[static_cast<std::size_t>(i * count)], shown);
    for (std::size_t k = 0; k < kept.size(); ++k) {
      const double error = action_error(kept[k], shown);
      if (error < least) {
        least = error;
        found[static_cast<std::size_t>(i)] = static_cast<Index>(k);
      }
    }
  });
  return found;
}

}  // namespace detail
MAA_NAMESPACE_END
