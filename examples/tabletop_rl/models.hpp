// The small policies that reinforcement learning trains on the tabletop, and the library's default generator
// of them. models.cpp compiles the library's training code for them; nothing else does.
#pragma once

#include "interface.hpp"
#include "model.hpp"

namespace maa::examples::tabletop {

// 39 observations and 4 actions, as in metaworld_interface.hpp; two hidden layers of 64 with ReLU, tanh.
const Interface& small_policies();
extern const study::ModelFactory small_models;

}  // namespace maa::examples::tabletop
