#include "learned_program.hpp"

#include <CLI/CLI.hpp>

#include "interrupt.hpp"
#include "training_flags.hpp"

namespace maa::examples::study {
namespace {

const Flag learned_flags[] = {
    {"--seed", "seed", "seed of everything random"},
    {"--smoke", "smoke", "tiny sizes: shows that everything works, its numbers mean nothing"},
    {"--runs", "data.runs", "runs of each trained task, whose checkpoints are the zoo"},
    {"--checkpoints", "data.checkpoints", "of each run"},
    {"--rollouts", "data.rollouts", "of each checkpoint"},
    {"--methods", "methods.only", "measure only these methods [all]"},
    {"--prompts", "evaluation.prompts", "prompts (and so policies) of each task and group"},
    {"--scenes", "evaluation.scenes", "random scenes that each policy must master"},
    {"--prompt-noise", "evaluation.prompt_noise", "deviations of the prompts' action noise, in turn"},
    {"--prompt-seed", "evaluation.prompt_seed", "another seed means other prompts"},
    {"--scene-seed", "evaluation.scene_seed", "another seed means other scenes"},
    {"--clone-steps", "evaluation.clone_steps", "of cloning a prompt from a random start"},
    {"--clone-steps-zoo", "evaluation.clone_steps_zoo",
     "of cloning from the zoo's mean or a generated policy"},
    {"--clone-batch", "evaluation.clone_batch", "steps of the prompt in each"},
    {"--clone-learning-rate", "evaluation.clone_learning_rate", "of Adam"},
    {"--polish-steps", "evaluation.polish.steps", "of polishing generated policies"},
    {"--polish-learning-rate", "evaluation.polish.learning_rate", "of Adam"},
    {"--polish-held-out", "evaluation.polish.held_out", "share of the prompt that stops polishing"},
    {"--epoch-share", "training.epoch_share", "with the paper's recipe: of its epochs"},
    {"--prediction", "training.prediction",
     "with the paper's recipe: what the denoiser predicts, epsilon, sample or v_prediction"},
    {"--align-units", "training.align_units",
     "put the hidden units of the zoo's policies in one order before training"},
    {"--no-trial", "evaluation.trial", "do not choose among samples by trial in the simulator"},
    {"--no-zoo-weights", "training.zoo_weights",
     "train with networks that were never trained in the place of the zoo's policies"},
    {"--no-render", "clips.render", "leave the clips out"}};

// Reads the command line; prints and returns an exit code if that is all there is to do.
std::optional<int> parse(const LearnedProgram& program, int argc, char** argv, Options& options,
                         bool& collect_only) {
  options.threads = all_threads();
  std::vector<std::string> hold_out;
  CLI::App app(
      "From reinforcement-learned policies to policies generated from trajectories, measured in MuJoCo.");
  app.add_option("--out", options.out, "folder for results")->capture_default_str();
  app.add_flag("--resume", options.resume, "go on where an earlier run into the same folder stopped");
  app.add_flag("--collect", collect_only, "stop when the data set is there: OUT/stages/zoo.safetensors");
  app.add_option("--threads", options.threads, "threads; results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--hold-out", hold_out,
                 "tasks that are not trained on but reported as the unseen ones, to choose settings by");
  if (program.recipes.size() > 1) {
    std::vector<std::string> names;
    std::ranges::transform(program.recipes, std::back_inserter(names),
                           [](const auto& each) { return each.first; });
    app.add_option("--recipe", options.training.recipe, "what trains the generator")
        ->check(CLI::IsMember(names))
        ->capture_default_str();
  }
  if (program.add_own_flags) {
    program.add_own_flags(app);
  }
  auto flags = std::vector<Flag>(std::begin(learned_flags), std::end(learned_flags));
  flags.insert(flags.end(), std::begin(training_flags), std::end(training_flags));
  flags.push_back({"--steps", options.learned->ppo ? "data.ppo.steps" : "data.sac.steps",
                   "environment steps of each run"});
  add_flags(app, options, flags);
  try {
    app.parse(argc, argv);
    if (options.smoke) {
      for (auto& [tasks, most] : {std::pair(&options.tasks.seen, 3), std::pair(&options.tasks.unseen, 2),
                                  std::pair(&options.tasks.validation, 1)}) {
        tasks->resize(std::min(tasks->size(), static_cast<std::size_t>(most)));
      }
      shrink(options);
    }
    if (!hold_out.empty()) {
      options.tasks.hold_out(hold_out);
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const Error& error) {
    return app.exit(CLI::ValidationError(error.what()));
  }
  options.command = command_line(program.name, argc, argv);
  return std::nullopt;
}

}  // namespace

int run_learned(const LearnedProgram& program, Options options, int argc, char** argv) {
  bool collect_only = false;
  if (const auto code = parse(program, argc, argv, options, collect_only)) {
    return *code;
  }
  return run_interruptibly(options.out, [&] {
    const auto simulator = program.make_simulator();
    check_tasks(options.tasks, *simulator);
    Study study(options, *simulator, *program.recipes.at(options.training.recipe));
    study.begin();
    study.collect();
    if (!collect_only) {
      study.train();
      study.evaluate();
      study.complete();
    }
  });
}

}  // namespace maa::examples::study
