// The robot's 12 joints, and how its actions become torques.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include <maa/core/config.hpp>

#include "mujoco_model.hpp"

namespace maa::examples::quadruped {

inline constexpr Index joint_count = 12;
inline constexpr std::array<const char*, 4> legs = {"FL", "FR", "RL", "RR"};
// Of each leg, in this order; the joints of a model are named LEG_PART_joint.
inline constexpr std::array<const char*, 3> parts = {"hip", "thigh", "calf"};
std::string joint_name(Index joint);

inline constexpr std::array<double, 3> default_position = {0, 0.9, -1.8};   // rad, of each leg
inline constexpr double stiffness = 30;                                     // N m / rad
inline constexpr double damping = 0.7;                                      // N m s / rad
inline constexpr std::array<double, 3> torque_limit = {23.7, 23.7, 35.55};  // N m
inline constexpr double action_scale = 0.25;                                // rad per unit of an action
inline constexpr double period = 0.02;                                      // seconds of a control step
inline constexpr int substeps = 4;
inline constexpr double gait_frequency = 2.5;  // Hz
inline constexpr double gait_lift = 0.22;      // rad, by which a swinging thigh is raised

// The trot in place that actions add to, at a phase of the clock in [0, 1): diagonal legs swing in turn. What
// moves the robot along is the policy's.
std::array<double, joint_count> gait_reference(double phase);

// A model that walks: own primitives with the sizes and masses of a Unitree Go1 (its description is
// Unitree's, BSD 3-clause), on a plane or, with `uneven`, on a height field "ground" whose heights are the
// user's to set.
std::string own_model(bool uneven);

// The model of an MJCF file, whose own actuators are switched off, at this robot's time step. Error unless it
// has a free joint, the 12 hinge joints, and a plane or a height field to stand on.
OwnedModel load_model(const std::filesystem::path& path);
OwnedModel compile_own_model(bool uneven);

}  // namespace maa::examples::quadruped
