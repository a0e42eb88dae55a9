// How a generator does on runs and tasks that it was not trained on, told without a simulator: a page to read
// before deploying.
#pragma once

#include <cmath>

#include <maa/data/dataset.hpp>

#include "cloning.hpp"
#include "interrupt.hpp"
#include "progress.hpp"

namespace maa::examples {

// A trajectory of a held-out run, shown as the prompt, and others of the same run, on whose states policies
// are compared with what its demonstrator did.
struct HeldOutPrompt {
  std::string task;
  std::int64_t run = 0;
  bool unseen_task = false;  // no run of this task is trained on
  Trajectory prompt;
  std::vector<Trajectory> others;
  std::vector<Index> own;  // the run's policies in the data set
};

struct HeldOut {
  Dataset training;  // all else
  std::vector<std::string> tasks;
  std::vector<HeldOutPrompt> prompts;
  Index runs = 0;      // held out
  Index unusable = 0;  // of these, runs with less than two trajectories
};

// Holds out that share of the tasks, if there are at least four, and of the runs of each other task, at least
// one of each; a task's last run stays, as do trajectories of no run (but those of held-out tasks). The same
// seed draws the same. Error if no run that is held out has two trajectories.
HeldOut hold_out(const Dataset& data, double share, std::uint64_t seed);

// Of one prompt. Errors are root mean squares over steps and entries of an action, each entry in units of its
// deviation over the training's trajectories.
struct PromptReport {
  std::string task;
  std::int64_t run = 0;
  bool unseen_task = false;
  Index steps = 0;     // compared
  double novelty = 0;  // Generator::novelty; not finite: training's prompts do not differ
  std::vector<std::optional<double>> errors;  // of each method
  // Before squashing, root mean squares over entries that are not saturated; and the share of these whose
  // error is more than two predicted deviations.
  std::optional<double> predicted, found, exceeding;
};

struct FitReport {
  std::filesystem::path dataset, generator;
  std::uint64_t seed = 0;
  double share = 0;
  Index trained_policies = 0, trained_trajectories = 0, trained_tasks = 0;
  std::vector<std::string> held_out_tasks;
  Index held_out_runs = 0, unusable_runs = 0;
  bool targets = false;  // all compared actions are without noise
  std::vector<std::string> methods;
  std::vector<PromptReport> prompts;
};

// One self-contained HTML page.
std::string page_of(const FitReport& report);

namespace detail {

// Entries of actions in units of their deviations over `trajectories`; those that do not vary do not count.
class ActionUnits {
 public:
  explicit ActionUnits(std::span<const Trajectory> trajectories);
  const std::vector<double>& mean() const { return mean_; }
  bool counts(Index entry) const { return deviation_[static_cast<std::size_t>(entry)] > 0; }
  // Of actions [steps, A]: the sum of squares, and how many there are.
  void add(MatrixView<const float> found, MatrixView<const float> wanted, double& sum, double& count) const;

