// What a generator learns from: the weights of many policies and trajectories of what they do.
#pragma once

#include <maa/data/trajectory.hpp>

#include <vector>

MAA_NAMESPACE_BEGIN

// Where a policy comes from: a snapshot at training step `step` of run `run` on task number `task`.
struct PolicyRecord {
  Index task = 0;
  std::int64_t run = 0;
  std::int64_t step = 0;
  bool operator==(const PolicyRecord&) const = default;
};

// Policies and trajectories by index, without any (task, run) on both sides.
struct RunSplit {
  struct Side {
    std::vector<Index> policies;
    std::vector<Index> trajectories;
  };
  Side train;
  Side validation;
};

struct Dataset {
  Index observation_size = 0;  // O
  Index action_size = 0;       // A
  Index parameter_count = 0;   // P
  std::vector<std::string> tasks;
  // [N, P], row i belongs to policies[i]. May have more rows than policies: room for add_policy.
  Buffer<float> weights;
  std::vector<PolicyRecord> policies;    // N
  std::vector<Trajectory> trajectories;  // each one's task is one of `tasks`

  Dataset() = default;
  Dataset(Index observation_size_, Index action_size_, Index parameter_count_, std::vector<std::string> tasks_);

  Index policy_count() const noexcept { return static_cast<Index>(policies.size()); }
  // [N, P]
  MatrixView<float> weight_matrix() noexcept { return {weights.data(), policy_count(), parameter_count}; }
  MatrixView<const float> weight_matrix() const noexcept { return {weights.data(), policy_count(), parameter_count}; }

  // The number of a task; Error if it is not one of `tasks`.
  Index task_index(const std::string& task) const;

  // Copies the weights [P]. Error leaves the dataset as it was. Views of the weights become invalid unless there is room.
  void add_policy(const PolicyRecord& record, std::span<const float> policy_weights);
  // Makes room for this many policies in all.
  void reserve_policies(Index count);
  void add_trajectory(Trajectory trajectory);

  // Error unless all of the above holds and all numbers are finite.
  void validate() const;

  // One safetensors file. Both validate.
  void save(const std::filesystem::path& path) const;
  static Dataset load(const std::filesystem::path& path);

  // Draws, per task, `validation_fraction` (0 to 1, rounded, at least one run if positive) of the (task, run) pairs for
  // validation; a task's last run always stays in training. The same seed gives the same split.
  RunSplit split_by_run(double validation_fraction, std::uint64_t seed) const;
};

MAA_NAMESPACE_END
