// The one place where the library's options are filled from a study's.
#pragma once

#include <maa/generator/behavior_recipe.hpp>
#include <maa/generator/paper_recipe.hpp>

#include "model.hpp"

namespace maa::examples::study {

// The library's default, with the study's steps and the simulator's domain knowledge.
BehaviorRecipe default_recipe(const TrainingRun& run);
// Trained to reconstruct the zoo's weights and their latents, as in the paper, with the default's sizes, maps
// and schedules.
PaperRecipe weights_recipe(const TrainingRun& run);
// The paper's tables and the public code's choices; steps are the paper's epochs, or the study's share of
// them.
PaperRecipe paper_recipe(const TrainingRun& run);
PaperRecipe reference_recipe(const TrainingRun& run);

// The simulator's symmetry without what the study's options leave out.
Symmetry symmetry_of(const Options& options, const Interface& interface);

// Reflects in half of the draws, and moves everything by normal offsets: a task moved or reflected is a task
// too.
Augmentation reflect_and_translate(Symmetry symmetry);

}  // namespace maa::examples::study
