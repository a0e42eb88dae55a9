// The generator that the examples train and load: the library's default.
#pragma once

#include <maa/generator.hpp>

namespace maa::examples {

using QuickstartGenerator = Generator<MetaWorldPolicy>;

}  // namespace maa::examples
