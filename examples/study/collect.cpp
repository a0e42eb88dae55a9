// Scripted experts as demonstrators: their episodes with execution noise, then those of clones corrected by
// them (DAgger).
#include <atomic>

#include "data.hpp"
#include "episodes.hpp"
#include "interface.hpp"
#include "interrupt.hpp"
#include "parallel.hpp"

namespace maa::examples::study {
namespace {

using Json = nlohmann::ordered_json;

constexpr double noisy[] = {0.0, 0.1, 0.3, 0.6};
constexpr double quiet[] = {0.0, 0.1, 0.2, 0.3};
constexpr std::uint64_t placement_stream = 0x706c;

// The episodes of one kind, a file per task. A file that was made alike is read; the others are made in
// parallel, and each is written when its last episode is done.
class Shards {
 public:
  // `origin` is what the episodes depend on besides their task.
  Shards(const Options& options, const std::filesystem::path& folder, std::string kind, Json origin)
      : options_(options), folder_(folder), kind_(std::move(kind)), origin_(std::move(origin)) {
    std::filesystem::create_directories(folder);
  }

  // make(task, number) records episode `number` of a task. The episodes come back task by task.
  template <class Make>
  std::vector<Trajectory> episodes(const std::string& label, const std::vector<std::string>& tasks,
                                   Index per_task, const Make& make) const {
    std::vector<std::vector<Trajectory>> shards(tasks.size());
    std::vector<std::size_t> missing;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (!read(tasks[t], shards[t])) {
        shards[t].resize(static_cast<std::size_t>(per_task));
        missing.push_back(t);
      }
    }
    std::vector<std::atomic<Index>> left(tasks.size());
    std::ranges::fill(left, per_task);
    run_parallel(label, options_.threads, static_cast<Index>(missing.size()) * per_task, [&](Index i) {
      const std::size_t t = missing[static_cast<std::size_t>(i / per_task)];
      shards[t][static_cast<std::size_t>(i % per_task)] = make(tasks[t], i % per_task);
      if (--left[t] == 0) {
        write(tasks[t], shards[t]);
      }
    });
    std::vector<Trajectory> all;
    for (auto& shard : shards) {
      std::ranges::move(shard, std::back_inserter(all));
    }
    return all;
  }

 private:
  std::filesystem::path path(const std::string& task) const {
    return folder_ / (kind_ + '_' + task + ".safetensors");
  }
  std::string origin(const std::string& task) const {
    auto all = origin_;
    all["kind"] = kind_;
    all["task"] = task;
    return all.dump();
  }
  bool read(const std::string& task, std::vector<Trajectory>& episodes) const {
    if (!std::filesystem::exists(path(task))) {
      return false;
    }
    auto shard = Dataset::load(path(task));
    if (shard.provenance["origin"] != origin(task)) {
      return false;
    }
    episodes = std::move(shard.trajectories);
    return true;
  }
  void write(const std::string& task, const std::vector<Trajectory>& episodes) const {
    Dataset shard(episodes.front().observation_size(), episodes.front().action_size(), 0, {task});
    shard.trajectories = episodes;
    shard.provenance["origin"] = origin(task);
    shard.save(path(task));
  }

