// A planar arm of two links on MuJoCo that must bring its fingertip to a goal which it does not observe: one
// goal is one task (goals.hpp).
//   observation: cos q1, cos q2, sin q1, sin q2, and the joints' velocities in units of 5 rad/s.
//   action:      torques of shoulder and elbow, in [-1, 1]; larger values are clipped. Held at 1, they turn
//                the joints at about 6 and 8 rad/s.
//   placement:   q1 in [-pi, pi], q2 in [-2.6, 2.6] (rad), velocities in [-.5, .5] (rad/s).
//   success:     the fingertip is within 3 cm of the goal after 10 steps in a row: at rest or nearly, since
//                to pass through in that time it must be slower than .3 m/s.
//   reward:      -(distance in decimetres) - .02 |action|^2, with the action as clipped.
// A step is 20 ms, an episode 100 steps. The links are 10 and 11 cm long, the shoulder turns freely and the
// elbow to 2.6 rad on either side, so that every goal is reached with the elbow on the left and on the right.
#pragma once

#include <maa/models/policy.hpp>

#include "environment.hpp"

namespace maa::examples::reacher {

using Layer = Hidden<64, Activation::relu>;
using Policy = MlpPolicy<MlpNetwork<6, 2, HiddenLayers<Layer, Layer>>>;

inline constexpr double upper_length = 0.10;  // metres
inline constexpr double lower_length = 0.11;
inline constexpr double elbow_limit = 2.6;        // rad
inline constexpr double success_distance = 0.03;  // metres
inline constexpr Index success_steps = 10;

// The family as a simulator, which draws placements from this share (0 to 1) of their range around the arm at
// rest and stretched out along x. Nobody acts in it by script.
std::unique_ptr<Simulator> make_simulator(double spread = 1);

}  // namespace maa::examples::reacher
