// The library's default generator of the reacher's policies. models.cpp compiles the library's training code
// for them; nothing else does.
#pragma once

#include "model.hpp"

namespace maa::examples::reacher {

extern const study::ModelFactory models;

}  // namespace maa::examples::reacher
