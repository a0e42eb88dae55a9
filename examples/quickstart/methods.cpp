// The generator's policies for the test prompts, and those of its rivals.
#include <numeric>

#include <maa/core/describe.hpp>

#include "data.hpp"
#include "evaluate.hpp"
#include "interrupt.hpp"
#include "progress.hpp"

namespace maa::examples::quickstart {
namespace {

constexpr Index parameters = parameter_count<MetaWorldNetwork>;
constexpr Index neighbours = 5;
constexpr double noise_share = 0.1;  // of each tensor's deviation across the zoo

MatrixView<float> as_matrix(Buffer<float>& weights) {
  return {weights.data(), weights.size() / parameters, parameters};
}

// Which policy of the zoo stands for a training prompt that belongs to no run: the prompts of a task go round
// its runs, and through their snapshots from the last backwards.
class Library {
 public:
  Library(const Dataset& dataset, const Model& model) : dataset_(dataset) {
    std::vector<Trajectory> prompts;
    std::vector<Index> count(dataset.tasks.size());
    for (const auto& trajectory : dataset.trajectories) {
      if (trajectory.success_step && trajectory.length() >= Model::prompt_steps) {
        const auto task = dataset.task_index(trajectory.task);
        policies_.push_back(policy_for(task, count[static_cast<std::size_t>(task)]++));
        prompts.push_back(trajectory);
      }
    }
    embeddings_ = model.embed(prompts);
  }

  // The policies of the training prompts nearest to an embedding, nearest first.
  std::vector<Index> nearest(std::span<const float> embedding, Index count) const {
    const auto size = static_cast<Index>(embedding.size());
    std::vector<std::pair<double, Index>> distances;
    for (std::size_t i = 0; i < policies_.size(); ++i) {
      double sum = 0;
      for (Index j = 0; j < size; ++j) {
        const double difference = static_cast<double>(embedding[static_cast<std::size_t>(j)]) -
                                  static_cast<double>(embeddings_[static_cast<Index>(i) * size + j]);
        sum += difference * difference;
      }
      distances.emplace_back(sum, policies_[i]);
    }
    const auto kept = std::min(count, static_cast<Index>(distances.size()));
    std::partial_sort(distances.begin(), distances.begin() + kept, distances.end());
    std::vector<Index> result;
    for (Index i = 0; i < kept; ++i) {
      result.push_back(distances[static_cast<std::size_t>(i)].second);
    }
    return result;
  }

 private:
  Index policy_for(Index task, Index number) const {
    std::vector<std::vector<Index>> runs;
    for (Index i = 0; i < dataset_.policy_count(); ++i) {
      const auto& record = dataset_.policies[static_cast<std::size_t>(i)];
      if (record.task == task) {
        runs.resize(std::max(runs.size(), static_cast<std::size_t>(record.run) + 1));
        runs[static_cast<std::size_t>(record.run)].push_back(i);
      }
    }
    const auto& snapshots = runs[static_cast<std::size_t>(number) % runs.size()];
    const auto back = static_cast<std::size_t>(number) / runs.size() % snapshots.size();
    return snapshots[snapshots.size() - 1 - back];
  }

