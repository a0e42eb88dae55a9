// A dataset as the training stages see it: split by run, normalised, prompts found, pairs listed.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/generator/prompt_path.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Trajectories of a task or style: demonstrations to be prompts, and all to take states from.
struct TaskTrajectories {
  std::vector<Index> prompts;
  std::vector<Index> all;
};

template <class Network, class Config>
struct TrainingData {
  const Dataset& dataset;
  RunSplit split;              // of the tasks not held out
  std::vector<Index> prompts;  // trajectories usable as prompts in training
  std::vector<Index>
      contrasted;  // positions in `prompts` of those whose states after success embedders learn from
  std::vector<Index> task_of_trajectory;
  std::vector<Index> style_of_trajectory;           // equal for those that act alike
  std::vector<TaskTrajectories> styles;             // by their numbers, as the lists of tasks below
  std::vector<Index> makers;                        // TrajectoryCheck::maker of each trajectory, -1: none
  std::vector<std::vector<Index>> prompts_of_task;  // positions in `prompts`
  std::vector<TaskTrajectories> training_tasks;  // those with prompts, without trajectories of held-out runs
  std::vector<TaskTrajectories> validation_tasks;  // FitOptions::validation_tasks
  Buffer<float> standardized;                      // [policies, parameters]
  Buffer<float> trajectory_features;               // [prompts * segments, ...]
  Buffer<float> success_features;

  static constexpr Index segments = Config::prompt.segments;
  static constexpr auto h_size = GeneratorModel<Network, Config>::trajectory_features;
  static constexpr auto v_size = GeneratorModel<Network, Config>::success_features;

  // Fits the normalisers of `state`, as `use` says. Error if the dataset does not suit the network or holds
  // too little. Where a task has prompts that reach success, those that do not are none, unless conditions
  // show h alone; embedders learn from the former then, too.
  MAA_COLD TrainingData(const Dataset& data, const FitOptions& options, const DataUse& use,
                        GeneratorState<Network, Config>& state)
      : dataset(data), split(checked(data, use).split_by_run(options.validation_fraction, options.seed)) {
    const auto held_out = data.named_tasks(options.validation_tasks, "validation_tasks");
    // Trajectories that belong to no run serve all policies of their task and stay in training.
    for (Index i = 0; i < static_cast<Index>(data.trajectories.size()); ++i) {
      task_of_trajectory.push_back(data.task_index(trajectory(i).task));
    }
    remove_tasks(held_out);
    fit_normalizers(use, options.seed, state);
    makers.assign(data.trajectories.size(), -1);
    style_of_trajectory =
        find_styles(data, use.styles, task_of_trajectory, state.standardizer.observations());
    const auto seen = seen_parts(Config::condition, options.condition);
    find_prompts(use.paper_prompts ? Config::prompt.paper_needs(seen) : Config::prompt.needs(seen),
                 seen == ConditionParts::h, held_out);
    standardized = Buffer<float>(data.policy_count() * Network_size);
    for (Index i = 0; i < data.policy_count(); ++i) {
      state.standardizer.standardize(data.weight_matrix().row(i), standardized.data() + i * Network_size);
    }
    write_features(state);
  }

  const Trajectory& trajectory(Index i) const { return dataset.trajectories[static_cast<std::size_t>(i)]; }
  MatrixView<const float> policy(Index i) const {
    return {standardized.data() + i * Network_size, 1, Network_size};
  }

  // A random prompt (position in `prompts`) for policy number `policy`: one that it made; if none is known,
  // of its run or no run; if there is none, of its task.
  Index draw_prompt(Index policy, Rng& rng) const {
    const auto& record = dataset.policies[static_cast<std::size_t>(policy)];
    const auto& candidates = prompts_of_task[static_cast<std::size_t>(record.task)];
    const auto draw = [&](const auto& suits) -> Index {
      const Index count = std::ranges::count_if(candidates, suits);
      Index pick = count > 0 ? rng.below(count) : 0;
      const auto found =
          std::ranges::find_if(candidates, [&](Index position) { return suits(position) && pick-- == 0; });
      return found == candidates.end() ? -1 : *found;
    };
    Index found = draw([&](Index position) {
      const auto trajectory = static_cast<std::size_t>(prompts[static_cast<std::size_t>(position)]);
      return makers[trajectory] == policy;
    });
    if (found < 0) {
      found = draw([&](Index position) { return belongs(position, record); });
    }
    return found < 0 ? draw([](Index) { return true; }) : found;
  }

