#include "environment.hpp"

#include <algorithm>

namespace maa::examples {
namespace {

void flip(std::span<float> values, const std::vector<Index>& columns, const char* what) {
  for (Index column : columns) {
    if (column < 0 || column >= static_cast<Index>(values.size())) {
      maa::fail("mirror: the symmetry flips ", what, " column ", column, ", but there are ",
                static_cast<Index>(values.size()));
    }
  }
  for (Index column : columns) {
    float& value = values[static_cast<std::size_t>(column)];
    if (value != 0.0F) value = -value;  // no negative zeros
  }
}

}  // namespace

void mirror(const Symmetry& symmetry, std::span<float> observation, std::span<float> action) {
  flip(observation, symmetry.mirrored_observation, "observation");
  flip(action, symmetry.mirrored_action, "action");
}

void translate(const Symmetry& symmetry, std::span<const float, 3> offset, std::span<float> observation) {
  const auto size = static_cast<Index>(observation.size());
  for (Index first : symmetry.positions) {
    if (first < 0 || first + 3 > size) {
      maa::fail("translate: the symmetry has a position at columns ", first, "..", first + 2,
                ", but the observation has ", size);
    }
  }
  for (Index first : symmetry.positions) {
    const auto block = observation.subspan(static_cast<std::size_t>(first), 3);
    if (std::ranges::all_of(block, [](float value) { return value == 0.0F; })) continue;
    for (std::size_t axis = 0; axis < 3; ++axis) block[axis] += offset[axis];
  }
}

void Environment::expert_action(std::span<float>) {
  maa::fail(task(), ": there is no scripted expert");
}

}  // namespace maa::examples
