// A study whose zoo reinforcement learning made on the MetaWorld package, as the paper's was: the dense
// reward, two hidden layers of 128, every run from a random start of its own.
#include <CLI/CLI.hpp>

#include "learned_program.hpp"
#include "metaworld.hpp"
#include "models.hpp"

namespace maa::examples {
namespace {

study::Options learned_options() {
  study::Options options;
  options.out = "out/metaworld_rl";
  // Runs of this length learn drawer-close, little of reach and handle-press, and not window-open
  // (docs/results.md).
  options.tasks.seen = {"reach", "window-open", "handle-press", "drawer-close"};
  options.tasks.unseen = {"window-close", "reach-wall"};
  options.tasks.validation = {"door-close"};
  auto& learned = options.learned.emplace();
  learned.runs = 2;
  learned.checkpoints = 6;
  learned.sac.steps = 20'000;
  learned.sac.batch = 128;
  learned.sac.initial_temperature = 0.1;
  learned.sac.discount = 0.98;
  options.evaluation.prompts = 10;
  options.evaluation.scenes = 5;
  options.evaluation.trial = false;
  options.clips.stride = 4;
  return options;
}

}  // namespace
}  // namespace maa::examples

int main(int argc, char** argv) {
  using namespace maa::examples;
  MetaWorldOptions simulator;
  const study::LearnedProgram program{
      "metaworld_rl",
      [&](CLI::App& app) {
        app.add_option("--venv", simulator.venv, "virtual environment with the simulator")
            ->capture_default_str();
      },
      [&] {
        simulator.workers = study::all_threads();
        return make_metaworld(simulator);
      },
      {{"default", &metaworld_models}, {"paper", &paper_models}, {"reference", &reference_models}}};
  return study::run_learned(program, learned_options(), argc, argv);
}
