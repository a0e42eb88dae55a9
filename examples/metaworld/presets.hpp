// The named studies on MetaWorld.
#pragma once

#include "model.hpp"
#include "options.hpp"

namespace maa::examples {

const std::vector<std::string>& metaworld_presets();

// Error if there is no such preset.
//   smoke      three tasks, tiny: shows that everything works
//   small      the ten seen and nine unseen tasks of the paper's code, in under two hours on two cores
//   best       the same with the best recipe found, and more training tasks
//   paper      the paper's tables; reference: the public code's choices where they differ
study::Options metaworld_options(const std::string& preset);

// Takes one ingredient of the recipe away, to measure what it is worth.
//   reflections, translations   of demonstrations in the generator's training
//   validation                  tasks that no policy is trained on; without them there is no fallback policy
//   extra-tasks                 training tasks that are not reported
//   several-demonstrations      prompts of more than one demonstration in training
//   huber                       the loss that small errors weigh more in; the square takes its place
const std::vector<std::string>& metaworld_ingredients();
// Error if there is no such ingredient.
void remove_ingredient(study::Options& options, const std::string& ingredient);

// The models that the preset trains, on the device "cpu" or "cuda". Error if this program was built without CUDA.
const study::ModelFactory& metaworld_models(const std::string& preset, const std::string& device);

}  // namespace maa::examples
