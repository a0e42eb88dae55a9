// Generators that train and generate on a CUDA device.
#pragma once

#include <string>

#include "model.hpp"

namespace maa::examples {

// Of a preset. Error if this program was built without CUDA.
const study::ModelFactory& cuda_models(const std::string& preset);

}  // namespace maa::examples