  const Options& options_;
  std::filesystem::path folder_;
  std::string kind_;
  Json origin_;
};

// The run of a task's episode, and the placement that it acts in.
std::int64_t run_of(const Options& options, Index number) {
  return options.data.placement_per_run ? number % options.data.runs : -1;
}
Placement placement_of(const Options& options, const Simulator& simulator, Environment& environment,
                       std::uint64_t seed, Index number) {
  return environment.draw_placement(options.data.placement_per_run
                                        ? seed_for(options, Purpose::run_placements,
                                                   task_number(simulator, environment.task()),
                                                   run_of(options, number))
                                        : seed);
}

Rng episode_rng(const Options& options, const Simulator& simulator, const std::string& task,
                const ExpertEpisodes& episodes, Index number) {
  return Rng(seed_for(options, episodes.purpose, task_number(simulator, task), number)).fork(episodes.seed);
}

// Trains one clone per trained task on all its episodes, going on from `weights` [tasks, P].
void train_clones(const Options& options, const PolicyType& policy, const ExampleTable& table,
                  const Normalizer& normalizer, const std::vector<Trajectory>& episodes, Index round,
                  MatrixView<float> weights) {
  CloningExamples examples{table.observation_matrix(), table.action_matrix(), {}};
  for (const auto& task : options.tasks.trained()) {
    auto& rows = examples.rows.emplace_back();
    for (std::size_t e = 0; e < episodes.size(); ++e) {
      for (Index row = table.first[e]; episodes[e].task == task && row < table.first[e + 1]; ++row) {
        rows.push_back(row);
      }
    }
  }
  CloningOptions cloning;
  cloning.steps = options.data.dagger_steps[static_cast<std::size_t>(round)];
  cloning.batch = options.data.batch;
  cloning.learning_rate.base = options.data.learning_rate;
  cloning.seed = seed_for(options, Purpose::dagger_training, round);
  Progress progress("clones, round " + std::to_string(round + 1), cloning.steps);
  clone(policy, options.threads, normalizer, examples, cloning, weights,
        [&](const BehaviorCloner& cloner, double loss) {
          progress.update(cloner.step_count(), concatenate("loss ", loss));
        });
}

// Episodes of each task's clone with the expert's actions as labels.
std::vector<Trajectory> clone_episodes(const Options& options, Simulator& simulator, const Shards& shards,
                                       Index round, MatrixView<const float> weights) {
  const auto tasks = options.tasks.trained();
  return shards.episodes(
      "their episodes", tasks, options.data.dagger_episodes, [&](const std::string& task, Index number) {
        const auto environment = simulator.make_environment(task);
        const Index position = std::ranges::find(tasks, task) - tasks.begin();
        const auto policy = simulator.interface().policy.make(weights.row_span(position));
        const auto seed =
            seed_for(options, Purpose::dagger_episodes, task_number(simulator, task), round, number);
        auto episode = record_episode(
            *environment, placement_of(options, simulator, *environment, seed, number),
            [&](std::span<const float> observation, std::span<float> action) {
              policy->act(observation, action);
            },
            expert_of(*environment), {}, Rng(seed), options.data.recorded_steps);
        episode.run = run_of(options, number);
        return episode;
      });
}

}  // namespace

std::span<const Trajectory> trained_episodes(const Options& options, const Dataset& dataset) {
  const auto& held_out = options.tasks.validation;
  const auto end = std::ranges::find_if(dataset.trajectories, [&](const Trajectory& trajectory) {
    return std::ranges::find(held_out, trajectory.task) != held_out.end();
  });
  return {dataset.trajectories.begin(), end};
}

ExampleTable::ExampleTable(std::span<const Trajectory> episodes) {
  first.push_back(0);
  for (const auto& episode : episodes) {
    observation_size = episode.observation_size();
    action_size = episode.action_size();
    first.push_back(first.back() + episode.length());
  }
  observations = Buffer<float>(first.back() * observation_size);
  actions = Buffer<float>(first.back() * action_size);
  for (std::size_t e = 0; e < episodes.size(); ++e) {
    const auto seen = episodes[e].observations();
    const auto wanted = episodes[e].target_actions();
    std::copy_n(seen.data, seen.size(), observations.data() + first[e] * observation_size);
    std::copy_n(wanted.data, wanted.size(), actions.data() + first[e] * action_size);
  }
}

Normalizer observation_normalizer(const ExampleTable& table) {
  return Normalizer::standard(table.observation_matrix(), 1e-3, 0.03);
}

void initial_weights(const NetworkType& network, const Normalizer& normalizer, std::uint64_t seed,
                     std::span<float> weights) {
  initialize_policy(network, weights, Rng(seed), 0);
  network.fold(normalizer, weights);
}

Placement episode_placement(const Options& options, Simulator& simulator, const std::string& task,
                            const ExpertEpisodes& episodes, Index number) {
  const auto environment = simulator.make_environment(task);
  const auto seed = episode_rng(options, simulator, task, episodes, number).fork(placement_stream).next_u64();
  return episodes.purpose == Purpose::test_prompts
             ? environment->draw_placement(seed)
             : placement_of(options, simulator, *environment, seed, number);
}

