// A study whose zoo proximal policy optimisation made: a quadruped that follows commands.
#include <CLI/CLI.hpp>

#include "commands.hpp"
#include "learned_program.hpp"
#include "models.hpp"
#include "quadruped.hpp"

namespace maa::examples {
namespace {

study::Options quadruped_options() {
  study::Options options;
  options.out = "out/quadruped";
  for (const auto& command : quadruped::commands) {
    auto& tasks = command.use == quadruped::Use::seen ? options.tasks.seen : options.tasks.unseen;
    tasks.emplace_back(command.name);
  }
  auto& learned = options.learned.emplace();
  learned.ppo.emplace().steps = 250'000;
  learned.other_runs = 1;
  learned.rollouts = 3;
  learned.rollout_noise = {0.0, 0.1, 0.3};
  options.evaluation.prompts = 8;
  options.evaluation.scenes = 8;
  options.evaluation.trial = false;  // ten times what a method costs
  options.clips.stride = 5;
  return options;
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  quadruped::QuadrupedOptions robot;
  const study::LearnedProgram program{
      "quadruped",
      [&](CLI::App& app) {
        app.add_option("--model", robot.model,
                       "an MJCF scene with a robot of 12 joints in place of the own model")
            ->check(CLI::ExistingFile);
        app.add_option("--unevenness", robot.unevenness,
                       "metres between the lowest and the highest of uneven ground (own model)")
            ->check(CLI::Range(0.0, 0.2))
            ->capture_default_str();
      },
      [&] { return quadruped::make_simulator(robot); },
      {{"default", &quadruped::models}}};
  return study::run_learned(program, quadruped_options(), argc, argv);
}
