// A study: demonstrators -> a zoo of policies, and what they do -> a generator -> generated policies,
// measured beside their baselines. All results are files in Options::out; a stage that was finished with the
// same options is not run again, and an interrupted one goes on where it stopped.
#pragma once

#include <optional>

#include "data.hpp"
#include "evaluate.hpp"
#include "model.hpp"
#include "options.hpp"
#include "results.hpp"
#include "stages.hpp"

namespace maa::examples::study {

class Study {
 public:
  // All must outlive the study.
  // Error if the models are not of the simulator's policy type.
  Study(const Options& options, Simulator& simulator, const ModelFactory& models);

  // A run of several stages into one folder: begins anew unless asked to resume or the last was interrupted.
  void begin() { stages_.begin(options_.resume); }
  void complete() { stages_.complete(); }

  void collect();   // demonstrations and the zoo: stages/zoo.safetensors
  void train();     // generator.safetensors, and training.jsonl
  void evaluate();  // results.json, policies, prompts, maps and clips; prints a table
  // noise.json: success of generated policies by the action noise in their prompts (the paper's Fig. 7).
  void study_noise(const std::vector<double>& levels);

  // Errors for a stage that needs an earlier one which was not finished.
  void require_collected(const std::string& command);
  void require_trained(const std::string& command);

 private:
  Dataset& data();
  Model& model(bool conditioned);
  std::filesystem::path generator_path(bool conditioned) const;
  void fit(bool conditioned);
  Measured measure(const Method& method, const std::vector<Reported>& reported,
                   const nlohmann::ordered_json& depends_on);
  void write_results(const nlohmann::ordered_json& rows, const nlohmann::ordered_json& prompts) const;

  const Options& options_;
  Simulator& simulator_;
  const ModelFactory& models_;
  Stages stages_;
  std::unique_ptr<Demonstrators> demonstrators_;
  // Kept from one stage to the next, or read when a stage was skipped.
  std::optional<Dataset> dataset_;
  std::unique_ptr<Model> generator_;
  std::unique_ptr<Model> unconditioned_;
};

}  // namespace maa::examples::study
