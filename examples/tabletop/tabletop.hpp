// The tabletop family: a position-driven hand with a two-finger gripper and one object per task, on MuJoCo.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "environment.hpp"

namespace maa::examples::tabletop {

// The tasks, in a fixed order.
const std::vector<std::string>& task_names();

// A new environment of the task. Throws maa::Error naming the nearest tasks if the name is unknown, and if MuJoCo
// cannot compile the scene. Environments of one task share the compiled model and nothing else; thread-safe.
std::unique_ptr<Environment> make_environment(std::string_view task);

// The task whose scenes are this task's scenes reflected in x = 0 (itself for most), or "" if the family has none.
std::string mirror_task(std::string_view task);

// The reflection of a placement of `task`: a placement of mirror_task(task).
Placement mirror_placement(std::string_view task, const Placement& placement);

}  // namespace maa::examples::tabletop
