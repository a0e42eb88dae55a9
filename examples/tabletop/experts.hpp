// The scripted experts: actions as continuous functions of one observation.
#pragma once

#include <array>
#include <span>

namespace maa::examples::tabletop {

using Vector3 = std::array<double, 3>;
using Action = std::array<double, 4>;

// What an expert sees, read from the observation's present frame and goal.
struct View {
  Vector3 hand;
  double opening;  // of the gripper: 0 closed, 1 open
  Vector3 object;
  Vector3 anchor;  // object 2; zeros if the task has none
  Vector3 goal;
};

View view_of(std::span<const float> observation);

// An expert: the action, within [-1, 1], that brings any state of the task nearer to success. No expert has a
// memory: the phase (travel, descend, work) follows from where the hand is, blended over a few centimetres.
using Expert = Action (*)(const View& view);

Action reach_expert(const View& view);
Action drag_expert(const View& view);   // grasps the puck from above and drags it to the goal
Action plate_expert(const View& view);  // moves the plate by its rim, from inside
Action drawer_open_expert(const View& view);
Action drawer_close_expert(const View& view);
Action door_open_expert(const View& view);
Action door_close_expert(const View& view);
Action button_expert(const View& view);
Action walled_button_expert(const View& view);
Action side_button_expert(const View& view);
Action press_expert(const View& view);       // straight down on the object
Action turn_left_expert(const View& view);   // counter-clockwise about the anchor
Action turn_right_expert(const View& view);  // clockwise
Action window_open_expert(const View& view);
Action window_close_expert(const View& view);

}  // namespace maa::examples::tabletop
