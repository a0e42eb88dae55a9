// The zoo: several runs per task, from one common initialisation unless options say otherwise, trained as one
// batch, with snapshots on the way.
#include "data.hpp"
#include "progress.hpp"

namespace maa::examples::study {
namespace {

// Each run's random share of its task's episodes, or its own episodes.
CloningExamples run_examples(const Options& options, std::span<const Trajectory> trajectories,
                             const ExampleTable& table) {
  CloningExamples examples{table.observation_matrix(), table.action_matrix(), {}};
  const auto tasks = options.tasks.trained();
  for (Index task = 0; task < static_cast<Index>(tasks.size()); ++task) {
    for (Index run = 0; run < options.data.runs; ++run) {
      std::vector<std::size_t> order;
      for (std::size_t e = 0; e < trajectories.size(); ++e) {
        if (trajectories[e].task == tasks[static_cast<std::size_t>(task)] &&
            (trajectories[e].run < 0 || trajectories[e].run == run)) {
          order.push_back(e);
        }
      }
      const double share = options.data.placement_per_run ? 1 : options.data.run_share;
      const auto kept =
          std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(order.size())));
      Rng(seed_for(options, Purpose::zoo_episodes, task, run)).shuffle(std::span(order));
      auto& rows = examples.rows.emplace_back();
      for (std::size_t k = 0; k < kept; ++k) {
        for (Index row = table.first[order[k]]; row < table.first[order[k] + 1]; ++row) {
          rows.push_back(row);
        }
      }
    }
  }
  return examples;
}

}  // namespace

void add_zoo(const Options& options, const PolicyType& policy, Dataset& dataset, TrainingLog& log) {
  const auto episodes = trained_episodes(options, dataset);
  const ExampleTable table(episodes);
  const auto normalizer = observation_normalizer(table);
  const auto examples = run_examples(options, episodes, table);
  const auto policies = static_cast<Index>(examples.rows.size());

  Buffer<float> storage(policies * dataset.parameter_count);
  const MatrixView<float> weights(storage.data(), policies, dataset.parameter_count);
  for (Index i = 0; i < policies; ++i) {
    const Index start = options.data.shared_start ? 0 : 1 + i;
    initial_weights(policy, normalizer, seed_for(options, Purpose::initialisation, start),
                    weights.row_span(i));
  }
  CloningOptions cloning;
  cloning.steps = options.data.zoo_steps;
  cloning.batch = options.data.batch;
  cloning.learning_rate.base = options.data.learning_rate;
  cloning.seed = seed_for(options, Purpose::zoo_training);
  cloning.loss = policy.layout.log_std ? CloningLoss::likelihood : CloningLoss::squared_error;
  dataset.reserve_policies(dataset.policy_count() + policies * options.data.snapshots);
  const Index first = options.data.zoo_steps / 2;
  Index taken = 0;
  Progress progress(concatenate(policies, " policies"), cloning.steps);
  const auto on_step = [&](const BehaviorCloner& cloner, double loss) {
    const Index step = cloner.step_count();
    progress.update(step, concatenate("loss ", loss));
    if (step % std::max<Index>(1, cloning.steps / 200) == 0) {
      log.add("zoo", step, cloning.steps, loss);
    }
    if (step == first + (taken + 1) * (cloning.steps - first) / options.data.snapshots) {
      ++taken;
      cloner.export_weights(weights);
      for (Index i = 0; i < policies; ++i) {
        dataset.add_policy({i / options.data.runs, i % options.data.runs, step}, weights.row_span(i));
      }
    }
  };
  clone(policy, options.threads, normalizer, examples, cloning, weights, on_step);
}

}  // namespace maa::examples::study
