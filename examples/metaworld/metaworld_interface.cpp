#include "metaworld_interface.hpp"

namespace maa::examples {
namespace {

// Columns of a frame.
constexpr Index hand = 0;
constexpr Index objects[] = {4, 11};
constexpr Index quaternions[] = {7, 14};
constexpr Index frames[] = {0, metaworld_frame_size};  // now and one step earlier
constexpr Index goal = 2 * metaworld_frame_size;

Symmetry symmetry(bool true_orientations) {
  Symmetry result;
  for (const Index frame : frames) {
    for (const Index position : {hand, objects[0], objects[1]}) {
      result.positions.push_back(frame + position);
    }
  }
  result.positions.push_back(goal);
  result.mirrored_observation = result.positions;
  for (const Index frame : frames) {
    for (const Index quaternion : quaternions) {  // (w, x, y, z) reflected in x = 0 is (w, x, -y, -z)
      if (true_orientations) {
        result.mirrored_observation.push_back(frame + quaternion + 2);
        result.mirrored_observation.push_back(frame + quaternion + 3);
      }
    }
  }
  std::ranges::sort(result.mirrored_observation);
  result.mirrored_action = {0};
  return result;
}

Interface interface(bool true_orientations) {
  // Experts move the hand towards targets that do not depend on where it is. The gain is what most of them
  // have; they differ from 4 to 25.
  return {policy_type<MetaWorldPolicy>(),
          symmetry(true_orientations),
          {.effector = {frames[0] + hand, frames[1] + hand},
           .objects = {std::begin(objects), std::end(objects)},
           .earlier = metaworld_frame_size}};
}

}  // namespace

const Interface& metaworld_interface(bool true_orientations) {
  static const Interface plain = interface(false), oriented = interface(true);
  return true_orientations ? oriented : plain;
}

}  // namespace maa::examples
