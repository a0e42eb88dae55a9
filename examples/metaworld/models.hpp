// The generators of MetaWorld's policies (and so of the tabletop family's). Each file that defines some
// compiles the library's training code for them; nothing else does.
#pragma once

#include <string>

#include "model.hpp"

namespace maa::examples {

// default_models.cpp: the library's default.
extern const study::ModelFactory metaworld_models;

// ablation_models.cpp: the default without one of its parts, and its network trained on the zoo's weights.
extern const study::ModelFactory models_without_head;
extern const study::ModelFactory models_of_first_steps;
extern const study::ModelFactory models_of_random_start;
extern const study::ModelFactory models_of_weights;

// paper_models.cpp: in the sizes of the paper and of its public code, trained as their tables say.
extern const study::ModelFactory paper_models;
extern const study::ModelFactory reference_models;

// cuda_models.cpp: a preset's, on a CUDA device. Error if this program was built without CUDA.
const study::ModelFactory& cuda_models(const std::string& preset);

}  // namespace maa::examples
