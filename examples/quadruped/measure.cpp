// How the policies of a finished study walk, beside the runs that showed their prompts: falls, return,
// tracking errors and style, on flat or uneven ground. Prints a table, and writes OUT/gaits.json.
#include <cstdio>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <maa/data/dataset.hpp>
#include <maa/io/atomic_file.hpp>

#include "commands.hpp"
#include "episodes.hpp"
#include "parallel.hpp"
#include "quadruped.hpp"

namespace maa::examples {
namespace {

using Json = nlohmann::ordered_json;

struct Walker {
  std::string task, who;
  std::shared_ptr<Actor> actor;
};

// Means over a walker's scenes.
struct Measures {
  double fallen = 0, success = 0, total = 0;
  quadruped::Gait gait;

  template <class Self, class Visit>
  static void each(Self& self, const Visit& visit) {
    visit("fallen", self.fallen);
    visit("success", self.success);
    visit("return", self.total);
    visit("velocity_error", self.gait.velocity_error);
    visit("turning_error", self.gait.turning_error);
    visit("forward", self.gait.forward);
    visit("left", self.gait.left);
    visit("turn", self.gait.turn);
    visit("stride_frequency", self.gait.stride_frequency);
    visit("duty_factor", self.gait.duty_factor);
  }
  std::vector<double> values() const {
    std::vector<double> result;
    each(*this, [&](const char*, double value) { result.push_back(value); });
    return result;
  }
};

std::vector<Walker> walkers_of(const std::filesystem::path& out, const PolicyType& type) {
  std::vector<Walker> walkers;
  const auto collected = Dataset::load(out / "stages" / "collected.safetensors");
  for (const auto& command : quadruped::commands) {
    const std::string task = command.name;
    if (std::ranges::find(collected.tasks, task) == collected.tasks.end()) {
      continue;
    }
    Index last = 0;
    for (const auto& record : collected.policies) {
      last = std::max(last, record.step);
    }
    for (Index i = 0; i < collected.policy_count(); ++i) {
      const auto& record = collected.policies[static_cast<std::size_t>(i)];
      if (record.task == collected.task_index(task) && record.step == last) {
        walkers.push_back({task, "runs", type.make(collected.weight_matrix().row_span(i))});
      }
    }
    for (Index prompt = 0;; ++prompt) {
      const auto path = out / "policies" / concatenate(task, '_', prompt, ".safetensors");
      if (!std::filesystem::exists(path)) {
        break;
      }
      walkers.push_back({task, "generated", type.load(path)});
    }
  }
  require(!walkers.empty(), out.string(), ": expected policies of a finished study, found none");
  return walkers;
}

Measures measure(Simulator& simulator, const Walker& walker, Index scene) {
  const auto environment = simulator.make_environment(walker.task);
  std::vector<float> observation(static_cast<std::size_t>(environment->observation_size()));
  std::vector<float> action(static_cast<std::size_t>(environment->action_size()));
  environment->reset(environment->draw_placement(static_cast<std::uint64_t>(scene)), observation);
  Measures result;
  for (Index step = 0; step < environment->max_episode_steps(); ++step) {
    walker.actor->act(observation, action);
    const auto now = environment->step(action, observation);
    result.total += now.reward;
    result.success = now.success ? 1 : result.success;
    if (now.failed) {
      break;
    }
  }
  result.gait = quadruped::gait_of(*environment);
  result.fallen = result.gait.fallen ? 1 : 0;
  return result;
}

void run(const std::filesystem::path& out, const quadruped::QuadrupedOptions& robot, Index scenes,
         int threads) {
  const auto simulator = quadruped::make_simulator(robot);
  const auto walkers = walkers_of(out, simulator->interface().policy);
  std::vector<Measures> found(walkers.size() * static_cast<std::size_t>(scenes));
  run_parallel("walking", threads, std::ssize(found), [&](Index i) {
    found[static_cast<std::size_t>(i)] =
        measure(*simulator, walkers[static_cast<std::size_t>(i / scenes)], i % scenes);
  });
  Json rows = Json::array();
  std::printf("%-13s %-10s", "command", "who");
  Measures::each(found.front(), [](const char* name, double) { std::printf(" %s", name); });
  std::printf("\n");
  for (std::size_t first = 0, last = 0; first < walkers.size(); first = last) {
    const auto& [task, who, actor] = walkers[first];
    while (last < walkers.size() && walkers[last].task == task && walkers[last].who == who) {
      ++last;
    }
    std::vector<double> sums;
    for (std::size_t i = first * static_cast<std::size_t>(scenes);
         i < last * static_cast<std::size_t>(scenes); ++i) {
      const auto values = found[i].values();
      sums.resize(values.size());
      std::ranges::transform(sums, values, sums.begin(), std::plus<>());
    }
    Json row{{"command", task}, {"who", who}, {"policies", last - first}, {"scenes", scenes}};
    std::printf("%-13s %-10s", task.c_str(), who.c_str());
    std::size_t k = 0;
    Measures::each(found.front(), [&](const char* name, double) {
      const double mean = sums[k++] / static_cast<double>((last - first) * static_cast<std::size_t>(scenes));
      row[name] = mean;
      std::printf(" %*.3f", static_cast<int>(std::string_view(name).size()), mean);
    });
    std::printf("\n");
    rows.push_back(row);
  }
  const auto path = out / (robot.unevenness > 0 ? "gaits_uneven.json" : "gaits.json");
  write_file_atomically(path, Json{{"simulator", simulator->versions()}, {"rows", rows}}.dump());
  std::printf("Written: %s\n", path.c_str());
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  std::filesystem::path out;
  quadruped::QuadrupedOptions robot;
  maa::Index scenes = 8;
  int threads = 2;
  CLI::App app("How the policies of a finished study of the quadruped walk.");
  app.add_option("out", out, "the study's folder")->required();
  app.add_option("--model", robot.model, "the MJCF scene of the study, if it had one");
  app.add_option("--unevenness", robot.unevenness, "metres between the lowest and the highest of the ground")
      ->check(CLI::Range(0.0, 0.2));
  app.add_option("--scenes", scenes, "of each policy")->check(CLI::Range(1, 100'000))->capture_default_str();
  app.add_option("--threads", threads, "threads")->check(CLI::Range(1, 1024))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run_interruptibly(out, [&] { run(out, robot, scenes, threads); });
}
