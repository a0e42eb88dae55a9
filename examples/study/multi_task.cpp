#include "multi_task.hpp"

#include "progress.hpp"

namespace maa::examples::study {
namespace {

constexpr Index cloning_batch = 512;

Trajectory reflected(const Symmetry& symmetry, Trajectory trajectory) {
  for (Index step = 0; step < trajectory.length(); ++step) {
    mirror(symmetry, trajectory.observations().row_span(step), trajectory.actions().row_span(step));
  }
  return trajectory;
}

// Rows of [observation, embedding of a random prompt of the task] and the expert's action; each episode as it
// is and reflected. Of tasks with a prompt, an episode that succeeds.
struct ConditionedTable {
  ConditionedTable(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                   const Model& model)
      : inputs(model.conditioned_network().observation_size()) {
    const Index observations = dataset.observation_size;
    const Index actions = dataset.action_size;
    const auto episodes = trained_episodes(options, dataset);
    const ExampleTable table(episodes);
    rows = 2 * table.first.back();
    seen = Buffer<float>(rows * inputs);
    wanted = Buffer<float>(rows * actions);
    Rng rng(seed_for(options, Purpose::multi_task));
    Index row = 0;
    for (const bool mirrored : {false, true}) {
      std::vector<Trajectory> prompts;
      std::vector<std::vector<Index>> of_task(dataset.tasks.size());
      for (const auto& episode : episodes) {
        if (episode.success_step) {
          of_task[static_cast<std::size_t>(dataset.task_index(episode.task))].push_back(
              static_cast<Index>(prompts.size()));
          prompts.push_back(mirrored ? reflected(symmetry, episode) : episode);
        }
      }
      const auto embeddings = model.embed(prompts);
      for (std::size_t e = 0; e < episodes.size(); ++e) {
        const auto& own = of_task[static_cast<std::size_t>(dataset.task_index(episodes[e].task))];
        if (own.empty()) {
          continue;
        }
        for (Index from = table.first[e]; from < table.first[e + 1]; ++from, ++row) {
          const std::span observation(seen.data() + row * inputs, static_cast<std::size_t>(observations));
          const std::span action(wanted.data() + row * actions, static_cast<std::size_t>(actions));
          std::copy_n(table.observation_matrix().row(from), observations, observation.data());
          std::copy_n(table.action_matrix().row(from), actions, action.data());
          if (mirrored) {
            mirror(symmetry, observation, action);
          }
          const Index prompt = own[static_cast<std::size_t>(rng.below(static_cast<Index>(own.size())))];
          std::copy_n(embeddings.data() + prompt * model.condition_size(), model.condition_size(),
                      observation.data() + observations);
        }
      }
    }
    rows = row;
  }

  Index inputs = 0;
  Index rows = 0;
  Buffer<float> seen;
  Buffer<float> wanted;
};

// The policy that `conditioned`, whose first layer is `first`, is under a constant embedding.
void fold_embedding(const MlpLayout::Linear& first, std::span<const float> conditioned,
                    std::span<const float> embedding, float* policy) {
  const auto observations = first.in - static_cast<Index>(embedding.size());
  for (Index unit = 0; unit < first.out; ++unit) {
    policy = std::copy_n(conditioned.data() + unit * first.in, observations, policy);
  }
  const float* bias = conditioned.data() + first.bias_offset;
  for (Index unit = 0; unit < first.out; ++unit) {
    const float* row = conditioned.data() + unit * first.in + observations;
    double sum = static_cast<double>(bias[unit]);
    for (std::size_t j = 0; j < embedding.size(); ++j) {
      sum += static_cast<double>(row[j]) * static_cast<double>(embedding[j]);
    }
    *policy++ = static_cast<float>(sum);
  }
  std::copy(bias + first.out, conditioned.data() + conditioned.size(), policy);
}

}  // namespace

Buffer<float> multi_task_policies(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                                  const Model& model, const std::vector<Trajectory>& prompts) {
  const auto& network = model.conditioned_network();
  const ConditionedTable table(options, symmetry, dataset, model);
  const auto own = observation_normalizer(ExampleTable(trained_episodes(options, dataset)));
  Normalizer normalizer(table.inputs);
  std::ranges::copy(own.offset, normalizer.offset.data());
  std::ranges::copy(own.scale, normalizer.scale.data());

  Buffer<float> conditioned(network.parameter_count());
  initialize_policy(network, conditioned.span(), Rng(seed_for(options, Purpose::multi_task, 1)));
  network.fold(normalizer, conditioned.span());
  CloningExamples examples{{table.seen.data(), table.rows, table.inputs},
                           {table.wanted.data(), table.rows, network.action_size()},
                           {{}}};
  for (Index row = 0; row < table.rows; ++row) {
    examples.rows.front().push_back(row);
  }
  CloningOptions cloning;
  cloning.steps = options.evaluation.multi_task_steps;
  cloning.batch = cloning_batch;
  cloning.learning_rate = {.kind = LearningRateKind::cosine, .base = options.evaluation.clone_learning_rate};
  cloning.seed = seed_for(options, Purpose::multi_task, 2);
  Progress progress("multi-task cloning", cloning.steps);
  clone(network, options.threads, normalizer, examples, cloning, as_rows(conditioned, conditioned.size()),
        [&](const BehaviorCloner& cloner, double loss) {
          progress.update(cloner.step_count(), concatenate("loss ", loss));
        });

  const auto embeddings = model.embed(prompts);
  const auto embedding_rows = as_rows(embeddings, model.condition_size());
  Buffer<float> policies(static_cast<Index>(prompts.size()) * dataset.parameter_count);
  for (Index i = 0; i < embedding_rows.rows; ++i) {
    fold_embedding(network.layout.hidden.front(), conditioned.span(), embedding_rows.row_span(i),
                   as_rows(policies, dataset.parameter_count).row(i));
  }
  return policies;
}

}  // namespace maa::examples::study
