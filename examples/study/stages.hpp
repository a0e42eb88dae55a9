// Finished stages on disk, so that a rerun skips them.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "options.hpp"

namespace maa::examples::study {

// A stage counts as finished when <out>/stages/<name>.json says what it depended on and this is so now; it is
// written after everything else of the stage.
class Stages {
 public:
  // `origin`: what all stages depend on.
  Stages(const std::filesystem::path& out, nlohmann::ordered_json origin);

  // Forgets all stages, unless asked to resume or the last run was interrupted; then says so.
  void begin(bool resume);
  // The run is complete: the next begin() forgets it.
  void complete();

  // Runs `work` unless the stage is finished. A stage that runs makes all later ones run too.
  void run(const std::string& name, const nlohmann::ordered_json& depends_on,
           const std::function<void()>& work);
  // Error unless the stage is finished, with what it depended on.
  void require_finished(const std::string& name, const nlohmann::ordered_json& depends_on,
                        const std::string& command);

  std::filesystem::path file(const std::string& name) const { return folder_ / name; }
  // Seconds that each stage took when it ran.
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  bool finished(const std::string& name, const nlohmann::ordered_json& depends_on);

  std::filesystem::path folder_;
  nlohmann::ordered_json origin_;
  bool fresh_ = false;
  std::map<std::string, double> seconds_;
};

// A whole file. Error if it cannot be read.
std::string read_text(const std::filesystem::path& path);

// The loss curves of one stage, a JSON object per line, for training.jsonl.
class TrainingLog {
 public:
  // Goes on after the lines of an earlier one.
  explicit TrainingLog(std::string lines = {}) : lines_(std::move(lines)) {}
  void add(const std::string& stage, Index step, Index steps, double loss,
           const double* validation = nullptr);
  void write(const std::filesystem::path& path) const;

  // The library's options that training was called with.
  Fields recipe;

 private:
  std::string lines_;
};

}  // namespace maa::examples::study
