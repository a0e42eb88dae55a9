#include "stages.hpp"

#include <cstdio>
#include <fstream>

#include <maa/core/error.hpp>
#include <maa/io/atomic_file.hpp>

namespace maa::examples::quickstart {
namespace {

using Json = nlohmann::ordered_json;

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return file ? Json::parse(file, nullptr, false) : Json();
}

}  // namespace

nlohmann::ordered_json describe(const Options& o) {
  return {{"version", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)},
          {"seed", o.seed},
          {"smoke", o.smoke},
          {"seen", o.tasks.seen},
          {"unseen", o.tasks.unseen},
          {"noisy_episodes", o.noisy_episodes},
          {"prompt_episodes", o.prompt_episodes},
          {"dagger_steps", o.dagger_steps},
          {"dagger_episodes", o.dagger_episodes},
          {"runs", o.runs},
          {"run_share", o.run_share},
          {"zoo_steps", o.zoo_steps},
          {"snapshots", o.snapshots},
          {"batch", o.batch},
          {"learning_rate", o.learning_rate},
          {"generator_steps", {o.autoencoder_steps, o.embedder_steps, o.denoiser_steps, o.behavior_steps}},
          {"prompts_per_task", o.prompts},
          {"scenes_per_policy", o.scenes},
          {"clone_steps", o.clone_steps},
          {"clone_steps_zoo", o.clone_steps_zoo},
          {"clone_batch", o.clone_batch},
          {"render", o.render},
          {"clip", {o.clip_width, o.clip_height, o.clip_stride}}};
}

Stages::Stages(const Options& options) : folder_(options.out / "stages"), options_(describe(options).dump()) {
  const auto marker = folder_ / "unfinished";
  const bool interrupted_before = std::filesystem::exists(marker);
  if (!options.resume && !interrupted_before) {
    std::filesystem::remove_all(folder_);
  } else if (!options.resume) {
    std::fprintf(stderr, "An earlier run into %s was stopped: its finished stages are used.\n",
                 options.out.c_str());
  }
  std::filesystem::create_directories(folder_);
  write_file_atomically(marker, "");
}

void Stages::run(const std::string& name, const std::function<void()>& work) {
  const auto record_path = folder_ / (name + ".json");
  const auto record = read_json(record_path);
  if (!fresh_ && record.is_object() && record.value("options", "") == options_) {
    seconds_[name] = record.value("seconds", 0.0);
    std::fprintf(stderr, "== %s: finished before (%.0f s)\n", name.c_str(), seconds_[name]);
    return;
  }
  fresh_ = true;
  std::filesystem::remove(record_path);
  std::fprintf(stderr, "== %s\n", name.c_str());
  const auto start = std::chrono::steady_clock::now();
  work();
  seconds_[name] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file_atomically(record_path, Json{{"options", options_}, {"seconds", seconds_[name]}}.dump());
}

void Stages::complete() {
  std::filesystem::remove(folder_ / "unfinished");
}

void TrainingLog::add(const std::string& stage, Index step, Index steps, double loss,
                      const double* validation) {
  Json line{{"stage", stage}, {"step", step}, {"steps", steps}, {"loss", loss}};
  if (validation != nullptr) {
    line["validation"] = *validation;
  }
  lines_ += line.dump() + '\n';
}

void TrainingLog::write(const std::filesystem::path& path) const {
  write_file_atomically(path, lines_);
}

}  // namespace maa::examples::quickstart
