// Episodes: scripted experts with execution noise, then clones corrected by the experts (DAgger).
#include <maa/models/policy.hpp>

#include "data.hpp"
#include "episodes.hpp"
#include "parallel.hpp"
#include "tabletop.hpp"

namespace maa::examples::quickstart {
namespace {

constexpr double noisy[] = {0.0, 0.1, 0.3, 0.6};
constexpr double quiet[] = {0.0, 0.1, 0.2, 0.3};

// Trains one clone per seen task on all its episodes, going on from `weights` [tasks, P].
void train_clones(const Options& options, const ExampleTable& table, const Normalizer& normalizer,
                  const std::vector<Trajectory>& episodes, Index round, MatrixView<float> weights) {
  const cpu::Backend backend(options.threads);
  CloningExamples examples{table.observation_matrix(), table.action_matrix(), {}};
  for (const auto& task : options.tasks.seen) {
    auto& rows = examples.rows.emplace_back();
    for (std::size_t e = 0; e < episodes.size(); ++e) {
      for (Index row = table.first[e]; episodes[e].task == task && row < table.first[e + 1]; ++row) {
        rows.push_back(row);
      }
    }
  }
  CloningOptions cloning;
  cloning.steps = options.dagger_steps[static_cast<std::size_t>(round)];
  cloning.batch = options.batch;
  cloning.learning_rate.base = options.learning_rate;
  cloning.seed = seed_for(options, Purpose::dagger_training, round);
  BehaviorCloner<MetaWorldNetwork> cloner(backend, normalizer, weights, cloning);
  Progress progress("clones, round " + std::to_string(round + 1), cloning.steps);
  while (cloner.step_count() < cloning.steps) {
    stop_if_interrupted();
    const double loss = cloner.step(examples);
    progress.update(cloner.step_count(), concatenate("loss ", loss));
  }
  cloner.export_weights(weights);
}

// Episodes of each task's clone with the expert's actions as labels, added to the data.
void add_clone_episodes(const Options& options, Index round, MatrixView<const float> weights,
                        Dataset& dataset) {
  const Index per_task = options.dagger_episodes;
  std::vector<Trajectory> episodes(options.tasks.seen.size() * static_cast<std::size_t>(per_task));
  std::vector<MetaWorldPolicy> policies;
  for (Index i = 0; i < weights.rows; ++i) {
    policies.emplace_back(weights.row_span(i));
  }
  run_parallel("their episodes", options.threads, static_cast<Index>(episodes.size()), [&](Index i) {
    const Index task = i / per_task;
    const auto environment = tabletop::make_environment(options.tasks.seen[static_cast<std::size_t>(task)]);
    const auto seed = seed_for(options, Purpose::dagger_episodes, task, round, i % per_task);
    const auto& policy = policies[static_cast<std::size_t>(task)];
    episodes[static_cast<std::size_t>(i)] = record_episode(
        *environment, environment->draw_placement(seed),
        [&](std::span<const float> observation, std::span<float> action) { policy.act(observation, action); },
        {}, Rng(seed));
  });
  for (auto& episode : episodes) {
    dataset.add_trajectory(std::move(episode));
  }
}

}  // namespace

ExampleTable::ExampleTable(const std::vector<Trajectory>& episodes) {
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

void initial_weights(const Normalizer& normalizer, std::uint64_t seed, std::span<float> weights) {
  initialize_policy<MetaWorldNetwork>(weights, Rng(seed));
  fold_normalizer<MetaWorldNetwork>(normalizer, weights);
}

std::vector<Trajectory> expert_episodes(const Options& options, const std::string& label,
                                        const std::vector<std::string>& tasks, Purpose purpose, Index count,
                                        std::span<const double> noise, double burst_share) {
  std::vector<Trajectory> episodes(tasks.size() * static_cast<std::size_t>(count));
  run_parallel(label, options.threads, static_cast<Index>(episodes.size()), [&](Index i) {
    const Index task = i / count;
    const auto environment = tabletop::make_environment(tasks[static_cast<std::size_t>(task)]);
    const auto& names = tabletop::task_names();
    const Index number = std::ranges::find(names, environment->task()) - names.begin();
    const auto seed = seed_for(options, purpose, number, i % count);
    Rng rng(seed);
    ExecutionNoise execution;
    execution.deviation = noise[static_cast<std::size_t>(i % count) % noise.size()];
    if (rng.uniform() < burst_share) {
      execution.burst_start = rng.below(50);
      execution.burst_length = 4 + rng.below(10);
    }
    episodes[static_cast<std::size_t>(i)] = record_episode(*environment, environment->draw_placement(seed),
                                                           expert_of(*environment), execution, rng.fork(1));
  });
  return episodes;
}

Dataset collect(const Options& options) {
  Dataset dataset(MetaWorldNetwork::observation_size, MetaWorldNetwork::action_size,
                  parameter_count<MetaWorldNetwork>, options.tasks.seen);
  for (auto& episode : expert_episodes(options, "noisy experts", options.tasks.seen, Purpose::noisy_episodes,
                                       options.noisy_episodes, noisy, 0.5)) {
    dataset.add_trajectory(std::move(episode));
  }
  for (auto& episode : expert_episodes(options, "quieter experts", options.tasks.seen,
                                       Purpose::prompt_episodes, options.prompt_episodes, quiet, 0)) {
    dataset.add_trajectory(std::move(episode));
  }
  const auto tasks = static_cast<Index>(options.tasks.seen.size());
  Buffer<float> storage(tasks * dataset.parameter_count);
  const MatrixView<float> weights(storage.data(), tasks, dataset.parameter_count);
  for (Index round = 0; round < static_cast<Index>(options.dagger_steps.size()); ++round) {
    const ExampleTable table(dataset.trajectories);
    const auto normalizer = observation_normalizer(table);
    for (Index i = 0; round == 0 && i < tasks; ++i) {
      initial_weights(normalizer, seed_for(options, Purpose::initialisation), weights.row_span(i));
    }
    train_clones(options, table, normalizer, dataset.trajectories, round, weights);
    add_clone_episodes(options, round, weights, dataset);
  }
  return dataset;
}

}  // namespace maa::examples::quickstart
