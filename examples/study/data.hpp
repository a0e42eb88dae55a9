// Data by scripted experts: episodes of experts and clones, and the zoo of policies.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/data/unit_alignment.hpp>

#include "cloning.hpp"
#include "options.hpp"
#include "stages.hpp"

namespace maa::examples::study {

// What all cloning shares: one table of the episodes' observations and expert actions.
struct ExampleTable {
  explicit ExampleTable(std::span<const Trajectory> episodes);

  MatrixView<const float> observation_matrix() const {
    return {observations.data(), first.back(), observation_size};
  }
  MatrixView<const float> action_matrix() const { return {actions.data(), first.back(), action_size}; }

  Index observation_size = 0;
  Index action_size = 0;
  Buffer<float> observations;
  Buffer<float> actions;
  std::vector<Index> first;  // row of each episode, and the number of all rows
};

// Policies one after the other, as rows.
inline MatrixView<float> as_rows(Buffer<float>& weights, Index size) {
  return {weights.data(), weights.size() / size, size};
}
inline MatrixView<const float> as_rows(const Buffer<float>& weights, Index size) {
  return {weights.data(), weights.size() / size, size};
}

// The one normaliser of everything that learns from these episodes.
Normalizer observation_normalizer(const ExampleTable& table);

// Expert episodes on fresh placements: how many of each task, the action noise they take in turn, and the
// share of them that hold a random action for some steps.
struct ExpertEpisodes {
  std::string label;
  Purpose purpose{};
  Index count = 0;
  std::span<const double> noise;
  double burst_share = 0;
  std::uint64_t seed = 0;  // changes the placements and the noise
};
// Episode `number` of a task.
Trajectory expert_episode(const Options& options, Simulator& simulator, const std::string& task,
                          const ExpertEpisodes& episodes, Index number);
// And where it acts.
Placement episode_placement(const Options& options, Simulator& simulator, const std::string& task,
                            const ExpertEpisodes& episodes, Index number);

// Trajectories of all trained tasks, then of the validation tasks, without policies: noisy experts, quieter
// ones, and, of trained tasks, clones' episodes with the expert's actions as labels. All have run -1, or
// their run with a placement per run. Every finished task's episodes are a file in `folder`; those found
// there are used again.
Dataset collect(const Options& options, Simulator& simulator, const std::filesystem::path& folder);

// The trajectories of collected data that training may see.
std::span<const Trajectory> trained_episodes(const Options& options, const Dataset& dataset);

// Adds the zoo's policies to the collected data.
void add_zoo(const Options& options, const PolicyType& policy, Dataset& dataset, TrainingLog& log);

// One common initialisation, and the policy it is before any training.
void initial_weights(const NetworkType& network, const Normalizer& normalizer, std::uint64_t seed,
                     std::span<float> weights);

// align_units() of each of these policies [N, P].
inline void align_policies(const MlpLayout& layout, std::span<const float> reference,
                           MatrixView<float> policies) {
  for (Index i = 0; i < policies.rows; ++i) {
    align_units(layout, reference, policies.row_span(i));
  }
}

}  // namespace maa::examples::study