 private:
  static constexpr auto Network_size = parameter_count<Network>;

  static const Dataset& checked(const Dataset& data, const DataUse& use) {
    data.validate();
    data.require_type<Network>("fit");
    require(!data.trajectories.empty(), "fit: expected trajectories, found none beside ", data.policy_count(),
            " policies");
    require(data.policy_count() > 0 || !use.needs_policies,
            "fit: this recipe learns from policies' weights; "
            "expected some, found none beside ",
            data.trajectories.size(), " trajectories (BehaviorRecipe does without)");
    return data;
  }
  MAA_COLD void find_prompts(const PromptNeeds& needs, bool failures, const std::vector<bool>& held_out) {
    prompts_of_task.resize(dataset.tasks.size());
    std::vector<TaskTrajectories> tasks(dataset.tasks.size());
    std::vector<bool> reached(dataset.tasks.size());
    const auto suits = [&](Index i) { return needs.met_by(trajectory(i)); };
    const auto task_of = [&](Index i) {
      return static_cast<std::size_t>(task_of_trajectory[static_cast<std::size_t>(i)]);
    };
    auto given = split.train.trajectories;
    for (Index i = 0; i < static_cast<Index>(dataset.trajectories.size()); ++i) {
      if (held_out[task_of(i)]) {
        given.push_back(i);
      }
    }
    const auto style_of = [&](Index i) -> TaskTrajectories& {
      return styles[static_cast<std::size_t>(style_of_trajectory[static_cast<std::size_t>(i)])];
    };
    styles.resize(dataset.trajectories.size());  // at most
    for (const Index i : given) {
      style_of(i).all.push_back(i);
      tasks[task_of(i)].all.push_back(i);
      reached[task_of(i)] = reached[task_of(i)] || (suits(i) && reaches(i));
    }
    for (const Index i : given) {
      const auto task = task_of(i);
      const bool shows_success = reaches(i) || !reached[task] || Config::prompt.kind == PromptKind::segments;
      if (suits(i) && (shows_success || failures)) {
        tasks[task].prompts.push_back(i);
        style_of(i).prompts.push_back(i);
        if (!held_out[task]) {
          prompts_of_task[task].push_back(static_cast<Index>(prompts.size()));
          if (shows_success) {
            contrasted.push_back(static_cast<Index>(prompts.size()));
          }
          prompts.push_back(i);
        }
      }
    }
    require(!prompts.empty(), "fit: ", no_prompt(split.train.trajectories, needs));
    for (const Index i : split.train.policies) {
      const auto task = static_cast<std::size_t>(dataset.policies[static_cast<std::size_t>(i)].task);
      require(!prompts_of_task[task].empty(), "fit: task ", quote(dataset.tasks[task]), " has policies, but ",
              no_prompt(tasks[task].all, needs), ", held out runs aside (a negative run is never held out)");
    }
    for (std::size_t task = 0; task < tasks.size(); ++task) {
      require(!held_out[task] || !tasks[task].prompts.empty(), "fit: validation task ",
              quote(dataset.tasks[task]), ": ", no_prompt(tasks[task].all, needs));
      if (!tasks[task].prompts.empty()) {
        (held_out[task] ? validation_tasks : training_tasks).push_back(std::move(tasks[task]));
      }
    }
  }
  bool reaches(Index i) const { return trajectory(i).success_step.has_value(); }
  // Why none of these trajectories is a prompt.
  MAA_COLD std::string no_prompt(const std::vector<Index>& of, const PromptNeeds& needs) const {
    const auto enough =
        std::ranges::count_if(of, [&](Index i) { return trajectory(i).length() >= needs.steps; });
    if (of.empty()) {
      return "there is no trajectory";
    }
    return enough == 0
               ? concatenate("none of ", of.size(), " trajectories has at least ", needs.steps, " steps")
               : concatenate("none of ", enough, " trajectories of at least ", needs.steps,
                             " steps reaches success (", of.size(), " in all)");
  }
  MAA_COLD void remove_tasks(const std::vector<bool>& held_out) {
    for (auto* side : {&split.train, &split.validation}) {
      std::erase_if(side->policies, [&](Index i) {
        return held_out[static_cast<std::size_t>(dataset.policies[static_cast<std::size_t>(i)].task)];
      });
      std::erase_if(side->trajectories, [&](Index i) {
        return held_out[static_cast<std::size_t>(task_of_trajectory[static_cast<std::size_t>(i)])];
      });
    }
    require((!split.train.policies.empty() || dataset.policies.empty()) && !split.train.trajectories.empty(),
            "fit: expected policies and trajectories of tasks that are not for validation, found ",
            split.train.policies.size(), " and ", split.train.trajectories.size());
  }
  bool belongs(Index position, const PolicyRecord& record) const {
    const auto run = trajectory(prompts[static_cast<std::size_t>(position)]).run;
    return run < 0 || run == record.run;
  }

