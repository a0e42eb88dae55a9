// Measuring policies: each method gives one policy per prompt, and each is tried in the prompt's own fresh
// scenes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <maa/data/dataset.hpp>

#include "metrics.hpp"
#include "model.hpp"
#include "options.hpp"

namespace maa::examples::study {

// One method's policies for all prompts of all tasks, task by task: [tasks * prompts, P].
struct Method {
  std::string name;
  std::function<Buffer<float>()> weights;  // none: the expert
  bool seen_only = false;
  bool selection = false;  // also tried in the scenes of which the best policies are selected
};

// Demonstrations that nothing was trained on: experts with the prompts' noise on fresh placements, task by
// task; those that fail are left out. A method is shown a prompt's first demonstration, or all of them where
// its name says so.
inline constexpr Index demonstrations_per_prompt = 3;
struct TestPrompts {
  std::vector<Trajectory> prompts;         // [tasks * prompts]
  std::vector<Trajectory> demonstrations;  // [tasks * prompts * demonstrations_per_prompt]
};
TestPrompts test_prompts(const Options& options, Simulator& simulator);

// A task's first test prompt and where it was recorded.
struct PlacedPrompt {
  Trajectory trajectory;
  Placement placement;
};
PlacedPrompt first_prompt(const Options& options, Simulator& simulator, const std::string& task);

// The generator and its baselines, in the order of the report. What they are made from must outlive them.
// `symmetry` is the one that training reflects by; `unconditioned` is a generator trained without prompts,
// and may be missing.
std::vector<Method> make_methods(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                                 const Model& model, const Model* unconditioned, const TestPrompts& test);

// The placement of a prompt's scene, the same for every method.
Placement scene_placement(const Options& options, const Simulator& simulator, Environment& environment,
                          Purpose scenes, Index prompt, Index scene);

// Tries the policies [tasks * prompts, P], or the expert if there are none, in the scenes of that purpose.
Outcome evaluate(const Options& options, Simulator& simulator, const std::string& label,
                 const Buffer<float>& weights, bool seen_only, Purpose scenes);

}  // namespace maa::examples::study
