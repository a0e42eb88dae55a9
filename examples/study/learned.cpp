#include "learned.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>

#include "episodes.hpp"
#include "interface.hpp"
#include "interrupt.hpp"
#include "parallel.hpp"
#include "progress.hpp"

namespace maa::examples::study {
namespace {

using reinforcement::LearningRun;
using reinforcement::Trainer;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

class LearnedDemonstrators final : public Demonstrators {
 public:
  LearnedDemonstrators(const Options& options, Simulator& simulator, std::filesystem::path collected)
      : options_(options),
        data_(*options.learned),
        simulator_(simulator),
        type_(simulator.interface().policy),
        path_(std::move(collected)) {}

  std::string name() const override { return "demonstrator"; }
  std::string prompts() const override {
    return "rollouts of reinforcement-learned policies, each a run's last, with action noise, on placements "
           "never trained on";
  }

  void collect(const std::filesystem::path& folder, TrainingLog& log) override {
    std::filesystem::create_directories(folder);
    const auto runs = learned_runs(options_);
    std::vector<LearningRun> trained;
    for (const auto& [task, run] : runs) {
      trained.push_back(
          {task, seed_for(options_, Purpose::reinforcement, task_number(simulator_, task), run)});
    }
    const auto learning = make_trainer(std::move(trained));
    auto& trainer = *learning;
    const auto state = folder / (data_.ppo ? "ppo.safetensors" : "sac.safetensors"),
               checkpoints = folder / "checkpoints.safetensors", log_path = folder / "log.jsonl";
    auto origin = depends_on(options_, "data");
    origin["versions"] = simulator_.versions();
    origin["unseen"] = options_.tasks.unseen;
    Dataset found = all_tasks();
    found.provenance["origin"] = origin.dump();
    if (std::filesystem::exists(state) && std::filesystem::exists(checkpoints)) {
      auto stopped = Dataset::load(checkpoints);
      if (stopped.provenance["origin"] == found.provenance["origin"]) {
        trainer.load(state);
        add_before(stopped, trainer.step_count(), found);
        log = TrainingLog(read_text(log_path));
      }
    }
    const auto keep = [&] {
      log.write(log_path);
      found.save(checkpoints);
      trainer.save(state);
    };
    const Index steps = trainer.steps();
    Progress progress(concatenate(runs.size(), " runs"), steps);
    while (!trainer.finished()) {
      if (interrupted()) {
        keep();
        throw Interrupted();
      }
      const Index before = trainer.step_count();
      trainer.step();
      const Index step = trainer.step_count(), report_every = std::max<Index>(1, steps / 200);
      if (step / report_every > before / report_every) {
        const double mean = mean_return(trainer);
        progress.update(step, concatenate("mean return ", mean));
        log.add("runs, minus the return", step, steps, -mean);
      }
      if (checkpoints_by(step, steps) > checkpoints_by(before, steps)) {
        add_checkpoint(trainer, runs, found);
        keep();
      }
    }
    found.save(path_);
    for (const auto& path : {state, checkpoints, log_path}) {
      std::filesystem::remove(path);
    }
  }

