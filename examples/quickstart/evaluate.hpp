// Measuring policies: each method gives one policy per prompt, and each is tried in the prompt's own fresh
// scenes.
#pragma once

#include <string>
#include <vector>

#include <maa/data/dataset.hpp>

#include "model.hpp"
#include "options.hpp"

namespace maa::examples::quickstart {

// The policies of one method for all prompts of all tasks, task by task: [tasks * prompts, P]. No weights:
// the expert.
struct Method {
  std::string name;
  Buffer<float> weights;
  bool seen_only = false;
};

// What came out: for each prompt of each task, the number of scenes with success.
struct Outcome {
  std::string method;
  std::vector<std::vector<Index>> successes;  // [tasks][prompts]; no prompts where the method does not apply
};

// Demonstrations that nothing was trained on: quiet experts on fresh placements, task by task; the few that
// fail are left out. A method is shown a prompt's first demonstration, or all of them where its name says so.
inline constexpr Index demonstrations_per_prompt = 3;
struct TestPrompts {
  std::vector<Trajectory> prompts;         // [tasks * prompts]
  std::vector<Trajectory> demonstrations;  // [tasks * prompts * demonstrations_per_prompt]
};
TestPrompts test_prompts(const Options& options);

// The generator and its rivals, in the order of the report.
std::vector<Method> make_methods(const Options& options, const Dataset& dataset, const Model& model,
                                 const TestPrompts& test);

// The scenes of a prompt, the same for every method.
std::uint64_t scene_seed(const Options& options, const std::string& task, Index prompt, Index scene);

std::vector<Outcome> evaluate(const Options& options, const std::vector<Method>& methods);

}  // namespace maa::examples::quickstart
