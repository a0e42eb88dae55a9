// The one place where the library's options are filled from a study's.
#pragma once

#include <maa/generator/options.hpp>

#include "model.hpp"

namespace maa::examples::study {

// Which options a configuration trains with; seed, checkpoint and domain knowledge come from the run. Their
// sizes are the study's where those have a say, and else the library's.
enum class Recipe {
  standard,   // the library's
  weights,    // autoencoder and denoiser learn the zoo's weights, as in the paper, and nothing else does
  paper,      // the paper's tables; steps are its epochs, or the study's share of them
  reference,  // the public code's choices
};
FitOptions fit_options(Recipe recipe, const TrainingRun& run);

// The simulator's symmetry without what the study's options leave out.
Symmetry symmetry_of(const Options& options, const Interface& interface);

// Reflects in half of the draws, and moves everything by normal offsets: a task moved or reflected is a task
// too.
Augmentation reflect_and_translate(Symmetry symmetry);

}  // namespace maa::examples::study
