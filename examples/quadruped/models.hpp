// The library's default generator of the quadruped's policies, whose prompts are segments of trajectories.
// models.cpp compiles the library's training code for them; nothing else does.
#pragma once

#include "model.hpp"

namespace maa::examples::quadruped {

extern const study::ModelFactory models;

}  // namespace maa::examples::quadruped
