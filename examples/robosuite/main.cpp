// robosuite: collect, train, evaluate. `robosuite --help` lists the options.
#include <CLI/CLI.hpp>

#include "models.hpp"
#include "preset_program.hpp"
#include "robosuite.hpp"

namespace maa::examples {
namespace {

// Trained on Panda's tasks; the unseen ones are the same by another arm.
study::Options robosuite_options(const std::string& preset) {
  study::Options options;
  options.tasks.seen = {"Panda-Lift", "Panda-Door"};
  options.tasks.unseen = {"Sawyer-Lift", "Sawyer-Door"};
  options.data.noisy_episodes = 80;
  options.data.prompt_episodes = 40;
  options.data.dagger_steps = {1000, 500, 500};
  options.data.dagger_episodes = 30;
  options.data.zoo_steps = 3000;
  options.training.behavior_steps = 2000;
  options.training.demonstrations = {1, 3};
  options.training.reflections = options.training.translations = false;  // there are none
  options.evaluation.prompts = 10;
  options.evaluation.trial = false;  // ten times what a method costs
  options.evaluation.prompt_noise = {0.0, 0.05, 0.1};
  options.methods.baseline = true;
  options.clips.width = 320;
  options.clips.height = 240;
  options.clips.stride = 4;
  if (preset == "smoke") {
    options.smoke = true;
    study::shrink(options);
  }
  return options;
}

// "head" is all that can be left out.
bool without_head(const study::Options& options) {
  for (const auto& name : options.training.without) {
    require(name == "head", "robosuite: there is no ingredient \"", name, "\"; there is head");
  }
  return !options.training.without.empty();
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  RobosuiteOptions simulator;
  const study::PresetProgram program{
      .name = "robosuite",
      .description =
          "The method on the robosuite package: trained on one arm, shown another. Experts' demonstrations "
          "-> "
          "policies -> a generator, measured.",
      .presets = {"smoke", "small"},
      .presets_help = "smoke (shows that everything works) or small",
      .options = &robosuite_options,
      .venv = simulator.venv,
      .add_flags =
          [](CLI::App& app) {
            app.get_option("--without")
                ->description(
                    "head: train and generate without the closed-form correction of the last layer");
          },
      .complete = [](const std::string&, study::Options& options) { without_head(options); },
      .make_simulator = [&] { return make_robosuite(simulator); },
      .models = [](const std::string&, const study::Options& options) -> const study::ModelFactory& {
        return without_head(options) ? robosuite_models_without_head : robosuite_models;
      }};
  return study::run_preset(program, argc, argv);
}
