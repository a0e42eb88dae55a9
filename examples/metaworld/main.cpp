// MetaWorld: collect, train, evaluate. `metaworld --help` lists the options.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "flags.hpp"
#include "interrupt.hpp"
#include "metaworld.hpp"
#include "presets.hpp"
#include "study.hpp"

namespace maa::examples {
namespace {

const study::Flag flags[] = {
    {"--seed", "seed", "seed of data and training"},
    {"--placement-per-run", "data.placement_per_run",
     "the paper's data: all episodes of a run have one placement"},
    {"--without", "training.without", ""},
    {"--condition", "training.condition",
     "embeddings that the generator is trained to see: of the trajectory (h), of the states after success "
     "(v), or "
     "both"},
    {"--epoch-share", "training.epoch_share",
     "with presets paper and reference: train this share of the epochs; all take two days"},
    {"--prediction", "training.prediction",
     "with preset paper: what the denoiser predicts, epsilon, sample (which has no bound: docs/method.md) or "
     "v_prediction"},
    {"--no-baseline", "methods.baseline",
     "leave out the baseline that takes a training of its own: one network"},
    {"--methods", "methods.only", "measure only these methods [all]"},
    {"--prompts", "evaluation.prompts", "prompts (and so policies) of each task"},
    {"--scenes", "evaluation.scenes", "random scenes that each policy must master"},
    {"--prompt-noise", "evaluation.prompt_noise", "deviations of the prompts' action noise, in turn"},
    {"--prompt-seed", "evaluation.prompt_seed", "another seed means other prompts"},
    {"--scene-seed", "evaluation.scene_seed", "another seed means other scenes"},
    {"--no-selection", "evaluation.selection",
     "leave out the best 5 and 10 policies, which are selected in scenes of their own"},
    {"--trial", "evaluation.trial", "also choose among samples by trial, in scenes of their own"},
    {"--unseen", "tasks.unseen", "other unseen tasks"},
    {"--no-render", "clips.render", "leave the clips out"}};

struct Arguments {
  std::string stage;
  std::string preset = "small";
  study::Options options;
  MetaWorldOptions simulator;
  bool noise_study = false;
  std::vector<std::string> hold_out;
  std::string device = "cpu";
};

std::string ingredients_help() {
  std::string text = "ingredients of the recipe to leave out, to measure what they are worth:";
  for (const auto& ingredient : metaworld_ingredients()) {
    text += concatenate("\n  ", ingredient.name, ": ", ingredient.what);
  }
  return text;
}

void add_preset(CLI::App& app, Arguments& arguments) {
  app.add_option("--preset", arguments.preset,
                 "smoke (shows that everything works), small, best, paper or reference")
      ->check(CLI::IsMember(metaworld_presets()))
      ->capture_default_str();
}

// The preset, with what the command line says on top.
Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App preset_alone;
  preset_alone.set_help_flag();
  preset_alone.allow_extras();
  add_preset(preset_alone, arguments);
  CLI::App app(
      "The method on the MetaWorld package: experts' demonstrations -> policies -> a generator, measured.");
  try {
    preset_alone.parse(argc, argv);
    auto& options = arguments.options = metaworld_options(arguments.preset);
    options.threads = study::all_threads();
    app.add_option(
           "stage", arguments.stage,
           "collect: episodes of experts and clones, and the zoo; train: the generator; evaluate: success of "
           "generated policies and of their baselines")
        ->required()
        ->check(CLI::IsMember({"collect", "train", "evaluate"}));
    add_preset(app, arguments);
    app.add_option("--out", options.out, "folder for all results [out/metaworld/PRESET]");
    app.add_option("--venv", arguments.simulator.venv, "virtual environment with the metaworld package")
        ->capture_default_str();
    app.add_option("--threads", options.threads,
                   "threads and simulator processes; results do not depend on it")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--device", arguments.device,
                   "what the generator runs on: cpu or cuda; clones and baselines without a generator stay "
                   "on the cpu")
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->capture_default_str();
    app.add_option("--hold-out", arguments.hold_out,
                   "tasks that are not trained on but reported as the unseen ones, to choose settings by");
    app.add_flag("--noise-study", arguments.noise_study,
                 "also: prompts with action noise 0, .1, .2, .3 and .5");
    study::add_flags(app, options, flags);
    app.get_option("--without")->description(ingredients_help());
    app.parse(argc, argv);
    require(
        options.training.epoch_share == 1 || arguments.preset == "paper" || arguments.preset == "reference",
        "--epoch-share is for the presets paper and reference, found ", arguments.preset);
    require(options.training.prediction == PredictionType::epsilon || arguments.preset == "paper",
            "--prediction is for the preset paper, found ", arguments.preset);
    remove_ingredients(options);
    if (!arguments.hold_out.empty()) {
      options.tasks.hold_out(arguments.hold_out);
    }
    if (options.out.empty()) {
      options.out = std::filesystem::path("out/metaworld") / arguments.preset;
    }
    options.command = study::command_line("metaworld", argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  } catch (const Error& error) {
    std::exit(app.exit(CLI::ValidationError(error.what())));
  }
  return arguments;
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  const auto arguments = parse(argc, argv);
  const auto& options = arguments.options;
  return run_interruptibly(options.out, [&] {
    const auto simulator = make_metaworld(arguments.simulator);
    study::check_tasks(options.tasks, *simulator);
    study::Study study(options, *simulator, preset_models(arguments.preset, arguments.device, options));
    const auto before = [&](const char* name) {
      return "metaworld " + std::string(name) + " --preset " + arguments.preset + " --out " +
             options.out.string();
    };
    if (arguments.stage == "collect") {
      study.collect();
    } else if (arguments.stage == "train") {
      study.require_collected(before("collect"));
      study.train();
    } else {
      study.require_trained(before("train"));
      study.evaluate();
      if (arguments.noise_study) {
        study.study_noise({0.0, 0.1, 0.2, 0.3, 0.5});
      }
    }
  });
}
