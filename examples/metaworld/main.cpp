// MetaWorld: collect, train, evaluate. `metaworld --help` lists the options.
#include <CLI/CLI.hpp>

#include "metaworld.hpp"
#include "preset_program.hpp"
#include "presets.hpp"

namespace maa::examples {
namespace {

const study::Flag flags[] = {
    {"--placement-per-run", "data.placement_per_run",
     "the paper's data: all episodes of a run have one placement"},
    {"--condition", "training.condition",
     "embeddings that the generator is trained to see: of the trajectory (h), of the states after success "
     "(v), or "
     "both"},
    {"--epoch-share", "training.epoch_share",
     "with presets paper and reference: train this share of the epochs; all take two days"},
    {"--prediction", "training.prediction",
     "with preset paper: what the denoiser predicts, epsilon, sample (which has no bound: docs/method.md) or "
     "v_prediction"}};

std::string ingredients_help() {
  std::string text = "ingredients of the recipe to leave out, to measure what they are worth:";
  for (const auto& ingredient : metaworld_ingredients()) {
    text += concatenate("\n  ", ingredient.name, ": ", ingredient.what);
  }
  return text;
}

void complete(const std::string& preset, study::Options& options) {
  require(options.training.epoch_share == 1 || preset == "paper" || preset == "reference",
          "--epoch-share is for the presets paper and reference, found ", preset);
  require(options.training.prediction == PredictionType::epsilon || preset == "paper",
          "--prediction is for the preset paper, found ", preset);
  remove_ingredients(options);
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  MetaWorldOptions simulator;
  std::string device = "cpu";
  const study::PresetProgram program{
      .name = "metaworld",
      .description =
          "The method on the MetaWorld package: experts' demonstrations -> policies -> a generator, "
          "measured.",
      .presets = metaworld_presets(),
      .presets_help = "smoke (shows that everything works), small, best, paper or reference",
      .options = &metaworld_options,
      .flags = flags,
      .venv = simulator.venv,
      .add_flags =
          [&](CLI::App& app) {
            app.add_option(
                   "--device", device,
                   "what the generator runs on: cpu or cuda; clones and baselines without a generator "
                   "stay on the cpu")
                ->check(CLI::IsMember({"cpu", "cuda"}))
                ->capture_default_str();
            app.get_option("--without")->description(ingredients_help());
          },
      .complete = &complete,
      .make_simulator = [&] { return make_metaworld(simulator); },
      .models = [&](const std::string& preset, const study::Options& options) -> const study::ModelFactory& {
        return preset_models(preset, device, options);
      }};
  return study::run_preset(program, argc, argv);
}