  Dataset zoo(TrainingLog&) override {
    const auto& all = collected();
    const auto trained = options_.tasks.trained();
    auto tasks = trained;
    tasks.insert(tasks.end(), options_.tasks.validation.begin(), options_.tasks.validation.end());
    Dataset dataset(all.observation_size, all.action_size, all.parameter_count, tasks);
    dataset.provenance = all.provenance;
    dataset.interface.metadata = simulator_.interface().metadata;
    dataset.policy_shape = all.policy_shape;
    // Policies of trained tasks and of validation tasks, of which the rollouts alone are kept.
    std::vector<Index> acting;
    for (const auto& task : tasks) {
      const bool is_trained = contains(trained, task);
      for (std::int64_t run = 0; run < (is_trained ? data_.runs : data_.other_runs); ++run) {
        for (const Index policy : policies_of(task, run)) {
          acting.push_back(policy);
          const auto step = all.policies[static_cast<std::size_t>(policy)].step;
          if (is_trained) {
            dataset.add_policy({dataset.task_index(task), run, step}, all.weight_matrix().row_span(policy));
          }
        }
      }
    }
    std::vector<Trajectory> rollouts(acting.size() * static_cast<std::size_t>(data_.rollouts));
    run_parallel("rollouts", options_.threads, std::ssize(rollouts), [&](Index i) {
      const Index policy = acting[static_cast<std::size_t>(i / data_.rollouts)];
      const auto& record = all.policies[static_cast<std::size_t>(policy)];
      const auto& task = all.tasks[static_cast<std::size_t>(record.task)];
      const auto number = static_cast<std::size_t>(i % data_.rollouts);
      const Rng rng(seed_for(options_, Purpose::rollouts, task_number(simulator_, task), record.run,
                             record.step * data_.rollouts + static_cast<Index>(number)));
      rollouts[static_cast<std::size_t>(i)] =
          rollout(task, record.run, policy, rng, data_.rollout_noise[number % data_.rollout_noise.size()])
              .trajectory;
    });
    for (auto& trajectory : rollouts) {
      dataset.add_trajectory(std::move(trajectory));
    }
    return dataset;
  }

  std::vector<Reported> reported() const override {
    const auto numbers = [](std::int64_t first, Index count) {
      std::vector<std::int64_t> runs(static_cast<std::size_t>(count));
      std::iota(runs.begin(), runs.end(), first);
      return runs;
    };
    std::vector<Reported> result;
    const auto add = [&](const std::vector<std::string>& tasks, Split split, std::int64_t first,
                         Index count) {
      for (const auto& task : tasks) {
        if (count > 0) {
          result.push_back({task, split, numbers(first, count)});
        }
      }
    };
    add(options_.tasks.seen, Split::seen, 0, data_.runs);
    add(options_.tasks.seen, Split::new_run, data_.runs, data_.new_runs);
    add(options_.tasks.unseen, Split::unseen, 0, data_.other_runs);
    return result;
  }
  bool may_fail() const override { return true; }

  Demonstration demonstrate(const std::string& task, std::int64_t run, Index number) const override {
    const auto& noise = options_.evaluation.prompt_noise;
    const Rng rng(seed_for(options_, Purpose::test_prompts, task_number(simulator_, task), run, number));
    return rollout(task, run, policies_of(task, run).back(), rng.fork(options_.evaluation.prompt_seed),
                   noise[static_cast<std::size_t>(number) % noise.size()]);
  }
  Controller controller(Environment& environment, std::int64_t run) const override {
    return controller_of(policies_of(environment.task(), run).back());
  }

 private:
  Dataset all_tasks() const {
    auto tasks = options_.tasks.trained();
    for (const auto* others : {&options_.tasks.validation, &options_.tasks.unseen}) {
      tasks.insert(tasks.end(), others->begin(), others->end());
    }
    Dataset dataset(type_.observation_size(), type_.action_size(), type_.parameter_count(), tasks);
    dataset.policy_shape = type_.shape;
    dataset.provenance["simulator"] = simulator_.name();
    for (const auto& [name, version] : simulator_.versions()) {
      dataset.provenance["version." + name] = version;
    }
    return dataset;
  }
  std::unique_ptr<Trainer> make_trainer(std::vector<LearningRun> runs) {
    if (data_.ppo) {
      return std::make_unique<reinforcement::PpoTrainer>(type_, simulator_, std::move(runs), *data_.ppo,
                                                         options_.threads);
    }
    return std::make_unique<reinforcement::SacTrainer>(type_, simulator_, std::move(runs), data_.sac,
                                                       options_.threads);
  }
  // Checkpoints that are due when so many of all steps are done.
  Index checkpoints_by(Index step, Index steps) const {
    const Index first = steps / 2;
    Index count = 0;
    while (count < data_.checkpoints && step >= first + (count + 1) * (steps - first) / data_.checkpoints) {
      ++count;
    }
    return count;
  }
  static void add_checkpoint(const Trainer& trainer, const std::vector<LearnedRun>& runs, Dataset& found) {
    Buffer<float> weights(trainer.run_count() * found.parameter_count);
    const MatrixView<float> rows(weights.data(), trainer.run_count(), found.parameter_count);
    trainer.export_policies(rows);
    for (Index i = 0; i < trainer.run_count(); ++i) {
      const auto& [task, run] = runs[static_cast<std::size_t>(i)];
      found.add_policy({found.task_index(task), run, trainer.step_count()}, rows.row_span(i));
    }
  }
  // The checkpoints up to a step.
  static void add_before(const Dataset& from, Index step, Dataset& found) {
    for (Index i = 0; i < from.policy_count(); ++i) {
      const auto& record = from.policies[static_cast<std::size_t>(i)];
      if (record.step <= step) {
        found.add_policy(record, from.weight_matrix().row_span(i));
      }
    }
  }
  static double mean_return(const Trainer& trainer) {
    double sum = 0;
    for (Index i = 0; i < trainer.run_count(); ++i) {
      sum += trainer.mean_return(i);
    }
    return sum / static_cast<double>(trainer.run_count());
  }

