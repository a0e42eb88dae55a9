// The named studies on MetaWorld.
#pragma once

#include "model.hpp"

namespace maa::examples {

const std::vector<std::string>& metaworld_presets();

// Error if there is no such preset.
//   smoke      three tasks, tiny: shows that everything works
//   small      the ten seen and nine unseen tasks of the paper's code, in under two hours on two cores
//   best       the same with the best recipe found, and more training tasks
//   paper      the paper's tables; reference: the public code's choices where they differ
study::Options metaworld_options(const std::string& preset);

// One part of the recipe that can be taken away, to measure what it is worth.
struct Ingredient {
  const char* name;
  const char* what;
  void (*remove)(study::Options& options) = nullptr;
  const study::ModelFactory* models = nullptr;  // without it, where it is part of the models
};
const std::vector<Ingredient>& metaworld_ingredients();
// Takes those of options.training.without away. Error if there is no such ingredient, or if two are part of
// the models.
void remove_ingredients(study::Options& options);

// The models that the preset trains without the ingredients of options.training.without, on the device "cpu"
// or "cuda". Error if this program was built without CUDA, or was built without such models.
const study::ModelFactory& preset_models(const std::string& preset, const std::string& device,
                                         const study::Options& options);

}  // namespace maa::examples
