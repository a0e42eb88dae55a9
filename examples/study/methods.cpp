// The generator's policies for the test prompts, and those of its baselines.
#include <limits>
#include <memory>
#include <numeric>

#include "data.hpp"
#include "evaluate.hpp"
#include "multi_task.hpp"
#include "parallel.hpp"
#include "progress.hpp"

namespace maa::examples::study {
namespace {

constexpr Index neighbours = 5;
constexpr double noise_share = 0.1;  // of each tensor's deviation across the zoo

// Which policy of the zoo stands for a training prompt: of learned policies the one that acted, since the
// rollouts of each follow each other. Otherwise the prompts of a task go round its runs, and through their
// snapshots from the last backwards.
class Library {
 public:
  Library(const Options& options, const Dataset& dataset, const Model& model) : dataset_(dataset) {
    std::vector<Trajectory> prompts;
    std::vector<Index> count(dataset.tasks.size());
    Index number = 0;
    for (const auto& trajectory : trained_episodes(options, dataset)) {
      const Index acted = options.learned ? number++ / options.learned->rollouts : 0;
      if (trajectory.success_step) {
        const auto task = dataset.task_index(trajectory.task);
        policies_.push_back(options.learned ? acted
                                            : policy_for(task, count[static_cast<std::size_t>(task)]++));
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
  std::vector<double> mean(static_cast<std::size_t>(dataset.parameter_count));
  for (Index i = 0; i < dataset.policy_count(); ++i) {
    const auto row = dataset.weight_matrix().row_span(i);
    for (std::size_t j = 0; j < mean.size(); ++j) {
      mean[j] += static_cast<double>(row[j]) / static_cast<double>(dataset.policy_count());
    }
  }
  return mean;
}

// What the methods share.
class Baselines {
 public:
  Baselines(const Options& options, const Dataset& dataset, const Model& model, const TestPrompts& test)
      : options_(options),
        dataset_(dataset),
        model_(model),
        type_(model.policy()),
        test_(test),
        count_(static_cast<Index>(test.prompts.size())),
        normalizer_(observation_normalizer(ExampleTable(trained_episodes(options, dataset)))),
        mean_(zoo_mean(dataset)) {}

  Buffer<float> generate(const std::vector<Trajectory>& demonstrations,
                         const Model::Ablation& ablation = {}) const {
    return model_.generate(demonstrations, share_of(demonstrations), seed_for(options_, Purpose::generation),
                           ablation);
  }

  // The number-th of the samples that are generated for each prompt.
  Buffer<float> sample(Index number) {
    if (samples_.empty()) {
      samples_ = generate(test_.prompts, {.samples = samples_per_prompt});
    }
    const auto all = as_rows(std::as_const(samples_), type_.parameter_count());
    return for_each_prompt([&](Index i, std::span<float> weights) {
      std::ranges::copy(all.row_span(i * samples_per_prompt + number), weights.data());
    });
  }

  // Does at every step what a prompt did at the most similar one (of normalised observations).
  Controller replay(Index prompt) const {
    const auto& shown = test_.prompts[static_cast<std::size_t>(prompt)];
    return [this, seen = normalized(shown.observations()), actions = shown.actions()](
               std::span<const float> observation, std::span<float> action) {
      const auto now = normalized({observation.data(), 1, std::ssize(observation)});
      Index nearest = 0;
      double least = std::numeric_limits<double>::infinity();
      for (Index t = 0; t < actions.rows; ++t) {
        double sum = 0;
        for (Index j = 0; j < now.size(); ++j) {
          const auto difference = static_cast<double>(seen[t * now.size() + j]) - static_cast<double>(now[j]);
          sum += difference * difference;
        }
        if (sum < least) {
          least = sum;
          nearest = t;
        }
      }
      std::ranges::copy(actions.row_span(nearest), action.begin());
    };
  }

  // The mean of the policies of the training prompts nearest to each prompt.
  Buffer<float> mean_of_nearest(Index nearest) {
    if (!library_) {
      library_ = std::make_unique<Library>(options_, dataset_, model_);
      embeddings_ = model_.embed(test_.prompts);
    }
    const auto embeddings = as_rows(std::as_const(embeddings_), embeddings_.size() / count_);
    return for_each_prompt([&](Index i, std::span<float> weights) {
      const auto found = library_->nearest(embeddings.row_span(i), nearest);
      for (const auto policy : found) {
        const auto* row = dataset_.weight_matrix().row(policy);
        for (std::size_t j = 0; j < weights.size(); ++j) {
          weights[j] += row[j] / static_cast<float>(found.size());
        }
      }
    });
  }

  // The policy of the zoo whose actions at the prompt's observations are nearest to the prompt's in the mean
  // square.
  Buffer<float> nearest_by_action() const {
    const Index policies = dataset_.policy_count();
    Buffer<double> errors(count_ * policies);
    run_parallel("zoo on prompts", options_.threads, policies, [&](Index p) {
      const auto policy = type_.make(dataset_.weight_matrix().row_span(p));
      std::vector<float> actions;
      for (Index i = 0; i < count_; ++i) {
        const auto& prompt = test_.prompts[static_cast<std::size_t>(i)];
        const auto wanted = prompt.actions();
        actions.resize(static_cast<std::size_t>(wanted.size()));
        policy->act_batch(prompt.observations().span(), actions);
        double sum = 0;
        for (std::size_t j = 0; j < actions.size(); ++j) {
          const double difference = static_cast<double>(actions[j]) - static_cast<double>(wanted.data[j]);
          sum += difference * difference;
        }
        errors[i * policies + p] = sum;
      }
    });
    return for_each_prompt([&](Index i, std::span<float> weights) {
      const auto* own = errors.data() + i * policies;
      std::ranges::copy(dataset_.weight_matrix().row_span(std::min_element(own, own + policies) - own),
                        weights.data());
    });
  }

  // Noise on each tensor, by how much the zoo's policies differ from their mean there.
  Buffer<float> with_noise(Buffer<float> policies) const {
    std::vector<double> deviations;
    for (const auto& tensor : type_.tensors) {
      double squares = 0;
      for (Index i = 0; i < dataset_.policy_count(); ++i) {
        const auto* row = dataset_.weight_matrix().row(i);
        for (Index j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
          const double difference = static_cast<double>(row[j]) - mean_[static_cast<std::size_t>(j)];
          squares += difference * difference;
        }
      }
      deviations.push_back(std::sqrt(squares / static_cast<double>(tensor.size * dataset_.policy_count())));
    }
    const auto rows = as_rows(policies, type_.parameter_count());
    for (Index i = 0; i < rows.rows; ++i) {
      Rng rng(seed_for(options_, Purpose::weight_noise, i));
      for (std::size_t t = 0; t < deviations.size(); ++t) {
        const auto& tensor = type_.tensors[t];
        for (Index j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
          rows(i, j) += static_cast<float>(noise_share * deviations[t] * rng.normal());
        }
      }
    }
    return policies;
  }

  const Buffer<float>& multi_task(const Symmetry& symmetry) {
    if (multi_task_.empty()) {
      multi_task_ = multi_task_policies(options_, symmetry, dataset_, model_, test_.prompts);
    }
    return multi_task_;
  }
  Buffer<float> zoo_mean_policies() const {
    return for_each_prompt([&](Index, std::span<float> weights) {
      std::ranges::transform(mean_, weights.data(), [](double w) { return static_cast<float>(w); });
    });
  }
  Buffer<float> untrained() const {
    return for_each_prompt([&](Index i, std::span<float> weights) {
      initial_weights(type_, normalizer_, seed_for(options_, Purpose::untrained, i), weights);
    });
  }
  Buffer<float> random_start() const {
    Buffer<float> start(type_.parameter_count());
    initial_weights(type_, normalizer_, seed_for(options_, Purpose::clone_random), start.span());
    return start;
  }

  // Clones the executed actions of all steps of every prompt; `start` holds one policy for all or one for
  // each. A few policies at a time, so that their weights and moments stay in the processor's cache.
  Buffer<float> clone(const char* label, const std::vector<Trajectory>& demonstrations,
                      const Buffer<float>& start, Index steps, Purpose purpose) const {
    constexpr Index at_once = 16;
    const Index share = share_of(demonstrations);
    const Index size = type_.parameter_count();
    CloningOptions cloning;
    cloning.steps = steps;
    cloning.batch = options_.evaluation.clone_batch;
    cloning.learning_rate.base = options_.evaluation.clone_learning_rate;
    auto weights = for_each_prompt([&](Index i, std::span<float> own) {
      std::copy_n(start.data() + i * size % start.size(), size, own.data());
    });
    Progress progress(label, count_ * steps);
    for (Index first = 0; first < count_; first += at_once) {
      const auto own = as_rows(weights, size).row_range(first, std::min(at_once, count_ - first));
      std::vector<Trajectory> part(demonstrations.begin() + first * share,
                                   demonstrations.begin() + (first + own.rows) * share);
      for (auto& demonstration : part) {
        demonstration.set_target_actions(std::as_const(demonstration).actions());
      }
      const ExampleTable table(part);
      CloningExamples examples{table.observation_matrix(), table.action_matrix(), {}};
      for (Index i = 0; i < own.rows; ++i) {  // the rows of a prompt's demonstrations follow each other
        const auto from = table.first[static_cast<std::size_t>(i * share)];
        auto& rows =
            examples.rows.emplace_back(table.first[static_cast<std::size_t>((i + 1) * share)] - from);
        std::iota(rows.begin(), rows.end(), from);
      }
      cloning.seed = seed_for(options_, purpose, first);
      study::clone(type_, options_.threads, normalizer_, examples, cloning, own,
                   [&](const BehaviorCloner& cloner, double loss) {
                     progress.update(first * steps + cloner.step_count() * own.rows,
                                     concatenate("loss ", loss));
                   });
    }
    return weights;
  }

  // Random snapshots of each seen task's own runs.
  Buffer<float> of_zoo() const {
    const auto seen =
        std::ranges::count_if(test_.reported, [](const Reported& r) { return r.split == Split::seen; });
    const Index prompts = options_.evaluation.prompts;
    Buffer<float> weights(seen * prompts * dataset_.parameter_count);
    for (Index task = 0; task < seen; ++task) {
      const auto number = dataset_.task_index(test_.reported[static_cast<std::size_t>(task)].task);
      std::vector<Index> own;
      for (Index i = 0; i < dataset_.policy_count(); ++i) {
        if (dataset_.policies[static_cast<std::size_t>(i)].task == number) {
          own.push_back(i);
        }
      }
      Rng rng(seed_for(options_, Purpose::zoo_choice, task));
      for (Index k = 0; k < prompts; ++k) {
        const auto chosen = own[static_cast<std::size_t>(rng.below(static_cast<Index>(own.size())))];
        std::ranges::copy(dataset_.weight_matrix().row_span(chosen),
                          as_rows(weights, dataset_.parameter_count).row(task * prompts + k));
      }
    }
    return weights;
  }

 private:
  // Demonstrations of each prompt.
  Index share_of(const std::vector<Trajectory>& demonstrations) const {
    return static_cast<Index>(demonstrations.size()) / count_;
  }
  // [prompts, P]; fill(prompt, its row of zeros).
  template <class Fill>
  Buffer<float> for_each_prompt(const Fill& fill) const {
    Buffer<float> policies(count_ * type_.parameter_count());
    for (Index i = 0; i < count_; ++i) {
      fill(i, as_rows(policies, type_.parameter_count()).row_span(i));
    }
    return policies;
  }

  const Options& options_;
  const Dataset& dataset_;
  const Model& model_;
  const PolicyType& type_;
  const TestPrompts& test_;
  Buffer<float> normalized(MatrixView<const float> observations) const {
    Buffer<float> result(observations.span());
    normalizer_.apply({result.data(), observations.rows, observations.cols});
    return result;
  }

  Index count_;
  Normalizer normalizer_;
  std::vector<double> mean_;
  std::unique_ptr<Library> library_;  // made when it is first asked for
  Buffer<float> embeddings_;
  Buffer<float> samples_, multi_task_;  // as that
};

// Of each prompt's samples the one that solves most scenes of their own: what a user with a simulator may do.
Buffer<float> best_in_trial(const Options& options, Simulator& simulator, const TestPrompts& test,
                            Baselines& baselines) {
  Buffer<float> best = baselines.sample(0);
  std::vector<double> most(test.prompts.size(), -1);
  for (Index k = 0; k < samples_per_prompt; ++k) {
    const auto policies = baselines.sample(k);
    const auto outcome = evaluate(options, simulator, test.reported, concatenate("trial ", k + 1), {},
                                  policies, Purpose::trial_scenes);
    const auto size = policies.size() / std::ssize(test.prompts);
    for (std::size_t i = 0; i < most.size(); ++i) {
      const auto prompts = static_cast<std::size_t>(options.evaluation.prompts);
      const double solved = share_solved(outcome[i / prompts][i % prompts]);
      if (solved > most[i]) {
        most[i] = solved;
        std::copy_n(policies.data() + static_cast<Index>(i) * size, size,
                    best.data() + static_cast<Index>(i) * size);
      }
    }
  }
  return best;
}

}  // namespace

std::vector<Method> make_methods(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                                 const Model& model, const Model* unconditioned, Simulator& simulator,
                                 const Demonstrators& demonstrators, const TestPrompts& test) {
  const auto baselines = std::make_shared<Baselines>(options, dataset, model, test);
  const auto* one = &test.prompts;
  const auto* three = &test.demonstrations;
  static_assert(demonstrations_per_prompt == 3);  // which the names say
  std::vector<Method> methods;
  const auto add = [&](std::string name, std::function<Buffer<float>()> weights) -> Method& {
    return methods.emplace_back(Method{std::move(name), std::move(weights)});
  };
  const auto add_with_head = [&](std::string name, std::function<Buffer<float>()> weights) {
    if (model.has_head()) {
      add(std::move(name), std::move(weights));
    }
  };
  add("generated", [=] { return baselines->generate(*one); }).selection = options.evaluation.selection;
  add("generated, not looked up", [=] { return baselines->generate(*one, {.look_up = false}); });
  add("nearest training policy", [=] { return baselines->mean_of_nearest(1); });
  add("nearest by action", [=] { return baselines->nearest_by_action(); });
  add_with_head("nearest + head",
                [=, &model] { return model.fit_heads(baselines->mean_of_nearest(1), *one); });
  add("mean of 5 nearest", [=] { return baselines->mean_of_nearest(neighbours); });
  add("nearest + noise", [=] { return baselines->with_noise(baselines->mean_of_nearest(1)); });
  add_with_head("zoo mean + head",
                [=, &model] { return model.fit_heads(baselines->zoo_mean_policies(), *one); });
  add_with_head("no condition + head", [=] { return baselines->generate(*one, {true, 0}); });
  add_with_head("condition always + head", [=] { return baselines->generate(*one, {true, 1}); });
  if (unconditioned != nullptr) {
    add("one network + head", [=, &options] {
      return unconditioned->generate(*one, 1, seed_for(options, Purpose::generation), {true, 0});
    });
  }
  add_with_head("generated without head", [=] { return baselines->generate(*one, {false, 1}); });
  add("multi-task cloning", [=] { return baselines->multi_task(symmetry); });
  add("multi-task cloning, fine-tuned", [=, &options] {
    return baselines->clone("cloning, multi-task", *one, baselines->multi_task(symmetry),
                            options.evaluation.clone_steps_zoo, Purpose::clone_multi_task);
  });
  add("cloned from random start", [=, &options] {
    return baselines->clone("cloning, random start", *one, baselines->random_start(),
                            options.evaluation.clone_steps, Purpose::clone_random);
  });
  add("cloned from zoo mean", [=, &options] {
    return baselines->clone("cloning, zoo's mean", *one, baselines->zoo_mean_policies(),
                            options.evaluation.clone_steps_zoo, Purpose::clone_zoo);
  });
  add("generated, then cloned", [=, &options] {
    return baselines->clone("cloning, generated", *one, baselines->generate(*one),
                            options.evaluation.clone_steps_zoo, Purpose::clone_generated);
  });
  add("generated, polished",
      [=, &options] { return baselines->generate(*one, {.polish = options.evaluation.polish}); });
  add("generated, 3 demonstrations", [=] { return baselines->generate(*three); });
  add("generated, polished, 3 demonstrations",
      [=, &options] { return baselines->generate(*three, {.polish = options.evaluation.polish}); });
  add_with_head("no condition + head, 3 demonstrations", [=] {
    return baselines->generate(*three, {true, 0});
  });
  add_with_head("zoo mean + head, 3 demonstrations",
                [=, &model] { return model.fit_heads(baselines->zoo_mean_policies(), *three); });
  add("cloned from zoo mean, 3 demonstrations", [=, &options] {
    return baselines->clone("cloning, 3 demonstrations", *three, baselines->zoo_mean_policies(),
                            options.evaluation.clone_steps_zoo, Purpose::clone_zoo);
  });
  add("untrained policy", [=] { return baselines->untrained(); });
  if (options.training.recipe != "default") {
    add("zoo, reconstructed", [=, &options, &model, &dataset] {
      auto policies = baselines->of_zoo();
      if (options.training.align_units) {  // as those that it was trained on
        align_policies(model.policy().layout, dataset.weight_matrix().row_span(0),
                       as_rows(policies, dataset.parameter_count));
      }
      return model.reconstruct(as_rows(policies, dataset.parameter_count));
    }).seen_only = true;
  }
  add("zoo (ceiling)", [=] { return baselines->of_zoo(); }).seen_only = true;
  add("generated, another sample", [=] { return baselines->sample(1); });
  if (options.evaluation.trial) {
    static_assert(samples_per_prompt == 10);  // which the name says
    add("best of 10 samples by trial",
        [=, &options, &simulator, &test] { return best_in_trial(options, simulator, test, *baselines); });
  }
  add("replay of the nearest step", {}).controller = [=](Environment&, Index prompt) {
    return baselines->replay(prompt);
  };
  add(demonstrators.name(), {}).controller = [&](Environment& environment, Index i) {
    const auto& reported = test.reported[static_cast<std::size_t>(i / options.evaluation.prompts)];
    return demonstrators.controller(environment, reported.run_of(i % options.evaluation.prompts));
  };
  return methods;
}

}  // namespace maa::examples::study
