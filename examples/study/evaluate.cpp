#include "evaluate.hpp"

#include "data.hpp"
#include "episodes.hpp"
#include "interface.hpp"
#include "parallel.hpp"

namespace maa::examples::study {
namespace {

ExpertEpisodes prompt_episodes(const Options& options) {
  return {"test prompts",
          Purpose::test_prompts,
          0,
          options.evaluation.prompt_noise,
          0,
          options.evaluation.prompt_seed};
}

}  // namespace

PlacedPrompt first_prompt(const Options& options, Simulator& simulator, const std::string& task) {
  const auto kind = prompt_episodes(options);
  for (Index number = 0;; ++number) {
    auto trajectory = expert_episode(options, simulator, task, kind, number);
    if (trajectory.success_step) {
      return {std::move(trajectory), episode_placement(options, simulator, task, kind, number)};
    }
  }
}

TestPrompts test_prompts(const Options& options, Simulator& simulator) {
  const auto tasks = options.tasks.reported();
  const Index wanted = options.evaluation.prompts * demonstrations_per_prompt;
  const auto kind = prompt_episodes(options);
  // Noise makes an expert miss now and then: as many are drawn as are missing, up to ten times over.
  std::vector<std::vector<Trajectory>> kept(tasks.size());
  std::vector<Index> drawn(tasks.size());
  for (Index round = 0;; ++round) {
    std::vector<std::pair<std::size_t, Index>> jobs;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      const Index missing = wanted - static_cast<Index>(kept[t].size());
      maa::require(missing == 0 || round < 10, "test prompts: expected ", wanted,
                   " successful demonstrations of ", tasks[t], ", found ", kept[t].size(), " among ",
                   drawn[t]);
      for (Index i = 0; i < missing; ++i) {
        jobs.emplace_back(t, drawn[t]++);
      }
    }
    if (jobs.empty()) {
      break;
    }
    std::vector<Trajectory> episodes(jobs.size());
    run_parallel(kind.label, options.threads, static_cast<Index>(jobs.size()), [&](Index i) {
      const auto& [task, number] = jobs[static_cast<std::size_t>(i)];
      episodes[static_cast<std::size_t>(i)] = expert_episode(options, simulator, tasks[task], kind, number);
    });
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (episodes[i].success_step) {
        kept[jobs[i].first].push_back(std::move(episodes[i]));
      }
    }
  }
  TestPrompts result;
  for (auto& of_task : kept) {
    for (std::size_t i = 0; i < of_task.size(); i += static_cast<std::size_t>(demonstrations_per_prompt)) {
      result.prompts.push_back(of_task[i]);
    }
    std::ranges::move(of_task, std::back_inserter(result.demonstrations));
  }
  return result;
}

Placement scene_placement(const Options& options, const Simulator& simulator, Environment& environment,
                          Purpose scenes, Index prompt, Index scene) {
  const auto& names = simulator.task_names();
  const Index number = std::ranges::find(names, environment.task()) - names.begin();
  return environment.draw_placement(
      Rng(seed_for(options, scenes, number, prompt, scene)).fork(options.evaluation.scene_seed).next_u64());
}

Outcome evaluate(const Options& options, Simulator& simulator, const std::string& label,
                 const Buffer<float>& weights, bool seen_only, Purpose scenes) {
  const auto& type = simulator.interface().policy;
  const auto tasks = options.tasks.reported();
  const auto count = static_cast<Index>(seen_only ? options.tasks.seen.size() : tasks.size());
  const Index prompts = options.evaluation.prompts;
  Outcome outcome(tasks.size());
  for (Index t = 0; t < count; ++t) {
    outcome[static_cast<std::size_t>(t)].resize(static_cast<std::size_t>(prompts));
  }
  run_parallel(label, options.threads, count * prompts, [&](Index i) {
    const Index prompt = i % prompts;
    const auto task = static_cast<std::size_t>(i / prompts);
    const auto environment = simulator.make_environment(tasks[task]);
    std::unique_ptr<Actor> policy;
    if (!weights.empty()) {
      policy = type.make(as_rows(weights, type.parameter_count()).row_span(i));
    }
    auto& episodes = outcome[task][static_cast<std::size_t>(prompt)];
    for (Index scene = 0; scene < options.evaluation.scenes; ++scene) {
      const auto placement = scene_placement(options, simulator, *environment, scenes, prompt, scene);
      const auto success = run_episode(
          *environment, placement, [&](std::span<const float> observation, std::span<float> action) {
            policy ? policy->act(observation, action) : environment->expert_action(action);
          });
      episodes.push_back(success ? *success : -1);
    }
  });
  return outcome;
}

}  // namespace maa::examples::study
