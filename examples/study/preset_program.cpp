#include "preset_program.hpp"

#include <CLI/CLI.hpp>

#include "interrupt.hpp"
#include "training_flags.hpp"

namespace maa::examples::study {
namespace {

const Flag preset_flags[] = {
    {"--seed", "seed", "seed of data and training"},
    {"--without", "training.without", ""},
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

struct PresetArguments {
  std::string stage;
  std::string preset = "small";
  Options options;
  bool noise_study = false;
  std::vector<std::string> hold_out;
};

// The preset, with what the command line says on top. Prints and ends the program if that is all there is to
// do.
PresetArguments parse(const PresetProgram& program, int argc, char** argv) {
  PresetArguments arguments;
  const auto add_preset = [&](CLI::App& app) {
    app.add_option("--preset", arguments.preset, program.presets_help)
        ->check(CLI::IsMember(program.presets))
        ->capture_default_str();
  };
  CLI::App preset_alone;
  preset_alone.set_help_flag();
  preset_alone.allow_extras();
  add_preset(preset_alone);
  CLI::App app(program.description);
  try {
    preset_alone.parse(argc, argv);
    auto& options = arguments.options = program.options(arguments.preset);
    options.threads = all_threads();
    app.add_option(
           "stage", arguments.stage,
           "collect: episodes of experts and clones, and the zoo; train: the generator; evaluate: success of "
           "generated policies and of their baselines")
        ->required()
        ->check(CLI::IsMember({"collect", "train", "evaluate"}));
    add_preset(app);
    app.add_option("--out", options.out,
                   concatenate("folder for all results [out/", program.name, "/PRESET]"));
    app.add_option("--venv", program.venv,
                   concatenate("virtual environment with the ", program.name, " package"))
        ->capture_default_str();
    app.add_option("--threads", options.threads,
                   "threads and simulator processes; results do not depend on it")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--hold-out", arguments.hold_out,
                   "tasks that are not trained on but reported as the unseen ones, to choose settings by");
    app.add_flag("--noise-study", arguments.noise_study,
                 "also: prompts with action noise 0, .1, .2, .3 and .5");
    std::vector<Flag> flags(std::begin(preset_flags), std::end(preset_flags));
    flags.insert(flags.end(), std::begin(training_flags), std::end(training_flags));
    flags.insert(flags.end(), program.flags.begin(), program.flags.end());
    study::add_flags(app, options, flags);
    if (program.add_flags) {
      program.add_flags(app);
    }
    app.parse(argc, argv);
    if (program.complete) {
      program.complete(arguments.preset, options);
    }
    if (!arguments.hold_out.empty()) {
      options.tasks.hold_out(arguments.hold_out);
    }
    if (options.out.empty()) {
      options.out = std::filesystem::path("out") / program.name / arguments.preset;
    }
    options.command = command_line(program.name, argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  } catch (const Error& error) {
    std::exit(app.exit(CLI::ValidationError(error.what())));
  }
  return arguments;
}

}  // namespace

int run_preset(const PresetProgram& program, int argc, char** argv) {
  const auto arguments = parse(program, argc, argv);
  const auto& options = arguments.options;
  return run_interruptibly(options.out, [&] {
    const auto simulator = program.make_simulator();
    check_tasks(options.tasks, *simulator);
    Study study(options, *simulator, program.models(arguments.preset, options));
    const auto before = [&](const char* name) {
      return concatenate(program.name, " ", name, " --preset ", arguments.preset, " --out ",
                         options.out.string());
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

}  // namespace maa::examples::study
