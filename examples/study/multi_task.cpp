#include "multi_task.hpp"

#include "augmentation.hpp"
#include "interrupt.hpp"
#include "progress.hpp"

namespace maa::examples::study {
namespace {

constexpr Index observations = MetaWorldNetwork::observation_size;
constexpr Index actions = MetaWorldNetwork::action_size;
constexpr Index hidden = MetaWorldNetwork::hidden_sizes[0];
constexpr Index cloning_batch = 512;

template <Index Condition>
using ConditionedNetwork =
    MlpNetwork<observations + Condition, actions,
               HiddenLayers<Hidden<128, Activation::elu>, Hidden<128, Activation::relu>>>;

Trajectory reflected(const Symmetry& symmetry, Trajectory trajectory) {
  for (Index step = 0; step < trajectory.length(); ++step) {
    mirror(symmetry, trajectory.observations().row_span(step), trajectory.actions().row_span(step));
  }
  return trajectory;
}

// Rows of [observation, embedding of a random prompt of the task] and the expert's action; each episode as it
// is and reflected.
struct ConditionedTable {
  ConditionedTable(const Options& options, const Dataset& dataset, const Model& model)
      : inputs(observations + model.condition_size()) {
    const auto episodes = trained_episodes(options, dataset);
    const ExampleTable table(episodes);
    rows = 2 * table.first.back();
    seen = Buffer<float>(rows * inputs);
    wanted = Buffer<float>(rows * actions);
    const auto& symmetry = options.symmetry;
    Rng rng(seed_for(options, Purpose::multi_task));
    Index row = 0;
    for (const bool mirrored : {false, true}) {
      std::vector<Trajectory> prompts;
      std::vector<std::vector<Index>> of_task(dataset.tasks.size());
      for (const auto& episode : episodes) {
        if (episode.success_step && episode.length() >= Model::prompt_steps) {
          of_task[static_cast<std::size_t>(dataset.task_index(episode.task))].push_back(
              static_cast<Index>(prompts.size()));
          prompts.push_back(mirrored ? reflected(symmetry, episode) : episode);
        }
      }
      const auto embeddings = model.embed(prompts);
      for (std::size_t e = 0; e < episodes.size(); ++e) {
        const auto& own = of_task[static_cast<std::size_t>(dataset.task_index(episodes[e].task))];
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
  }

  Index inputs = 0;
  Index rows = 0;
  Buffer<float> seen;
  Buffer<float> wanted;
};

// The policy that `conditioned` is under a constant embedding.
void fold_embedding(std::span<const float> conditioned, std::span<const float> embedding, float* policy) {
  const Index inputs = observations + static_cast<Index>(embedding.size());
  const float* weight = conditioned.data();
  const float* bias = weight + hidden * inputs;
  for (Index unit = 0; unit < hidden; ++unit) {
    const float* row = weight + unit * inputs;
    policy = std::copy_n(row, observations, policy);
  }
  for (Index unit = 0; unit < hidden; ++unit) {
    const float* row = weight + unit * inputs + observations;
    double sum = static_cast<double>(bias[unit]);
    for (std::size_t j = 0; j < embedding.size(); ++j) {
      sum += static_cast<double>(row[j]) * static_cast<double>(embedding[j]);
    }
    *policy++ = static_cast<float>(sum);
  }
  std::copy(bias + hidden, conditioned.data() + conditioned.size(), policy);
}

template <Index Condition>
Buffer<float> policies_for(const Options& options, const Dataset& dataset, const Model& model,
                           const std::vector<Trajectory>& prompts) {
  using Network = ConditionedNetwork<Condition>;
  constexpr Index inputs = observations + Condition;
  const ConditionedTable table(options, dataset, model);
  const auto own = observation_normalizer(ExampleTable(trained_episodes(options, dataset)));
  Normalizer normalizer(inputs);
  std::copy_n(own.offset.data(), observations, normalizer.offset.data());
  std::copy_n(own.scale.data(), observations, normalizer.scale.data());

  const cpu::Backend backend(options.threads);
  Buffer<float> conditioned(parameter_count<Network>);
  const MatrixView<float> weights(conditioned.data(), 1, parameter_count<Network>);
  initialize_policy<Network>(conditioned.span(), Rng(seed_for(options, Purpose::multi_task, 1)));
  fold_normalizer<Network>(normalizer, conditioned.span());
  CloningExamples examples{
      {table.seen.data(), table.rows, inputs}, {table.wanted.data(), table.rows, actions}, {{}}};
  for (Index row = 0; row < table.rows; ++row) {
    examples.rows.front().push_back(row);
  }
  CloningOptions cloning;
  cloning.steps = options.multi_task_steps;
  cloning.batch = cloning_batch;
  cloning.learning_rate = {.kind = LearningRateKind::cosine, .base = options.learning_rate};
  cloning.seed = seed_for(options, Purpose::multi_task, 2);
  BehaviorCloner<Network> cloner(backend, normalizer, weights, cloning);
  Progress progress("multi-task cloning", cloning.steps);
  while (cloner.step_count() < cloning.steps) {
    stop_if_interrupted();
    const double loss = cloner.step(examples);
    progress.update(cloner.step_count(), concatenate("loss ", loss));
  }
  cloner.export_weights(weights);

  const auto embeddings = model.embed(prompts);
  Buffer<float> policies(static_cast<Index>(prompts.size()) * policy_size);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto number = static_cast<Index>(i);
    fold_embedding(conditioned.span(), {embeddings.data() + number * Condition, Condition},
                   policies.data() + number * policy_size);
  }
  return policies;
}

}  // namespace

Buffer<float> multi_task_policies(const Options& options, const Dataset& dataset, const Model& model,
                                  const std::vector<Trajectory>& prompts) {
  switch (model.condition_size()) {
    case 128:
      return policies_for<128>(options, dataset, model, prompts);
    case 256:
      return policies_for<256>(options, dataset, model, prompts);
    default:
      fail("multi-task cloning: expected a condition of 128 or 256 numbers, found ", model.condition_size());
  }
}

}  // namespace maa::examples::study
