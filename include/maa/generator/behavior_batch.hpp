// Batches for the loss on behaviour: prompts, and what their demonstrators do in other states.
#pragma once

#include <maa/generator/behavior_recipe.hpp>
#include <maa/generator/training_data.hpp>
#include <maa/models/policy.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config>
struct BehaviorBatch {
  using Data = TrainingData<Network, Config>;

  PromptFeatures<float> features;  // of batch * demonstrations
  SupportSet support;              // of batch prompts
  SequenceView<float>
      observations;             // queries [batch, queries, O], normalised as the standardised policies expect
  SequenceView<float> actions;  // [batch, queries, A]

  // Sample i is of the task task_for(i, rng). Draws prompts and query steps; the demonstrations of a prompt
  // are drawn one by one (two may be the same), all of one style. Demonstrations and queries of a sample
  // undergo the same augmentation.
  template <class TaskFor>
  BehaviorBatch(const Data& data, const GeneratorState<Network, Config>& state,
                const BehaviorOptions& options, Index batch, Index demonstrations, const TaskFor& task_for,
                const Rng& rng, Workspace& workspace) {
    const PromptPath<Network, Config> path(state);
    features = path.allocate_features(batch * demonstrations, workspace);
    support = path.allocate_support(batch, demonstrations, 1, workspace);
    observations = workspace.sequence<float>(batch, options.queries, Network::observation_size);
    actions = workspace.sequence<float>(batch, options.queries, Network::action_size);
    for (Index i = 0; i < batch; ++i) {
      auto draw = rng.fork(static_cast<std::uint64_t>(i));
      const TaskTrajectories& task = task_for(i, draw);
      const auto transform = draw.fork(0);
      Index shown = pick(task.prompts, draw);
      const auto style = data.style_of_trajectory[static_cast<std::size_t>(shown)];
      const TaskTrajectories& alike = data.styles[static_cast<std::size_t>(style)];
      const Index maker = options.maker_queries > 0 ? data.makers[static_cast<std::size_t>(shown)] : -1;
      for (Index k = 0; k < demonstrations; ++k) {
        const Index at = i * demonstrations + k;
        if (k > 0) {
          shown = pick(alike.prompts, draw);
        }
        const auto changed = changed_demonstration(data.trajectory(shown), options, transform, draw);
        path.write_features(changed, at, features);
        path.write_support(changed, at, draw.fork(static_cast<std::uint64_t>(at)), support);
      }
      const MatrixView<float> seen(observations.data + i * options.queries * observations.channels,
                                   options.queries, observations.channels);
      const MatrixView<float> done(actions.data + i * options.queries * actions.channels, options.queries,
                                   actions.channels);
      if (maker < 0) {
        write_recorded(data, alike.all, draw, seen, done);
      } else {
        write_made(data, alike.all, maker, options.maker_queries, draw, seen, done);
      }
      if (options.augmentation.apply) {
        options.augmentation.apply(transform, seen, done);
      }
    }
    state.standardizer.observations().apply(observations.flat());
  }

 private:
  static Index pick(const std::vector<Index>& from, Rng& draw) {
    return from[static_cast<std::size_t>(draw.below(static_cast<Index>(from.size())))];
  }

  static Trajectory changed_demonstration(Trajectory demonstration, const BehaviorOptions& options,
                                          const Rng& transform, Rng& draw) {
    if (options.augmentation.apply) {
      options.augmentation.apply(transform, demonstration.observations(), demonstration.actions());
    }
    for (float& action : demonstration.actions().span()) {
      action += static_cast<float>(options.prompt_action_noise * draw.normal());
    }
    return demonstration;
  }

  // Steps of the trajectories as recorded.
  static void write_recorded(const Data& data, const std::vector<Index>& trajectories, Rng& draw,
                             MatrixView<float> seen, MatrixView<float> done) {
    for (Index q = 0; q < seen.rows; ++q) {
      const auto& trajectory = data.trajectory(pick(trajectories, draw));
      const Index step = draw.below(trajectory.length());
      const auto labels =
          trajectory.has_target_actions() ? trajectory.target_actions() : trajectory.actions();
      std::copy_n(trajectory.observations().row(step), seen.cols, seen.row(q));
      std::copy_n(labels.row(step), done.cols, done.row(q));
    }
  }
  // What policy `maker` does at states of the trajectories and, for a share `elsewhere`, of any others.
  static void write_made(const Data& data, const std::vector<Index>& trajectories, Index maker,
                         double elsewhere, Rng& draw, MatrixView<float> seen, MatrixView<float> done) {
    for (Index q = 0; q < seen.rows; ++q) {
      const bool own = draw.uniform() >= elsewhere;
      const auto& trajectory =
          data.trajectory(pick(own ? trajectories : data.split.train.trajectories, draw));
      std::copy_n(trajectory.observations().row(draw.below(trajectory.length())), seen.cols, seen.row(q));
    }
    const MlpPolicy<Network> policy(data.dataset.weight_matrix().row_span(maker));
    policy.act_batch(seen.span(), done.span());
  }
};

}  // namespace detail
MAA_NAMESPACE_END