Trajectory expert_episode(const Options& options, Simulator& simulator, const std::string& task,
                          const ExpertEpisodes& episodes, Index number) {
  const auto placement = episode_placement(options, simulator, task, episodes, number);
  const auto environment = simulator.make_environment(task);
  Rng rng = episode_rng(options, simulator, task, episodes, number);
  ExecutionNoise execution;
  execution.deviation = episodes.noise[static_cast<std::size_t>(number) % episodes.noise.size()];
  if (rng.uniform() < episodes.burst_share) {
    execution.burst_start = rng.below(50);
    execution.burst_length = 4 + rng.below(10);
  }
  auto episode = record_episode(*environment, placement, expert_of(*environment), expert_of(*environment),
                                execution, rng.fork(1), options.data.recorded_steps);
  episode.run = episodes.purpose == Purpose::test_prompts ? -1 : run_of(options, number);
  return episode;
}

Dataset collect(const Options& options, Simulator& simulator, const std::filesystem::path& folder) {
  auto tasks = options.tasks.trained();
  const auto trained = tasks;
  tasks.insert(tasks.end(), options.tasks.validation.begin(), options.tasks.validation.end());
  const auto& policy = simulator.interface().policy;
  Dataset dataset(policy.observation_size(), policy.action_size(), policy.parameter_count(), tasks);
  dataset.policy_shape = policy.shape;
  dataset.provenance["simulator"] = simulator.name();
  for (const auto& [name, version] : simulator.versions()) {
    dataset.provenance["version." + name] = version;
  }
  const auto add = [&](std::vector<Trajectory> episodes) {
    for (auto& episode : episodes) {
      dataset.add_trajectory(std::move(episode));
    }
  };
  const auto experts = [&](const char* kind, const std::vector<std::string>& of,
                           const ExpertEpisodes& episodes) {
    const Shards shards(options, folder, kind,
                        {{"seed", options.seed},
                         {"versions", simulator.versions()},
                         {"count", episodes.count},
                         {"noise", episodes.noise},
                         {"burst_share", episodes.burst_share},
                         {"recorded_steps", options.data.recorded_steps},
                         {"runs", options.data.placement_per_run ? options.data.runs : 0}});
    add(shards.episodes(episodes.label, of, episodes.count, [&](const std::string& task, Index number) {
      return expert_episode(options, simulator, task, episodes, number);
    }));
  };
  const ExpertEpisodes noisy_ones{"noisy experts", Purpose::noisy_episodes, options.data.noisy_episodes,
                                  noisy, 0.5};
  const ExpertEpisodes quiet_ones{"quieter experts", Purpose::prompt_episodes, options.data.prompt_episodes,
                                  quiet, 0};
  experts("noisy", trained, noisy_ones);
  experts("quiet", trained, quiet_ones);

  const auto clones = static_cast<Index>(trained.size());
  Buffer<float> storage(clones * dataset.parameter_count);
  const MatrixView<float> weights(storage.data(), clones, dataset.parameter_count);
  for (Index round = 0; round < static_cast<Index>(options.data.dagger_steps.size()); ++round) {
    const ExampleTable table(dataset.trajectories);
    const auto normalizer = observation_normalizer(table);
    for (Index i = 0; round == 0 && i < clones; ++i) {
      initial_weights(policy, normalizer, seed_for(options, Purpose::initialisation), weights.row_span(i));
    }
    train_clones(options, policy, table, normalizer, dataset.trajectories, round, weights);
    auto origin = depends_on(options, "data");
    origin["versions"] = simulator.versions();
    const Shards shards(options, folder, concatenate("clone", round + 1), origin);
    add(clone_episodes(options, simulator, shards, round, weights));
  }
  experts("noisy", options.tasks.validation, noisy_ones);
  experts("quiet", options.tasks.validation, quiet_ones);
  return dataset;
}

}  // namespace maa::examples::study
