// robosuite's interface: 41 observations, our selection of what the package knows (the paper does not name
// its own, and the package's default keys give 42 to 50 numbers), and 8 actions.
//   observation: cosines of the 7 joints (0), their sines (7) and velocities (14); the gripper's xyz (21),
//                the hand's quaternion xyzw (24), the 2 fingers' positions (28) and velocities (30); the
//                object's xyz (32), the same less the gripper's (35), and 3 numbers of the task (38).
//     Lift:      the object is the cube; the task's numbers are 0, 0 and its height over the table.
//     Door:      the object is the end of its handle; the angles of hinge and handle, and 0.
//   action:      changes of the 7 joints, in units of 0.15 rad, and the gripper (above 0 closes), each in
//                [-1, 1]; larger values are clipped. 20 steps a second.
// Tasks are named by robot and task: "Panda-Lift", "Sawyer-Door".
#pragma once

#include "interface.hpp"

namespace maa::examples {

// No reflections and no translations: an arm that stands elsewhere is another arm.
const Interface& robosuite_interface();

inline constexpr Index robosuite_episode_steps = 150;

}  // namespace maa::examples
