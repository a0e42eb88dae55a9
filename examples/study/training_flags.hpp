// Flags of the generator's training that all programs of a study have.
#pragma once

#include "flags.hpp"

namespace maa::examples::study {

inline const Flag training_flags[] = {
    {"--training-steps", "training.behavior_steps", "of the generator's training, after its embeddings"},
    {"--start", "training.start", "generator file, of any simulator, to begin from where shapes agree"},
    {"--start-rate", "training.start_rate", "learning rate of what is copied from it, over the others'"}};

}  // namespace maa::examples::study