  const Dataset& dataset_;
  std::vector<Index> policies_;  // of each training prompt
  Buffer<float> embeddings_;
};

std::vector<double> zoo_mean(const Dataset& dataset) {
  std::vector<double> mean(static_cast<std::size_t>(parameters));
  for (Index i = 0; i < dataset.policy_count(); ++i) {
    const auto row = dataset.weight_matrix().row_span(i);
    for (std::size_t j = 0; j < mean.size(); ++j) {
      mean[j] += static_cast<double>(row[j]) / static_cast<double>(dataset.policy_count());
    }
  }
  return mean;
}

// Per tensor of the network, how much the zoo's policies differ from their mean.
std::vector<double> tensor_deviations(const Dataset& dataset, const std::vector<double>& mean) {
  std::vector<double> result;
  for (const auto& tensor : tensors_of<MetaWorldNetwork>()) {
    double squares = 0;
    for (Index i = 0; i < dataset.policy_count(); ++i) {
      const auto* row = dataset.weight_matrix().row(i);
      for (Index j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
        const double difference = static_cast<double>(row[j]) - mean[static_cast<std::size_t>(j)];
        squares += difference * difference;
      }
    }
    result.push_back(std::sqrt(squares / static_cast<double>(tensor.size * dataset.policy_count())));
  }
  return result;
}

Buffer<float> with_noise(const Options& options, const Buffer<float>& policies,
                         const std::vector<double>& deviations) {
  auto result = policies;
  const auto tensors = tensors_of<MetaWorldNetwork>();
  for (Index i = 0; i < result.size() / parameters; ++i) {
    Rng rng(seed_for(options, Purpose::weight_noise, i));
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      for (Index j = tensors[t].offset; j < tensors[t].offset + tensors[t].size; ++j) {
        result[i * parameters + j] += static_cast<float>(noise_share * deviations[t] * rng.normal());
      }
    }
  }
  return result;
}

// Clones the executed actions of all steps of every prompt, one policy per prompt of `share` demonstrations;
// `start` holds one policy for all or one for each. A few policies at a time, so that their weights and
// moments stay in the processor's cache.
Buffer<float> cloned(const Options& options, const char* label, const Normalizer& normalizer,
                     const std::vector<Trajectory>& demonstrations, Index share, const Buffer<float>& start,
                     Index steps, Purpose purpose) {
  constexpr Index at_once = 16;
  const auto count = static_cast<Index>(demonstrations.size()) / share;
  const cpu::Backend backend(options.threads);
  CloningOptions cloning;
  cloning.steps = steps;
  cloning.batch = options.clone_batch;
  cloning.learning_rate.base = options.learning_rate;
  Buffer<float> weights(count * parameters);
  Progress progress(label, count * steps);
  for (Index first = 0; first < count; first += at_once) {
    const Index last = std::min(count, first + at_once);
    std::vector<Trajectory> part;
    for (Index i = first * share; i < last * share; ++i) {
      auto& demonstration = part.emplace_back(demonstrations[static_cast<std::size_t>(i)]);
      demonstration.set_target_actions(std::as_const(demonstration).actions());
    }
    for (Index i = first; i < last; ++i) {
      std::copy_n(start.data() + i * parameters % start.size(), parameters, as_matrix(weights).row(i));
    }
    const ExampleTable table(part);
    CloningExamples examples{table.observation_matrix(), table.action_matrix(), {}};
    for (Index i = first; i < last; ++i) {
      auto& rows = examples.rows.emplace_back();
      for (Index k = 0; k < share; ++k) {
        const auto number = static_cast<std::size_t>((i - first) * share + k);
        for (Index step = 0; step < part[number].length(); ++step) {
          rows.push_back(table.first[number] + step);
        }
      }
    }
    const auto own = as_matrix(weights).row_range(first, last - first);
    cloning.seed = seed_for(options, purpose, first);
    BehaviorCloner<MetaWorldNetwork> cloner(backend, normalizer, own, cloning);
    while (cloner.step_count() < steps) {
      stop_if_interrupted();
      const double loss = cloner.step(examples);
      progress.update(first * steps + cloner.step_count() * own.rows, concatenate("loss ", loss));
    }
    cloner.export_weights(own);
  }
  return weights;
}

// Random snapshots of each task's own runs.
Buffer<float> zoo_policies(const Options& options, const Dataset& dataset) {
  const auto seen = static_cast<Index>(options.tasks.seen.size());
  Buffer<float> weights(seen * options.prompts * parameters);
  for (Index task = 0; task < seen; ++task) {
    std::vector<Index> own;
    for (Index i = 0; i < dataset.policy_count(); ++i) {
      if (dataset.policies[static_cast<std::size_t>(i)].task == task) {
        own.push_back(i);
      }
    }
    Rng rng(seed_for(options, Purpose::zoo_choice, task));
    for (Index k = 0; k < options.prompts; ++k) {
      const auto chosen = own[static_cast<std::size_t>(rng.below(static_cast<Index>(own.size())))];
      std::copy_n(dataset.weight_matrix().row(chosen), parameters,
                  weights.data() + (task * options.prompts + k) * parameters);
    }
  }
  return weights;
}

}  // namespace

