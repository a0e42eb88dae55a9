// Batches for the loss on behaviour: prompts, and the demonstrator's actions in other scenes of the same
// task.
#pragma once

#include <maa/generator/training_data.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config>
struct BehaviorBatch {
  using Data = TrainingData<Network, Config>;

  MatrixView<float> trajectory_features;  // [batch * segments, ...]
  MatrixView<float> success_features;
  SequenceView<float> prompt_observations;  // [batch, pairs, O], normalised like the queries'
  SequenceView<float> prompt_actions;       // [batch, pairs, A]
  SequenceView<float> observations;  // [batch, queries, O], normalised as the standardised policies expect
  SequenceView<float> actions;       // [batch, queries, A]

  // Draws tasks, prompts and query steps from `rng`; prompt and queries of a sample undergo the same
  // augmentation.
  BehaviorBatch(const Data& data, const GeneratorState<Network, Config>& state,
                const BehaviorOptions& options, const Rng& rng, Workspace& workspace) {
    const Index batch = options.train.batch;
    constexpr Index segments = Data::segments;
    trajectory_features = workspace.matrix<float>(batch * segments, Data::h_size);
    success_features = workspace.matrix<float>(batch * segments, Data::v_size);
    prompt_observations = workspace.sequence<float>(batch, Config::prompt.pairs(), Network::observation_size);
    prompt_actions = workspace.sequence<float>(batch, Config::prompt.pairs(), Network::action_size);
    observations = workspace.sequence<float>(batch, options.queries, Network::observation_size);
    actions = workspace.sequence<float>(batch, options.queries, Network::action_size);
    std::vector<Index> tasks;
    for (std::size_t task = 0; task < data.prompts_of_task.size(); ++task) {
      if (!data.prompts_of_task[task].empty()) {
        tasks.push_back(static_cast<Index>(task));
      }
    }
    for (Index i = 0; i < batch; ++i) {
      auto draw = rng.fork(static_cast<std::uint64_t>(i));
      const auto task = static_cast<std::size_t>(
          tasks[static_cast<std::size_t>(draw.below(static_cast<Index>(tasks.size())))]);
      const auto& candidates = data.prompts_of_task[task];
      const auto position = static_cast<std::size_t>(
          candidates[static_cast<std::size_t>(draw.below(static_cast<Index>(candidates.size())))]);
      const auto transform = draw.fork(0);
      write_prompt(data.trajectory(data.prompts[position]), state.prompt_encoder, options, transform, draw,
                   i);
      write_queries(data, data.trajectories_of_task[task], options, transform, draw, i);
    }
    state.standardizer.observations().apply(observations.flat());
    state.standardizer.observations().apply(prompt_observations.flat());
  }

 private:
  void write_prompt(const Trajectory& prompt, const PromptEncoder& encoder, const BehaviorOptions& options,
                    const Rng& transform, Rng& draw, Index i) {
    constexpr Index segments = Data::segments;
    auto changed = prompt;
    if (options.augmentation) {
      options.augmentation(transform, changed.observations(), changed.actions());
    }
    for (float& action : changed.actions().span()) {
      action += static_cast<float>(options.prompt_action_noise * draw.normal());
    }
    encoder.write_trajectory(changed, trajectory_features.row_range(i * segments, segments));
    encoder.write_success(changed, success_features.row_range(i * segments, segments));
    constexpr Index pairs = Config::prompt.pairs();
    encoder.write_pairs(changed, prompt_observations.flat().row_range(i * pairs, pairs),
                        prompt_actions.flat().row_range(i * pairs, pairs));
  }

  void write_queries(const Data& data, const std::vector<Index>& trajectories, const BehaviorOptions& options,
                     const Rng& transform, Rng& draw, Index i) {
    const MatrixView<float> seen(observations.data + i * options.queries * observations.channels,
                                 options.queries, observations.channels);
    const MatrixView<float> done(actions.data + i * options.queries * actions.channels, options.queries,
                                 actions.channels);
    for (Index q = 0; q < options.queries; ++q) {
      const auto& trajectory = data.trajectory(
          trajectories[static_cast<std::size_t>(draw.below(static_cast<Index>(trajectories.size())))]);
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
