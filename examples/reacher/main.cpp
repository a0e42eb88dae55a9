// A study whose zoo reinforcement learning made: hidden-goal reacher.
#include <CLI/CLI.hpp>

#include "flags.hpp"
#include "goals.hpp"
#include "interrupt.hpp"
#include "models.hpp"
#include "reacher.hpp"
#include "study.hpp"

namespace maa::examples {
namespace {

std::vector<std::string> goals_for(reacher::Use use) {
  std::vector<std::string> names;
  for (const auto& goal : reacher::goals) {
    if (goal.use == use) {
      names.emplace_back(goal.name);
    }
  }
  return names;
}

study::Options reacher_options() {
  study::Options options;
  options.out = "out/reacher";
  options.tasks.seen = goals_for(reacher::Use::seen);
  options.tasks.unseen = goals_for(reacher::Use::unseen);
  options.tasks.validation = goals_for(reacher::Use::validation);
  auto& learned = options.learned.emplace();
  learned.sac.discount = 0.98;
  // The best of a few settings on prompts of the seen goals, which this method learns nothing from.
  options.evaluation.clone_steps = 4000;
  options.evaluation.clone_steps_zoo = 500;
  options.evaluation.prompts = 12;
  options.evaluation.scenes = 10;
  return options;
}

const study::Flag flags[] = {
    {"--seed", "seed", "seed of everything random"},
    {"--smoke", "smoke", "tiny sizes: shows that everything works, its numbers mean nothing"},
    {"--runs", "data.runs", "runs of each trained goal, whose checkpoints are the zoo"},
    {"--steps", "data.sac.steps", "environment steps of each run"},
    {"--checkpoints", "data.checkpoints", "of each run"},
    {"--rollouts", "data.rollouts", "of each checkpoint"},
    {"--methods", "methods.only", "measure only these methods [all]"},
    {"--prompts", "evaluation.prompts", "prompts (and so policies) of each goal and group"},
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
    {"--no-render", "clips.render", "leave the clips out"}};

// Reads the command line; prints and returns an exit code if that is all there is to do.
std::optional<int> parse(int argc, char** argv, study::Options& options, double& spread, bool& collect_only) {
  options.threads = study::all_threads();
  std::vector<std::string> hold_out;
  CLI::App app(
      "From reinforcement-learned policies to policies generated from trajectories, measured in MuJoCo.");
  app.add_option("--out", options.out, "folder for results")->capture_default_str();
  app.add_flag("--resume", options.resume, "go on where an earlier run into the same folder stopped");
  app.add_flag("--collect", collect_only, "stop when the data set is there: OUT/stages/zoo.safetensors");
  app.add_option("--spread", spread,
                 "share of the placements' range that episodes begin in: at .3 within 54 degrees of the arm "
                 "stretched "
                 "out, at 1 anywhere, where one demonstration shows little of what to do")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads; results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--hold-out", hold_out,
                 "goals that are not trained on but reported as the unseen ones, to choose settings by");
  study::add_flags(app, options, flags);
  try {
    app.parse(argc, argv);
    if (options.smoke) {
      options.tasks.seen.resize(3);
      options.tasks.unseen.resize(2);
      options.tasks.validation.resize(1);
      study::shrink(options);
    }
    if (!hold_out.empty()) {
      options.tasks.hold_out(hold_out);
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const Error& error) {
    return app.exit(CLI::ValidationError(error.what()));
  }
  options.command = study::command_line("reacher", argc, argv);
  return std::nullopt;
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  auto options = reacher_options();
  double spread = 0.3;
  bool collect_only = false;
  if (const auto code = parse(argc, argv, options, spread, collect_only)) {
    return *code;
  }
  return run_interruptibly(options.out, [&] {
    const auto simulator = reacher::make_simulator(spread);
    study::check_tasks(options.tasks, *simulator);
    study::Study study(options, *simulator, reacher::models);
    study.begin();
    study.collect();
    if (!collect_only) {
      study.train();
      study.evaluate();
      study.complete();
    }
  });
}
