// Batches for the loss on behaviour: prompts, and the demonstrator's actions in other scenes of the same
// task.
#pragma once

#include <maa/generator/training_data.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config>
struct BehaviorBatch {
  using Data = TrainingData<Network, Config>;

  Index demonstrations = 1;               // per prompt
  MatrixView<float> trajectory_features;  // [batch * demonstrations * segments, ...]
  MatrixView<float> success_features;
  // The pairs of each prompt's demonstrations, each followed by its restoring pairs if there are such:
  // [batch, pairs, O], normalised like the queries', and [batch, pairs, A].
  SequenceView<float> prompt_observations;
  SequenceView<float> prompt_actions;
  SequenceView<float> observations;  // [batch, queries, O], normalised as the standardised policies expect
  SequenceView<float> actions;       // [batch, queries, A]

  // Sample i is of the task task_for(i, rng). Draws prompts and query steps; the demonstrations of a prompt
  // are drawn one by one (two may be the same). Demonstrations and queries of a sample undergo the same
  // augmentation.
  template <class TaskFor>
  BehaviorBatch(const Data& data, const GeneratorState<Network, Config>& state,
                const BehaviorOptions& options, Index batch, Index demonstrations_per_prompt,
                const TaskFor& task_for, const Rng& rng, Workspace& workspace)
      : demonstrations(demonstrations_per_prompt) {
    const Index windows = batch * demonstrations * Data::segments;
    const Index pairs = demonstrations * pairs_per_demonstration(state);
    trajectory_features = workspace.matrix<float>(windows, Data::h_size);
    success_features = workspace.matrix<float>(windows, Data::v_size);
    prompt_observations = workspace.sequence<float>(batch, pairs, Network::observation_size);
    prompt_actions = workspace.sequence<float>(batch, pairs, Network::action_size);
    observations = workspace.sequence<float>(batch, options.queries, Network::observation_size);
    actions = workspace.sequence<float>(batch, options.queries, Network::action_size);
    for (Index i = 0; i < batch; ++i) {
      auto draw = rng.fork(static_cast<std::uint64_t>(i));
      const TaskTrajectories& task = task_for(i, draw);
      const auto transform = draw.fork(0);
      for (Index k = 0; k < demonstrations; ++k) {
        write_demonstration(data.trajectory(pick(task.prompts, draw)), state, options, transform, draw,
                            i * demonstrations + k);
      }
      write_queries(data, task.all, options, transform, draw, i);
    }
    state.standardizer.observations().apply(observations.flat());
    state.standardizer.observations().apply(prompt_observations.flat());
  }

 private:
  static Index pairs_per_demonstration(const GeneratorState<Network, Config>& state) {
    return Config::prompt.pairs() * (state.restoring_pairs.empty() ? 1 : 2);
  }
  static Index pick(const std::vector<Index>& from, Rng& draw) {
    return from[static_cast<std::size_t>(draw.below(static_cast<Index>(from.size())))];
  }

  // The i-th demonstration of the batch.
  void write_demonstration(const Trajectory& demonstration, const GeneratorState<Network, Config>& state,
                           const BehaviorOptions& options, const Rng& transform, Rng& draw, Index i) {
    const PromptEncoder& encoder = state.prompt_encoder;
    constexpr Index segments = Data::segments;
    auto changed = demonstration;
    if (options.augmentation) {
      options.augmentation(transform, changed.observations(), changed.actions());
    }
    for (float& action : changed.actions().span()) {
      action += static_cast<float>(options.prompt_action_noise * draw.normal());
    }
    encoder.write_trajectory(changed, trajectory_features.row_range(i * segments, segments));
    encoder.write_success(changed, success_features.row_range(i * segments, segments));
    constexpr Index pairs = Config::prompt.pairs();
    const Index first = i * pairs_per_demonstration(state);
    const auto seen = prompt_observations.flat().row_range(first, pairs);
    const auto done = prompt_actions.flat().row_range(first, pairs);
    encoder.write_pairs(changed, seen, done);
    if (!state.restoring_pairs.empty()) {
      state.restoring_pairs.write(draw.fork(static_cast<std::uint64_t>(i)), seen, done,
                                  prompt_observations.flat().row_range(first + pairs, pairs),
                                  prompt_actions.flat().row_range(first + pairs, pairs));
    }
  }

  void write_queries(const Data& data, const std::vector<Index>& trajectories, const BehaviorOptions& options,
                     const Rng& transform, Rng& draw, Index i) {
    const MatrixView<float> seen(observations.data + i * options.queries * observations.channels,
                                 options.queries, observations.channels);
    const MatrixView<float> done(actions.data + i * options.queries * actions.channels, options.queries,
                                 actions.channels);
    for (Index q = 0; q < options.queries; ++q) {
      const auto& trajectory = data.trajectory(pick(trajectories, draw));
      const Index step = draw.below(trajectory.length());
      const auto labels =
          trajectory.has_target_actions() ? trajectory.target_actions() : trajectory.actions();
      std::copy_n(trajectory.observations().row(step), seen.cols, seen.row(q));
      std::copy_n(labels.row(step), done.cols, done.row(q));
    }
    if (options.augmentation) {
      options.augmentation(transform, seen, done);
    }
  }
};

}  // namespace detail
MAA_NAMESPACE_END
