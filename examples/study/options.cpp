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

Json with(Json base, const Json& more) {
  base.update(more);
  return base;
}

}  // namespace

std::vector<std::string> Tasks::trained() const {
  return joined(seen, extra);
}
std::vector<std::string> Tasks::reported() const {
  return joined(seen, unseen);
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
  options.noisy_episodes = 6;
  options.prompt_episodes = 4;
  options.dagger_steps = {60};
  options.dagger_episodes = 2;
  options.runs = 2;
  options.zoo_steps = 120;
  options.snapshots = 6;
  options.batch = 64;
  options.embedder_steps = options.behavior_steps = 10;
  options.prompts.per_task = 3;
  options.scenes = 2;
  options.clone_steps = 20;
  options.clone_steps_zoo = 10;
  options.multi_task_steps = 20;
  options.clip_width = 120;
  options.clip_height = 90;
  options.clip_stride = 8;
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

const char* condition_name(ConditionParts parts) {
  return parts == ConditionParts::h ? "h" : parts == ConditionParts::v ? "v" : "both";
}

Json describe_data(const Options& o) {
  return {{"version", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)},
          {"seed", o.seed},
          {"smoke", o.smoke},
          {"seen", o.tasks.seen},
          {"extra", o.tasks.extra},
          {"validation", o.tasks.validation},
          {"noisy_episodes", o.noisy_episodes},
          {"prompt_episodes", o.prompt_episodes},
          {"dagger_steps", o.dagger_steps},
          {"dagger_episodes", o.dagger_episodes},
          {"recorded_steps", o.recorded_steps},
          {"placement_per_run", o.placement_per_run},
          {"runs", o.runs},
          {"run_share", o.run_share},
          {"shared_start", o.shared_start},
          {"zoo_steps", o.zoo_steps},
          {"snapshots", o.snapshots},
          {"batch", o.batch},
          {"learning_rate", o.learning_rate}};
}

Json describe_training(const Options& o) {
  return with(
      describe_data(o),
      {{"generator_steps", {o.embedder_steps, o.behavior_steps}},
       {"demonstrations", o.demonstrations},
       {"condition", condition_name(o.condition)},
       {"reflections", !o.symmetry.mirrored_observation.empty()},
       {"translations", !o.symmetry.positions.empty()},
       {"huber_width", o.huber_width},
       {"restoring_pairs", o.restoring_pairs},
       {"epoch_share", o.epoch_share},
       {"without", o.without}});
}

Json describe_evaluation(const Options& o) {
  return with(describe_training(o), {{"unseen", o.tasks.unseen},
                                     {"prompts_per_task", o.prompts.per_task},
                                     {"prompt_noise", o.prompts.noise},
                                     {"prompt_seed", o.prompts.seed},
                                     {"scenes_per_policy", o.scenes},
                                     {"scene_seed", o.scene_seed},
                                     {"selection", o.selection},
                                     {"clone_steps", o.clone_steps},
                                     {"clone_steps_zoo", o.clone_steps_zoo},
                                     {"clone_batch", o.clone_batch},
                                     {"multi_task_steps", o.multi_task_steps}});
}

Json describe_clips(const Options& o) {
  return with(describe_evaluation(o),
              {{"render", o.render}, {"clip", {o.clip_width, o.clip_height, o.clip_stride, o.clip_steps}}});
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
