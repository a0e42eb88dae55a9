// A quadruped on MuJoCo that is to follow one command (commands.hpp) for 10 s: one command is one task.
//   observation: 4 frames of 64 numbers, the oldest first; before the first step all are the first. A frame:
//                  0 - 2   the command: forward, left (m/s), turn (rad/s)
//                  3 - 5   gravity's direction in the trunk's frame
//                  6 - 17  joint positions minus the default, in rad, by leg FL FR RL RR: hip, thigh, calf
//                 18 - 29  joint velocities in units of 10 rad/s
//                 30 - 41  the last action
//                 42 - 53  the action before it
//                 54 - 57  the gait clock: sine and cosine of its phase and of twice its phase
//                 58 - 60  the trunk's angular velocity in its frame, in units of 4 rad/s
//                 61 - 63  zeros
//   action:      12 offsets of joint targets in units of .25 rad, added to the default position and a trot in
//                place by the clock (gait_reference): a central-pattern residual policy. Not bounded; beyond
//                10 they count as 10, and targets stay within the joints' ranges.
//   placement:   friction of feet and ground, mass added to the trunk (kg), speed (m/s) and direction (rad)
//   of
//                pushes, phase of the clock [0, 1), and a seed of small offsets of the joints at the start
//                (and of the ground, where it is uneven). A push changes the trunk's velocity at 3, and, a
//                quarter turn on, at 6 s.
//   success:     in the last step, if the robot has not fallen and its tracking errors are below the bounds.
//   failure:     the robot has fallen: its trunk is low or has tilted by more than 60 degrees.
// A step is 20 ms, in 4 steps of the simulator that hold targets and set torques anew.
#pragma once

#include <filesystem>

#include <maa/models/policy.hpp>

#include "environment.hpp"
#include "interface.hpp"

namespace maa::examples::quadruped {

using Policy = QuadrupedPolicy;  // 256-128-128-12, 50,956 weights

inline constexpr Index frames = 4, frame_size = 64;
inline constexpr Index episode_steps = 500;
// Mean over half-seconds from the second second on of how far the mean velocity in the trunk's heading is
// from the command, and the same of the rate of turning.
inline constexpr double velocity_bound = 0.15;  // m/s
inline constexpr double turning_bound = 0.25;   // rad/s

// What an episode came to so far. All but the last two are of what follows the first second.
struct Gait {
  double velocity_error = 0;               // m/s
  double turning_error = 0;                // rad/s
  double forward = 0, left = 0, turn = 0;  // means, as commands
  double stride_frequency = 0;             // times a second that a foot touches down, mean over the feet
  double duty_factor = 0;                  // share of the time that a foot touches the ground, the same
  Index steps = 0;
  bool fallen = false;
};

struct QuadrupedOptions {
  std::filesystem::path model;  // an MJCF file in place of the own model
  double unevenness = 0;        // metres between the lowest and the highest of uneven ground, own model only
};

std::unique_ptr<Simulator> make_simulator(const QuadrupedOptions& options = {});

// Of the last episode of an environment that such a simulator made; Error for another.
Gait gait_of(const Environment& environment);

// What a controller must know: names of observations and actions, default joint positions, gains, scale,
// period, and the clock.
PolicyMetadata controller_metadata();

}  // namespace maa::examples::quadruped
