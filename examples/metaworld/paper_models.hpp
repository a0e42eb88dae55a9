// Generators in the sizes of the paper and of its public code, trained as their tables say.
#pragma once

#include "model.hpp"

namespace maa::examples {

extern const study::ModelFactory paper_models;
extern const study::ModelFactory reference_models;

}  // namespace maa::examples
