#include "evaluate.hpp"

#include "data.hpp"
#include "episodes.hpp"
#include "interface.hpp"
#include "parallel.hpp"

namespace maa::examples::study {
namespace {

// A run that shows some of the prompts of what is reported.
struct Lane {
  std::size_t reported = 0;
  std::int64_t run = 0;
  std::vector<Demonstration> kept;
  Index drawn = 0;
  bool left_out = false;
};

Index wanted_of(const Options& options, const Reported& reported, std::int64_t run) {
  Index prompts = 0;
  for (Index prompt = 0; prompt < options.evaluation.prompts; ++prompt) {
    prompts += reported.run_of(prompt) == run ? 1 : 0;
  }
  return prompts * demonstrations_per_prompt;
}

// Noise makes a demonstrator miss now and then: as many are drawn as are missing, up to ten times over.
// Returns whether all have what they need; the others are left out.
bool fill(const Options& options, const Demonstrators& demonstrators, const std::vector<Reported>& reported,
          std::vector<Lane>& lanes) {
  const auto missing = [&](const Lane& lane) {
    return lane.left_out ? Index{0}
                         : wanted_of(options, reported[lane.reported], lane.run) - std::ssize(lane.kept);
  };
  for (Index round = 0; round < 10; ++round) {
    std::vector<std::pair<Lane*, Index>> jobs;
    for (auto& lane : lanes) {
      for (Index i = missing(lane); i > 0; --i) {
        jobs.emplace_back(&lane, lane.drawn++);
      }
    }
    if (jobs.empty()) {
      return true;
    }
    std::vector<Demonstration> found(jobs.size());
    run_parallel("test prompts", options.threads, std::ssize(jobs), [&](Index i) {
      const auto& [lane, number] = jobs[static_cast<std::size_t>(i)];
      found[static_cast<std::size_t>(i)] =
          demonstrators.demonstrate(reported[lane->reported].task, lane->run, number);
    });
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (found[i].trajectory.success_step) {
        jobs[i].first->kept.push_back(std::move(found[i]));
      }
    }
  }
  bool complete = true;
  for (auto& lane : lanes) {
    if (missing(lane) > 0) {
      require(demonstrators.may_fail(), "test prompts: expected ",
              wanted_of(options, reported[lane.reported], lane.run), " successful demonstrations of ",
              reported[lane.reported].task, ", found ", lane.kept.size(), " among ", lane.drawn);
      lane.left_out = true;
      complete = false;
    }
  }
  return complete;
}

}  // namespace

TestPrompts test_prompts(const Options& options, const Demonstrators& demonstrators) {
  auto reported = demonstrators.reported();
  std::vector<Lane> lanes;
  for (std::size_t r = 0; r < reported.size(); ++r) {
    for (const auto run : reported[r].runs) {
      lanes.push_back({r, run, {}, 0, false});
    }
  }
  while (!fill(options, demonstrators, reported, lanes)) {  // the others show its prompts
    for (auto& lane : lanes) {
      auto& runs = reported[lane.reported].runs;
      if (lane.left_out && std::erase(runs, lane.run) > 0 && runs.empty()) {
        std::fprintf(stderr, "  No run shows %s.\n", reported[lane.reported].name().c_str());
      }
    }
  }
  TestPrompts result;
  for (const auto& lane : lanes) {
    const auto& of = reported[lane.reported];
    result.shown.push_back(
        {{of.task, of.split, {lane.run}}, lane.drawn, lane.drawn - std::ssize(lane.kept), lane.left_out});
  }
  for (std::size_t r = 0; r < reported.size(); ++r) {
    if (reported[r].runs.empty()) {
      continue;
    }
    result.reported.push_back(reported[r]);
    std::map<std::int64_t, std::size_t> next;
    for (Index prompt = 0; prompt < options.evaluation.prompts; ++prompt) {
      const auto run = reported[r].run_of(prompt);
      auto& lane = *std::ranges::find_if(
          lanes, [&](const Lane& each) { return each.reported == r && each.run == run; });
      for (Index k = 0; k < demonstrations_per_prompt; ++k) {
        auto& demonstration = lane.kept[next[run]++];
        if (k == 0) {
          result.prompts.push_back(demonstration.trajectory);
          result.placements.push_back(demonstration.placement);
        }
        result.demonstrations.push_back(std::move(demonstration.trajectory));
      }
    }
  }
  require(!result.reported.empty(), "test prompts: no run shows its task");
  return result;
}

Placement scene_placement(const Options& options, const Simulator& simulator, Environment& environment,
                          Purpose scenes, Index prompt, Index scene) {
  const Index number = task_number(simulator, environment.task());
  return environment.draw_placement(
      Rng(seed_for(options, scenes, number, prompt, scene)).fork(options.evaluation.scene_seed).next_u64());
}

Outcome evaluate(const Options& options, Simulator& simulator, const std::vector<Reported>& reported,
                 const std::string& label, const Method& method, const Buffer<float>& weights,
                 Purpose scenes) {
  const auto& type = simulator.interface().policy;
  const Index prompts = options.evaluation.prompts;
  Outcome outcome(reported.size());
  Index count = 0;
  for (; count < std::ssize(reported); ++count) {
    const auto r = static_cast<std::size_t>(count);
    if (method.seen_only && reported[r].split != Split::seen) {
      break;
    }
    outcome[r].resize(static_cast<std::size_t>(prompts));
  }
  run_parallel(label, options.threads, count * prompts, [&](Index i) {
    const Index prompt = i % prompts;
    const auto r = static_cast<std::size_t>(i / prompts);
    const auto environment = simulator.make_environment(reported[r].task);
    Controller act;
    std::shared_ptr<Actor> policy;
    if (method.controller) {
      act = method.controller(*environment, i);
    } else {
      policy = type.make(as_rows(weights, type.parameter_count()).row_span(i));
      act = [&policy](std::span<const float> observation, std::span<float> action) {
        policy->act(observation, action);
      };
    }
    auto& episodes = outcome[r][static_cast<std::size_t>(prompt)];
    for (Index scene = 0; scene < options.evaluation.scenes; ++scene) {
      const auto placement = scene_placement(options, simulator, *environment, scenes, prompt, scene);
      const auto success = run_episode(*environment, placement, act);
      episodes.push_back(success ? *success : -1);
    }
  });
  return outcome;
}

}  // namespace maa::examples::study
