// A study whose zoo reinforcement learning made: hidden-goal reacher.
#include <CLI/CLI.hpp>

#include "goals.hpp"
#include "learned_program.hpp"
#include "models.hpp"
#include "reacher.hpp"

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

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  double spread = 0.3;
  const study::LearnedProgram program{
      "reacher",
      [&](CLI::App& app) {
        app.add_option(
               "--spread", spread,
               "share of the placements' range that episodes begin in: at .3 within 54 degrees of the arm "
               "stretched out; at 1 anywhere, where one demonstration shows little of what to do")
            ->check(CLI::Range(0.0, 1.0))
            ->capture_default_str();
      },
      [&] { return reacher::make_simulator(spread); },
      {{"default", &reacher::models},
       {"hypernetwork", &reacher::hypernetwork_models},
       {"paper", &reacher::paper_models},
       {"weights", &reacher::models_of_weights}}};
  return study::run_learned(program, reacher_options(), argc, argv);
}
