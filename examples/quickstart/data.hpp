// The stages that make data: episodes of experts and clones, and the zoo of policies.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/data/normalizer.hpp>
#include <maa/train/behavior_cloning.hpp>

#include "options.hpp"
#include "stages.hpp"

namespace maa::examples::quickstart {

// What all cloning shares: one table of the episodes' observations and expert actions.
struct ExampleTable {
  explicit ExampleTable(const std::vector<Trajectory>& episodes);

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

// The one normaliser of everything that learns from these episodes.
Normalizer observation_normalizer(const ExampleTable& table);

// `count` expert episodes of each task on fresh placements, task by task. `burst_share` of them hold a random
// action for some steps.
std::vector<Trajectory> expert_episodes(const Options& options, const std::string& label,
                                        const std::vector<std::string>& tasks, Purpose purpose, Index count,
                                        std::span<const double> noise, double burst_share);

// Trajectories of all seen tasks, without policies: noisy experts, quieter ones, and clones' episodes with
// the expert's actions as labels. All have run -1.
Dataset collect(const Options& options);

// Adds the zoo's policies to the collected data.
void add_zoo(const Options& options, Dataset& dataset, TrainingLog& log);

// One common initialisation, and the policy it is before any training.
void initial_weights(const Normalizer& normalizer, std::uint64_t seed, std::span<float> weights);

}  // namespace maa::examples::quickstart