  const Dataset& collected() const {
    std::call_once(read_, [&] { collected_ = Dataset::load(path_); });
    return collected_;
  }
  // In order of their steps.
  std::vector<Index> policies_of(const std::string& task, std::int64_t run) const {
    const auto& all = collected();
    const Index number = all.task_index(task);
    std::vector<Index> result;
    for (Index i = 0; i < all.policy_count(); ++i) {
      const auto& record = all.policies[static_cast<std::size_t>(i)];
      if (record.task == number && record.run == run) {
        result.push_back(i);
      }
    }
    require(!result.empty(), "study: expected checkpoints of run ", run, " of ", task, ", found none");
    return result;
  }
  Controller controller_of(Index policy) const {
    const std::shared_ptr<Actor> actor = type_.make(collected().weight_matrix().row_span(policy));
    return [actor](std::span<const float> observation, std::span<float> action) {
      actor->act(observation, action);
    };
  }
  // A whole episode; what the policy does without noise is its target.
  Demonstration rollout(const std::string& task, std::int64_t run, Index policy, Rng rng,
                        double noise) const {
    const auto environment = simulator_.make_environment(task);
    const auto act = controller_of(policy);
    const auto placement = environment->draw_placement(rng.fork(1).next_u64());
    const Index steps = environment->max_episode_steps();
    auto trajectory =
        record_episode(*environment, placement, act, act, {.deviation = noise}, rng.fork(2), steps, steps, 0);
    trajectory.run = run;
    return {std::move(trajectory), placement};
  }

  const Options& options_;
  const LearnedDataOptions& data_;
  Simulator& simulator_;
  const PolicyType& type_;
  std::filesystem::path path_;
  mutable std::once_flag read_;
  mutable Dataset collected_;
};

}  // namespace

std::vector<LearnedRun> learned_runs(const Options& options) {
  const auto& data = *options.learned;
  const auto& tasks = options.tasks;
  std::vector<LearnedRun> result;
  const auto add = [&](const std::vector<std::string>& names, const auto& count) {
    for (const auto& task : names) {
      for (std::int64_t run = 0; run < count(task); ++run) {
        result.push_back({task, run});
      }
    }
  };
  add(tasks.trained(),
      [&](const std::string& task) { return data.runs + (contains(tasks.seen, task) ? data.new_runs : 0); });
  add(tasks.validation, [&](const std::string&) { return data.other_runs; });
  add(tasks.unseen, [&](const std::string&) { return data.other_runs; });
  return result;
}

std::unique_ptr<Demonstrators> make_learned_demonstrators(const Options& options, Simulator& simulator,
                                                          std::filesystem::path collected) {
  return std::make_unique<LearnedDemonstrators>(options, simulator, std::move(collected));
}

}  // namespace maa::examples::study
