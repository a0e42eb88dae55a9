// MetaWorld: collect, train, evaluate. `metaworld --help` lists the commands.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "interrupt.hpp"
#include "metaworld.hpp"
#include "presets.hpp"
#include "study.hpp"

namespace maa::examples {
namespace {

struct Arguments {
  std::string preset = "small";
  study::Options options;
  MetaWorldOptions simulator;
  bool noise_study = false;
  std::vector<std::string> without = {};
  std::vector<std::string> hold_out = {};
  std::string device = "cpu";
};

// Options of every command; what they change is in the preset's place.
void add_common(CLI::App& command, Arguments& arguments) {
  auto& options = arguments.options;
  command.add_option("--preset", arguments.preset, "smoke, small, best, paper or reference")
      ->check(CLI::IsMember(metaworld_presets()))
      ->capture_default_str();
  command.add_option("--out", options.out, "folder for all results [out/metaworld/PRESET]");
  command.add_option("--seed", options.seed, "seed of data and training")->capture_default_str();
  command.add_flag("--placement-per-run", options.placement_per_run,
                   "the paper's data: all episodes of a run have one placement");
  command
      .add_option("--without", arguments.without,
                  "ingredients to leave out: reflections, translations, validation, extra-tasks, "
                  "several-demonstrations, huber, restoring-pairs, shared-start, behavior-loss, head, "
                  "whole-prompts, decoder-start")
      ->check(CLI::IsMember(metaworld_ingredients()));
  command.add_option("--hold-out", arguments.hold_out,
                     "tasks that are not trained on but reported as the unseen ones, to choose settings by");
  command.add_option("--venv", arguments.simulator.venv, "virtual environment with the metaworld package")
      ->capture_default_str();
  command.add_option("--threads", options.threads, "threads and simulator processes")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

// Errors become those of the option.
template <class Change>
void change(const char* option, const Change& made) {
  try {
    made();
  } catch (const Error& error) {
    throw CLI::ValidationError(option, error.what());
  }
}

// The preset, with what the command line says on top: read twice, so that options overrule the preset.
Arguments parse(int argc, char** argv, std::string& command) {
  Arguments arguments;
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1) {
      const auto preset = arguments.preset;
      const auto simulator = arguments.simulator;
      arguments = {preset, metaworld_options(preset), simulator};
    }
    auto& options = arguments.options;
    options.threads = study::all_threads();
    CLI::App app(
        "The method on the MetaWorld package: experts' demonstrations -> policies -> a generator, measured.");
    app.require_subcommand(1);
    auto* collect = app.add_subcommand("collect", "episodes of scripted experts and clones, and the zoo");
    auto* train = app.add_subcommand("train", "the generator");
    auto* evaluate = app.add_subcommand("evaluate", "success of generated policies and of their rivals");
    for (auto* each : {collect, train, evaluate}) {
      add_common(*each, arguments);
    }
    for (auto* each : {train, evaluate}) {
      each->add_option("--device", arguments.device,
                       "what the generator runs on: cpu or cuda; clones and "
                       "rivals without a generator stay on the cpu")
          ->check(CLI::IsMember({"cpu", "cuda"}))
          ->capture_default_str();
      each->add_option("--condition", options.condition,
                       "embeddings that the generator is trained to see: of the "
                       "trajectory (h), of the states after success (v), or both")
          ->transform(CLI::CheckedTransformer(std::map<std::string, ConditionParts>{
              {"h", ConditionParts::h}, {"v", ConditionParts::v}, {"both", ConditionParts::both}}))
          ->option_text(concatenate("{h,v,both}=", study::condition_name(options.condition)));
    }
    bool no_rival = !options.unconditioned_rival;
    for (auto* each : {train, evaluate}) {
      each->add_flag("--no-rival", no_rival,
                     "leave out the rival that takes a training of its own: one network");
      each->add_option("--epoch-share", options.epoch_share,
                       "with presets paper and reference: train this share of the epochs; all take two days")
          ->check(CLI::Range(1e-6, 1.0))
          ->capture_default_str();
    }
    evaluate->add_option("--prompts", options.prompts.per_task, "prompts (and so policies) of each task")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    evaluate->add_option("--scenes", options.scenes, "random scenes that each policy must master")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    evaluate
        ->add_option("--prompt-noise", options.prompts.noise,
                     "deviations of the prompts' action noise, in turn")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    evaluate->add_option("--prompt-seed", options.prompts.seed, "another seed means other prompts")
        ->capture_default_str();
    evaluate->add_option("--scene-seed", options.scene_seed, "another seed means other scenes")
        ->capture_default_str();
    evaluate->add_option("--methods", options.methods, "only these methods [all]");
    evaluate->add_option("--unseen", options.tasks.unseen, "other unseen tasks");
    evaluate->add_flag("--noise-study", arguments.noise_study,
                       "also: prompts with action noise 0, .1, .2, .3 and .5");
    bool no_render = !options.render;
    bool no_selection = !options.selection;
    evaluate->add_flag("--no-selection", no_selection,
                       "leave out the best 5 and 10 policies, which are selected in scenes of their own");
    evaluate->add_flag("--no-render", no_render, "leave the clips out");
    try {
      app.parse(argc, argv);
      if (options.epoch_share != 1 && arguments.preset != "paper" && arguments.preset != "reference") {
        throw CLI::ValidationError("--epoch-share",
                                   "is for the presets paper and reference, found " + arguments.preset);
      }
      if (pass == 1) {
        change("--without", [&] {
          for (const auto& ingredient : arguments.without) {
            remove_ingredient(options, ingredient);
          }
        });
        if (!arguments.hold_out.empty()) {
          change("--hold-out", [&] { options.tasks.hold_out(arguments.hold_out); });
        }
      }
    } catch (const CLI::ParseError& error) {
      std::exit(app.exit(error));
    }
    options.render = !no_render;
    options.selection = !no_selection;
    options.unconditioned_rival = !no_rival;
    command = app.get_subcommands().front()->get_name();
  }
  if (arguments.options.out.empty()) {
    arguments.options.out = std::filesystem::path("out/metaworld") / arguments.preset;
  }
  return arguments;
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  std::string command;
  const auto arguments = parse(argc, argv, command);
  const auto& options = arguments.options;
  return run_interruptibly(options.out, [&] {
    const auto simulator = make_metaworld(arguments.simulator);
    study::check_tasks(options.tasks, *simulator);
    study::Study study(options, *simulator, metaworld_models(arguments.preset, arguments.device, options));
    const auto before = [&](const char* name) {
      return "metaworld " + std::string(name) + " --preset " + arguments.preset + " --out " +
             options.out.string();
    };
    if (command == "collect") {
      study.collect();
    } else if (command == "train") {
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
