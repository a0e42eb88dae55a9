#include "options.hpp"

#include <algorithm>
#include <set>
#include <thread>

#include <maa/core/nearest_names.hpp>
#include <maa/core/rng.hpp>

namespace maa::examples::study {
namespace {

using Json = nlohmann::ordered_json;

template <class... Lists>
std::vector<std::string> joined(const Lists&... lists) {
  std::vector<std::string> result;
  (result.insert(result.end(), lists.begin(), lists.end()), ...);
  return result;
}

}  // namespace

std::vector<std::string> Tasks::trained() const {
  return joined(seen, extra);
}

std::vector<std::string> Tasks::mirror_images(const Simulator& simulator) const {
  std::vector<std::string> images;
  const auto known = trained();
  for (const auto& task : unseen) {
    if (std::ranges::find(known, simulator.mirror_task(task)) != known.end()) {
      images.push_back(task);
    }
  }
  return images;
}

void Tasks::hold_out(const std::vector<std::string>& names) {
  const auto known = trained();
  for (const auto& name : names) {
    require(std::ranges::find(known, name) != known.end(), "expected trained tasks, found ", name,
            "; the nearest are ", nearest_names(name, known));
  }
  for (const auto& name : names) {
    std::erase(seen, name);
    std::erase(extra, name);
  }
  unseen = names;
}

void shrink(Options& options) {
  auto& data = options.data;
  data.noisy_episodes = 6;
  data.prompt_episodes = 4;
  data.dagger_steps = {60};
  data.dagger_episodes = 2;
  data.runs = 2;
  data.zoo_steps = 120;
  data.snapshots = 6;
  data.batch = 64;
  if (options.learned) {
    auto& learned = *options.learned;
    learned.runs = 2;
    learned.other_runs = 1;
    learned.checkpoints = 2;
    learned.rollouts = 2;
    learned.steps() = learned.ppo ? std::min<Index>(learned.steps(), 65'536) : 4000;  // fewer do not walk
    learned.sac.warmup = 100;
    learned.sac.batch = 64;
  }
  options.training.embedder_steps = options.training.behavior_steps = 10;
  auto& evaluation = options.evaluation;
  evaluation.prompts = 3;
  evaluation.scenes = 2;
  evaluation.clone_steps = 20;
  evaluation.clone_steps_zoo = 10;
  evaluation.polish.steps = 10;
  evaluation.multi_task_steps = 20;
  options.clips.width = 120;
  options.clips.height = 90;
  options.clips.stride = 8;
}

void check_tasks(const Tasks& tasks, Simulator& simulator) {
  std::set<std::string> known;
  for (const auto& task : joined(tasks.seen, tasks.unseen, tasks.extra, tasks.validation)) {
    if (std::ranges::find(simulator.task_names(), task) == simulator.task_names().end()) {
      simulator.make_environment(task);  // which says what is near
    }
    require(known.insert(task).second, "tasks: expected each task once, found ", task, " twice");
  }
}

int all_threads() {
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

std::string command_line(const std::string& program, int argc, const char* const* argv) {
  std::string line = program;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool plain = argument.find_first_of(" '\"\\$*?") == std::string::npos && !argument.empty();
    line += plain ? concatenate(" ", argument) : concatenate(" '", argument, "'");
  }
  return line;
}

Json to_json(const Fields& fields) {
  Json json = Json::object();
  for (const auto& [name, text] : fields) {  // numbers, flags and lists of them as such
    auto value = Json::parse(text, nullptr, false);
    json[name] = value.is_discarded() ? Json(text) : std::move(value);
  }
  return json;
}

Json depends_on(const Options& options, std::string_view part) {
  auto fields = fields_of(options);
  const auto last = std::ranges::find_if(fields.rbegin(), fields.rend(), [&](const Field& field) {
    return field.name.starts_with(concatenate(part, "."));
  });
  require(last != fields.rend(), "study: there are no options of \"", part, "\"");
  fields.erase(last.base(), fields.end());
  fields.push_back(
      {"version", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)});
  return to_json(fields);
}

Index task_number(const Simulator& simulator, const std::string& task) {
  return std::ranges::find(simulator.task_names(), task) - simulator.task_names().begin();
}

std::uint64_t seed_for(const Options& options, Purpose purpose, Index a, Index b, Index c) {
  return Rng(options.seed)
      .fork(static_cast<std::uint64_t>(purpose))
      .fork(static_cast<std::uint64_t>(a))
      .fork(static_cast<std::uint64_t>(b))
      .fork(static_cast<std::uint64_t>(c))
      .next_u64();
}

}  // namespace maa::examples::study
