// The table of tabletop tasks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "environment.hpp"
#include "experts.hpp"
#include "scene.hpp"

namespace maa::examples::tabletop {

// One number of a placement: uniform in [low, high]; `flips` if a reflection in x = 0 changes its sign.
struct PlacementEntry {
  const char* name;
  double low;
  double high;
  bool flips = false;
};

// Placements by mechanism:
//   none:         goal x, y, z
//   puck, plate:  x, y of the object, x, y of the goal
//   others:       x, y, z and yaw of the base, and the joint's start
struct Task {
  const char* name;
  const char* mirror;  // the reflected task, "" if the family has none
  Mechanism mechanism;
  std::vector<PlacementEntry> placement;
  // Mechanisms with a joint: the goal is the handle's place at joint = goal, and the task is done once the
  // joint has passed `success` on the way there. Others: the goal is placed, `goal` is unused, and the task
  // is done within `success` metres of it (of the tool centre for reach, of the object otherwise).
  double goal;
  double success;
  Expert expert;
};

const std::vector<Task>& tasks();

// Throws maa::Error naming the nearest tasks.
const Task& find_task(std::string_view name);

}  // namespace maa::examples::tabletop
