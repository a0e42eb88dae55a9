// Measuring policies: each method gives one policy per prompt, and each is tried in the prompt's own fresh
// scenes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <maa/data/dataset.hpp>

#include "demonstrators.hpp"
#include "metrics.hpp"
#include "model.hpp"
#include "options.hpp"

namespace maa::examples::study {

// One method's policies for all prompts of all that is reported, one after the other: [reported * prompts,
// P].
struct Method {
  std::string name;
  std::function<Buffer<float>()> weights;
  // What acts for a prompt [reported * prompts] where no policy does; both must outlive it.
  std::function<Controller(Environment& environment, Index prompt)> controller = {};
  bool seen_only = false;
  bool selection = false;  // also tried in the scenes of which the best policies are selected
};

// Demonstrations that nothing was trained on; those that fail are rejected. A method is shown a prompt's
// first demonstration, or all of them where its name says so; they are by one run.
inline constexpr Index demonstrations_per_prompt = 3;
// Policies that are generated for each prompt where it matters how they differ.
inline constexpr Index samples_per_prompt = 10;
struct TestPrompts {
  // Without runs that cannot show their task, and what none of its runs can show.
  std::vector<Reported> reported;
  std::vector<Trajectory> prompts;         // [reported * prompts]
  std::vector<Placement> placements;       // where they were recorded
  std::vector<Trajectory> demonstrations;  // [reported * prompts * demonstrations_per_prompt]

  // How a run's demonstrations went.
  struct Shown {
    Reported of;  // with this run alone
    Index drawn = 0;
    Index failed = 0;
    bool left_out = false;  // too few succeed
  };
  std::vector<Shown> shown;
};
// Error for a run that cannot show its task, where demonstrators may not fail.
TestPrompts test_prompts(const Options& options, const Demonstrators& demonstrators);

// The generator and its baselines, in the order of the report. What they are made from must outlive them.
// `symmetry` is the one that training reflects by; `unconditioned` is a generator trained without prompts,
// and may be missing.
std::vector<Method> make_methods(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                                 const Model& model, const Model* unconditioned, Simulator& simulator,
                                 const Demonstrators& demonstrators, const TestPrompts& test);

// The placement of a prompt's scene, the same for every method.
Placement scene_placement(const Options& options, const Simulator& simulator, Environment& environment,
                          Purpose scenes, Index prompt, Index scene);

// Tries a method, whose policies are `weights` [reported * prompts, P] unless it has controllers, in the
// scenes of that purpose.
Outcome evaluate(const Options& options, Simulator& simulator, const std::vector<Reported>& reported,
                 const std::string& label, const Method& method, const Buffer<float>& weights,
                 Purpose scenes);

}  // namespace maa::examples::study