std::vector<Method> make_methods(const Options& options, const Dataset& dataset, const Model& model,
                                 const TestPrompts& test) {
  const auto& prompts = test.prompts;
  const auto count = static_cast<Index>(prompts.size());
  const auto normalizer = observation_normalizer(ExampleTable(dataset.trajectories));
  const auto mean = zoo_mean(dataset);

  const Library library(dataset, model);
  const auto embeddings = model.embed(prompts);
  const auto embedding_size = static_cast<std::size_t>(embeddings.size() / count);
  Buffer<float> nearest(count * parameters), neighbour_mean(count * parameters);
  for (Index i = 0; i < count; ++i) {
    const auto found = library.nearest(
        embeddings.span().subspan(static_cast<std::size_t>(i) * embedding_size, embedding_size), neighbours);
    std::copy_n(dataset.weight_matrix().row(found.front()), parameters, nearest.data() + i * parameters);
    for (const auto policy : found) {
      const auto* row = dataset.weight_matrix().row(policy);
      for (Index j = 0; j < parameters; ++j) {
        neighbour_mean[i * parameters + j] += row[j] / static_cast<float>(found.size());
      }
    }
  }

  Buffer<float> start(parameters), mean_policy(parameters), untrained(count * parameters);
  initial_weights(normalizer, seed_for(options, Purpose::clone_random), start.span());
  std::transform(mean.begin(), mean.end(), mean_policy.begin(),
                 [](double w) { return static_cast<float>(w); });
  for (Index i = 0; i < count; ++i) {
    initial_weights(normalizer, seed_for(options, Purpose::untrained, i), as_matrix(untrained).row_span(i));
  }

  Buffer<float> mean_policies(count * parameters);
  for (Index i = 0; i < count; ++i) {
    std::copy(mean_policy.begin(), mean_policy.end(), as_matrix(mean_policies).row(i));
  }

  const auto seed = seed_for(options, Purpose::generation);
  const auto generated = model.generate(prompts, 1, seed);
  const auto clone = [&](const char* label, const std::vector<Trajectory>& demonstrations,
                         const Buffer<float>& from, Index steps, Purpose purpose) {
    const auto share = static_cast<Index>(demonstrations.size()) / count;
    return cloned(options, label, normalizer, demonstrations, share, from, steps, purpose);
  };
  static_assert(demonstrations_per_prompt == 3);  // which the names say
  std::vector<Method> methods;
  methods.push_back({"generated", generated});
  methods.push_back({"nearest training policy", nearest});
  methods.push_back({"nearest + head", model.adapt(nearest, prompts)});
  methods.push_back({"mean of 5 nearest", std::move(neighbour_mean)});
  methods.push_back({"nearest + noise", with_noise(options, nearest, tensor_deviations(dataset, mean))});
  methods.push_back({"zoo mean + head", model.adapt(mean_policies, prompts)});
  methods.push_back({"no condition + head", model.generate(prompts, 1, seed, {true, false})});
  methods.push_back({"generated without head", model.generate(prompts, 1, seed, {false, true})});
  methods.push_back({"cloned from random start", clone("cloning, random start", prompts, start,
                                                       options.clone_steps, Purpose::clone_random)});
  methods.push_back({"cloned from zoo mean", clone("cloning, zoo's mean", prompts, mean_policy,
                                                   options.clone_steps_zoo, Purpose::clone_zoo)});
  methods.push_back({"generated, then cloned", clone("cloning, generated", prompts, generated,
                                                     options.clone_steps_zoo, Purpose::clone_generated)});
  methods.push_back(
      {"generated, 3 demonstrations", model.generate(test.demonstrations, demonstrations_per_prompt, seed)});
  methods.push_back({"no condition + head, 3 demonstrations",
                     model.generate(test.demonstrations, demonstrations_per_prompt, seed, {true, false})});
  methods.push_back({"zoo mean + head, 3 demonstrations", model.adapt(mean_policies, test.demonstrations)});
  methods.push_back({"cloned from zoo mean, 3 demonstrations",
                     clone("cloning, 3 demonstrations", test.demonstrations, mean_policy,
                           options.clone_steps_zoo, Purpose::clone_zoo)});
  methods.push_back({"untrained policy", std::move(untrained)});
  methods.push_back({"zoo (ceiling)", zoo_policies(options, dataset), true});
  methods.push_back({"expert", {}});
  return methods;
}

}  // namespace maa::examples::quickstart
