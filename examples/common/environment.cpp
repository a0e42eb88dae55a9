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

Symmetry metaworld_symmetry(bool with_quaternions) {
  Symmetry symmetry;
  for (Index frame : {Index{0}, metaworld_frame_size}) {
    for (Index position : {0, 4, 11}) {
      symmetry.positions.push_back(frame + position);
      symmetry.mirrored_observation.push_back(frame + position);
    }
    if (!with_quaternions) continue;
    for (Index quaternion : {7, 14}) {  // (w, x, y, z) reflected in the plane x = 0 is (w, x, -y, -z)
      symmetry.mirrored_observation.push_back(frame + quaternion + 2);
      symmetry.mirrored_observation.push_back(frame + quaternion + 3);
    }
  }
  symmetry.positions.push_back(2 * metaworld_frame_size);
  symmetry.mirrored_observation.push_back(2 * metaworld_frame_size);
  std::ranges::sort(symmetry.mirrored_observation);
  symmetry.mirrored_action = {0};
  return symmetry;
}

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

}  // namespace maa::examples
