// MetaWorld's interface, which the tabletop family shares.
//   observation: columns 0..17 now, 18..35 the same one step earlier, 36..38 the goal's xyz. Within a frame:
//                hand xyz (0), gripper opening (3), object 1 xyz (4) and quaternion wxyz (7), object 2 xyz
//                (11) and quaternion (14); an object that the task has not is zeros.
//   action:      xyz displacement and gripper (+1 closes), each in [-1, 1]; larger values are clipped.
#pragma once

#include "interface.hpp"

namespace maa::examples {

inline constexpr Index metaworld_observation_size = MetaWorldPolicy::observation_size;
inline constexpr Index metaworld_frame_size = 18;
inline constexpr Index metaworld_action_size = MetaWorldPolicy::action_size;

// In a frame the reflection flips x of every position.
//   true_orientations: also y and z of the quaternions, as a reflection does; exact for the tabletop family.
const Interface& metaworld_interface(bool true_orientations = false);

}  // namespace maa::examples
