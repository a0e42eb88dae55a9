// The policies that the programs fit and generate work with: of any sizes, as files say.
#pragma once

#include <maa/models/runtime_policy.hpp>

namespace maa::examples {

// Once RuntimeNetwork::set has said what they are.
using ToolPolicy = MlpPolicy<RuntimeNetwork<>>;

}  // namespace maa::examples