  MAA_COLD void fit_normalizers(const DataUse& use, std::uint64_t seed,
                                GeneratorState<Network, Config>& state) {
    Index steps = 0;
    for (const Index i : split.train.trajectories) {
      steps += trajectory(i).length();
    }
    Buffer<float> observations(steps * Network::observation_size);
    Buffer<float> actions(steps * Network::action_size);
    float* next_observation = observations.data();
    float* next_action = actions.data();
    for (const Index i : split.train.trajectories) {
      const auto from = trajectory(i).observations().span();
      next_observation = std::copy(from.begin(), from.end(), next_observation);
      const auto acted = trajectory(i).actions().span();
      next_action = std::copy(acted.begin(), acted.end(), next_action);
    }
    const MatrixView<const float> observation_rows(observations.data(), steps, Network::observation_size);
    const MatrixView<const float> action_rows(actions.data(), steps, Network::action_size);
    const bool standardize = use.scaling == Scaling::standard;
    state.settings.prompt_limit = standardize && !use.raw_prompts ? 4 : 0;
    const auto set_encoder = [&](Normalizer of_observations, Normalizer of_actions) {
      if (use.raw_prompts) {
        of_observations = Normalizer(Network::observation_size);
        of_actions = Normalizer(Network::action_size);
      }
      state.prompt_encoder = PromptEncoder(Config::prompt, std::move(of_observations), std::move(of_actions),
                                           static_cast<float>(state.settings.prompt_limit));
    };
    if (standardize) {
      const auto normalizer = Normalizer::standard(observation_rows, 1e-3, 0.03);
      set_encoder(normalizer, Normalizer(Network::action_size));
      if (dataset.policies.empty()) {
        state.standardizer = WeightStandardizer<Network>::untrained(normalizer, Rng(seed).fork(0x62617365u));
        return;
      }
      Buffer<float> rows(static_cast<Index>(split.train.policies.size()) * Network_size);
      for (std::size_t k = 0; k < split.train.policies.size(); ++k) {
        std::copy_n(dataset.weight_matrix().row(split.train.policies[k]), Network_size,
                    rows.data() + static_cast<Index>(k) * Network_size);
      }
      state.standardizer = WeightStandardizer<Network>(
          normalizer, MatrixView<const float>(rows.data(), static_cast<Index>(split.train.policies.size()),
                                              Network_size));
    } else {
      set_encoder(Normalizer::limits(observation_rows), Normalizer::limits(action_rows));
      state.standardizer = WeightStandardizer<Network>();
    }
  }

  void write_features(const GeneratorState<Network, Config>& state) {
    const auto count = static_cast<Index>(prompts.size());
    trajectory_features = Buffer<float>(count * segments * h_size);
    success_features = Buffer<float>(count * segments * v_size);
    const PromptFeatures<float> features{{trajectory_features.data(), count * segments, h_size},
                                         {success_features.data(), count * segments, v_size}};
    for (Index i = 0; i < count; ++i) {
      PromptPath<Network, Config>(state).write_features(trajectory(prompts[static_cast<std::size_t>(i)]), i,
                                                        features);
    }
  }
};

}  // namespace detail
MAA_NAMESPACE_END
