#include "evaluate.hpp"

#include <maa/models/policy.hpp>

#include "data.hpp"
#include "episodes.hpp"
#include "parallel.hpp"
#include "tabletop.hpp"

namespace maa::examples::quickstart {
namespace {

constexpr double prompt_noise[] = {0.0, 0.1, 0.2, 0.3};

Index scenes_solved(const Options& options, const std::string& task, Index prompt,
                    const MetaWorldPolicy* policy) {
  const auto environment = tabletop::make_environment(task);
  Index solved = 0;
  for (Index scene = 0; scene < options.scenes; ++scene) {
    const auto placement = environment->draw_placement(scene_seed(options, task, prompt, scene));
    const auto success = policy == nullptr
                             ? run_episode(*environment, placement, expert_of(*environment))
                             : run_episode(*environment, placement,
                                           [&](std::span<const float> observation, std::span<float> action) {
                                             policy->act(observation, action);
                                           });
    solved += success ? 1 : 0;
  }
  return solved;
}

}  // namespace

TestPrompts test_prompts(const Options& options) {
  const Index wanted = options.prompts * demonstrations_per_prompt;
  const Index drawn = wanted + wanted / 8 + 2;  // the noise makes an expert miss now and then
  const auto episodes = expert_episodes(options, "test prompts", options.tasks.all(), Purpose::test_prompts,
                                        drawn, prompt_noise, 0);
  TestPrompts result;
  for (std::size_t first = 0; first < episodes.size(); first += static_cast<std::size_t>(drawn)) {
    Index kept = 0;
    for (std::size_t i = first; i < first + static_cast<std::size_t>(drawn) && kept < wanted; ++i) {
      if (episodes[i].success_step) {
        if (kept++ % demonstrations_per_prompt == 0) {
          result.prompts.push_back(episodes[i]);
        }
        result.demonstrations.push_back(episodes[i]);
      }
    }
    maa::require(kept == wanted, "test prompts: expected ", wanted, " successful demonstrations of ",
                 episodes[first].task, ", found ", kept, " among ", drawn);
  }
  return result;
}

std::uint64_t scene_seed(const Options& options, const std::string& task, Index prompt, Index scene) {
  const auto& names = tabletop::task_names();
  const Index number = std::ranges::find(names, task) - names.begin();
  return seed_for(options, Purpose::scenes, number, prompt, scene);
}

std::vector<Outcome> evaluate(const Options& options, const std::vector<Method>& methods) {
  const auto tasks = options.tasks.all();
  struct Job {
    std::size_t method;
    std::size_t task;
    Index prompt;
  };
  std::vector<Job> jobs;
  std::vector<Outcome> outcomes;
  for (std::size_t m = 0; m < methods.size(); ++m) {
    auto& outcome = outcomes.emplace_back(Outcome{methods[m].name, {}});
    outcome.successes.resize(tasks.size());
    for (std::size_t t = 0; t < tasks.size() && (t < options.tasks.seen.size() || !methods[m].seen_only);
         ++t) {
      outcome.successes[t].resize(static_cast<std::size_t>(options.prompts));
      for (Index prompt = 0; prompt < options.prompts; ++prompt) {
        jobs.push_back({m, t, prompt});
      }
    }
  }
  constexpr auto size = MetaWorldPolicy::parameter_size;
  run_parallel("policies in scenes", options.threads, static_cast<Index>(jobs.size()), [&](Index i) {
    const auto [m, t, prompt] = jobs[static_cast<std::size_t>(i)];
    const auto& weights = methods[m].weights;
    Index solved = 0;
    if (weights.empty()) {
      solved = scenes_solved(options, tasks[t], prompt, nullptr);
    } else {
      const Index row = static_cast<Index>(t) * options.prompts + prompt;
      const MetaWorldPolicy policy(std::span(weights.data() + row * size, static_cast<std::size_t>(size)));
      solved = scenes_solved(options, tasks[t], prompt, &policy);
    }
    outcomes[m].successes[t][static_cast<std::size_t>(prompt)] = solved;
  });
  return outcomes;
}

}  // namespace maa::examples::quickstart
