// The library's default configuration without one of its parts, to measure what that is worth.
#pragma once

#include <string>
#include <vector>

#include "model.hpp"

namespace maa::examples {

// head, whole-prompts, decoder-start: the ingredients that are part of a configuration.
const std::vector<std::string>& ingredients_of_models();

// Models without one of these. Error if there is no such ingredient.
const study::ModelFactory& models_without(const std::string& ingredient);

}  // namespace maa::examples
