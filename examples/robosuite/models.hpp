// The generators of robosuite's policies. models.cpp compiles the library's training code for them.
#pragma once

#include "model.hpp"

namespace maa::examples {

extern const study::ModelFactory robosuite_models;               // the library's default
extern const study::ModelFactory robosuite_models_without_head;  // without its closed-form last layer

}  // namespace maa::examples
