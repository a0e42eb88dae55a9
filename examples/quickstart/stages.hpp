// Finished stages on disk, so that a rerun skips them.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "options.hpp"

namespace maa::examples::quickstart {

// A stage counts as finished when <out>/stages/<name>.json says with which options it ran and these are the
// present ones; it is written after everything else of the stage. A run that is neither asked to resume nor
// follows an interrupted one begins by forgetting all stages.
class Stages {
 public:
  explicit Stages(const Options& options);

  // Runs `work` unless the stage is finished. A stage that runs makes all later ones run too.
  void run(const std::string& name, const std::function<void()>& work);
  // The run is complete: the next one begins anew.
  void complete();

  std::filesystem::path file(const std::string& name) const { return folder_ / name; }
  // Seconds that each stage took when it ran.
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  std::filesystem::path folder_;
  std::string options_;
  bool fresh_ = false;
  std::map<std::string, double> seconds_;
};

// Everything that results depend on.
nlohmann::ordered_json describe(const Options& options);

// The loss curves of one stage, a JSON object per line, for training.jsonl.
class TrainingLog {
 public:
  // Goes on after the lines of an earlier one.
  explicit TrainingLog(std::string lines = {}) : lines_(std::move(lines)) {}
  void add(const std::string& stage, Index step, Index steps, double loss,
           const double* validation = nullptr);
  void write(const std::filesystem::path& path) const;

 private:
  std::string lines_;
};

}  // namespace maa::examples::quickstart