 private:
  std::vector<double> mean_, deviation_;
};

inline MatrixView<const float> wanted_actions(const Trajectory& trajectory) {
  return trajectory.has_target_actions() ? trajectory.target_actions() : trajectory.actions();
}

// Of a policy, on trajectories.
template <class Policy>
double error_of(const Policy& policy, std::span<const Trajectory> on, const ActionUnits& units) {
  double sum = 0, count = 0;
  for (const auto& trajectory : on) {
    Buffer<float> found(trajectory.length() * trajectory.action_size());
    policy.act_batch(trajectory.observations().span(), found.span());
    units.add({found.data(), trajectory.length(), trajectory.action_size()}, wanted_actions(trajectory), sum,
              count);
  }
  return count > 0 ? std::sqrt(sum / count) : 0;
}

}  // namespace detail

// Measures a generator trained on held_out.training; `data`: the whole data set. `count` policies are
// generated for each prompt, their errors averaged. Shows bars. Throws Interrupted if it was.
template <class Generator>
FitReport measure(const Generator& generator, const Dataset& data, const HeldOut& held_out,
                  std::uint64_t seed, int threads, Index count = 4) {
  using Policy = typename Generator::Policy;
  using namespace detail;
  const auto& training = held_out.training;
  const ActionUnits units(training.trajectories);
  const auto& interface = data.interface;
  const auto box = interface.template box<Policy>();
  const auto scaling = interface.template scaling<Policy>();
  std::vector<Trajectory> prompts;
  for (const auto& each : held_out.prompts) {
    prompts.push_back(each.prompt);
  }

  // Each prompt's own clone: from a random start, on the prompt alone.
  const auto& type = policy_type<Policy>();
  std::vector<Trajectory> inside;
  study::CloningExamples examples;
  Index rows = 0;
  for (const auto& prompt : prompts) {
    inside.push_back(interface.inside(prompt));
    auto& own = examples.rows.emplace_back(static_cast<std::size_t>(prompt.length()));
    for (auto& row : own) {
      row = rows++;
    }
  }
  Buffer<float> observations(rows * Policy::observation_size), actions(rows * Policy::action_size);
  auto *to_observations = observations.data(), *to_actions = actions.data();
  for (const auto& prompt : inside) {
    const auto from = prompt.observations().span();
    to_observations = std::copy(from.begin(), from.end(), to_observations);
    const auto wanted = wanted_actions(prompt).span();
    to_actions = std::copy(wanted.begin(), wanted.end(), to_actions);
  }
  examples.observations = {observations.data(), rows, Policy::observation_size};
  examples.actions = {actions.data(), rows, Policy::action_size};
  const auto normalizer = Normalizer::standard(examples.observations, 1e-3, 0.03);
  const auto prompt_count = static_cast<Index>(prompts.size());
  Buffer<float> clones(prompt_count * Policy::parameter_size);
  for (Index i = 0; i < prompt_count; ++i) {
    const auto weights = clones.span().subspan(static_cast<std::size_t>(i * Policy::parameter_size),
                                               static_cast<std::size_t>(Policy::parameter_size));
    study::initialize_policy(type, weights, Rng(seed));
    type.fold(normalizer, weights);
  }
  const study::CloningOptions cloning{.seed = seed};
  {
    Progress bar("clones for the report", cloning.steps);
    study::clone(type, threads, normalizer, examples, cloning,
                 {clones.data(), prompt_count, Policy::parameter_size},
                 [&](const study::BehaviorCloner& cloner, double) {
                   bar.update(cloner.step_count());
                   stop_if_interrupted();
                 });
  }

  // Of generating half: it takes about as long as all comparisons.
  Progress bar("measuring prompts", 2 * prompt_count);
  const auto generated = generator.generate_each(
      prompts, {.count = count, .seed = seed, .progress = [&](Index step, Index steps) {
                  bar.update(prompt_count * step / std::max<Index>(1, steps));
                  return true;
                }});
  const auto novelty = generator.novelty(prompts);
  const auto policy_of = [&](const Dataset& of, Index number) {
    return Policy(of.weight_matrix().row_span(number), box, scaling);
  };
  // Those of a data set that act most like a prompt: least error on at most 64 of its steps.
  const auto nearest = [&](const Dataset& of, std::span<const Index> among, const Trajectory& prompt) {
    const Index stride = (prompt.length() + 63) / 64, steps = (prompt.length() + stride - 1) / stride;
    Trajectory some(steps, prompt.observation_size(), prompt.action_size());
    for (Index i = 0; i < steps; ++i) {
      std::ranges::copy(prompt.observations().row_span(i * stride), some.observations().row(i));
      std::ranges::copy(wanted_actions(prompt).row_span(i * stride), some.actions().row(i));
    }
    std::pair<double, Index> best{std::numeric_limits<double>::infinity(), -1};
    for (const Index number : among) {
      best = std::min(best, std::pair(error_of(policy_of(of, number), {&some, 1}, units), number));
    }
    return best.second;
  };
  std::vector<Index> zoo(static_cast<std::size_t>(training.policy_count()));
  std::iota(zoo.begin(), zoo.end(), Index{0});

  FitReport report;
  report.seed = seed;
  report.trained_policies = training.policy_count();
  report.trained_trajectories = std::ssize(training.trajectories);
  report.trained_tasks = std::ssize(training.tasks);
  report.held_out_tasks = held_out.tasks;
  report.held_out_runs = held_out.runs;
  report.unusable_runs = held_out.unusable;
  report.targets = true;
  report.methods = {"generated", "nearest by action", "cloned", "mean action", "own policy"};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& held = held_out.prompts[i];
    const std::span<const Trajectory> on(held.others);
    PromptReport result;
    result.task = held.task;
    result.run = held.run;
    result.unseen_task = held.unseen_task;
    result.novelty = novelty[i];
    const auto own =
        std::span(generated).subspan(i * static_cast<std::size_t>(count), static_cast<std::size_t>(count));
    double sum = 0;
    for (const auto& policy : own) {
      sum += error_of(policy, on, units) / static_cast<double>(count);
    }
    result.errors.push_back(sum);
    result.errors.push_back(
        zoo.empty()
            ? std::nullopt
            : std::optional(error_of(policy_of(training, nearest(training, zoo, prompts[i])), on, units)));
    result.errors.push_back(error_of(
        Policy(std::as_const(clones).span().subspan(i * static_cast<std::size_t>(Policy::parameter_size),
                                                    static_cast<std::size_t>(Policy::parameter_size)),
               box, scaling),
        on, units));
    double squares = 0, entries = 0;
    for (const auto& trajectory : on) {
      Trajectory same(trajectory.observations(), trajectory.actions());
      for (Index t = 0; t < same.length(); ++t) {
        std::ranges::transform(units.mean(), same.actions().row(t),
                               [](double x) { return static_cast<float>(x); });
      }
      units.add(std::as_const(same).actions(), wanted_actions(trajectory), squares, entries);
      result.steps += trajectory.length();
      report.targets = report.targets && trajectory.has_target_actions();
    }
    result.errors.push_back(entries > 0 ? std::sqrt(squares / entries) : 0);
    result.errors.push_back(
        held.own.empty()
            ? std::nullopt
            : std::optional(error_of(policy_of(data, nearest(data, held.own, prompts[i])), on, units)));

    if constexpr (Generator::Model::has_head) {
      const auto uncertainty = generator.uncertainty(own.first(1), {&prompts[i], 1});
      const bool squashed = Policy::Network::squash == Squash::tanh;
      double predicted = 0, found = 0, beyond = 0, unsaturated = 0;
      for (const auto& trajectory : on) {
        const auto deviation = uncertainty[0].deviation(trajectory.observations().span());
        Trajectory acted(trajectory.observations(), wanted_actions(trajectory));
        const auto wanted = interface.inside(acted);
        own[0].act_batch(trajectory.observations().span(), acted.actions().span());
        const auto done = interface.inside(acted);
        for (Index t = 0; t < trajectory.length(); ++t) {
          for (Index j = 0; j < Policy::action_size; ++j) {
            const float a = done.actions()(t, j), b = wanted.actions()(t, j);
            if (squashed && std::max(std::abs(a), std::abs(b)) > 0.97f) {
              continue;
            }
            const double error = static_cast<double>(squashed ? std::atanh(a) - std::atanh(b) : a - b);
            const double expected = deviation[static_cast<std::size_t>(t)];
            predicted += expected * expected;
            found += error * error;
            beyond += std::abs(error) > 2 * expected ? 1 : 0;
            unsaturated += 1;
          }
        }
      }
      if (unsaturated > 0) {
        result.predicted = std::sqrt(predicted / unsaturated);
        result.found = std::sqrt(found / unsaturated);
        result.exceeding = beyond / unsaturated;
      }
    }
    report.prompts.push_back(std::move(result));
    bar.update(prompt_count + std::ssize(report.prompts));
    stop_if_interrupted();
  }
  return report;
}

}  // namespace maa::examples
