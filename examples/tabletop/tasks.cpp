#include "tasks.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <maa/core/nearest_names.hpp>

namespace maa::examples::tabletop {
namespace {

// The placement of a mechanism's base and joint.
std::vector<PlacementEntry> base(PlacementEntry x, PlacementEntry y, PlacementEntry z, PlacementEntry yaw,
                                 PlacementEntry joint) {
  return {x, y, z, yaw, joint};
}

PlacementEntry x_in(double low, double high) {
  return {"x", low, high, true};
}
PlacementEntry y_in(double low, double high) {
  return {"y", low, high};
}
PlacementEntry z_in(double low, double high) {
  return {"z", low, high};
}
PlacementEntry yaw_in(double low, double high) {
  return {"yaw", low, high, true};
}
PlacementEntry joint_in(double low, double high, bool flips = false) {
  return {"joint", low, high, flips};
}

PlacementEntry goal_x_in(double low, double high) {
  return {"goal x", low, high, true};
}
PlacementEntry goal_y_in(double low, double high) {
  return {"goal y", low, high};
}
PlacementEntry goal_z_in(double low, double high) {
  return {"goal z", low, high};
}

std::vector<PlacementEntry> object_and_goal(PlacementEntry x, PlacementEntry y, PlacementEntry goal_x,
                                            PlacementEntry goal_y) {
  return {x, y, goal_x, goal_y};
}

std::vector<Task> make_tasks() {
  constexpr double quarter = 1.5707963267948966;
  const auto table = z_in(0, 0);
  const auto straight = yaw_in(0, 0);
  return {
      {"reach",
       "reach",
       Mechanism::none,
       {goal_x_in(-.28, .28), goal_y_in(.62, .88), goal_z_in(.06, .34)},
       0,
       .04,
       reach_expert},
      {"push", "push", Mechanism::puck,
       object_and_goal(x_in(-.2, .2), y_in(.54, .64), goal_x_in(-.2, .2), goal_y_in(.72, .86)), 0, .04,
       drag_expert},
      {"plate-slide", "plate-slide", Mechanism::plate,
       object_and_goal(x_in(-.2, .2), y_in(.54, .64), goal_x_in(-.2, .2), goal_y_in(.76, .88)), 0, .04,
       plate_expert},
      {"plate-slide-back", "plate-slide-back", Mechanism::plate,
       object_and_goal(x_in(-.2, .2), y_in(.7, .8), goal_x_in(-.2, .2), goal_y_in(.46, .56)), 0, .04,
       plate_expert},
      {"plate-slide-side", "", Mechanism::plate,
       object_and_goal(x_in(-.25, -.1), y_in(.56, .74), goal_x_in(.08, .25), goal_y_in(.56, .74)), 0, .04,
       plate_expert},
      {"drawer-open", "drawer-open", Mechanism::drawer,
       base(x_in(-.2, .2), y_in(.74, .82), table, yaw_in(-.15, .15), joint_in(0, .02)), .16, .13,
       drawer_open_expert},
      {"drawer-close", "drawer-close", Mechanism::drawer,
       base(x_in(-.2, .2), y_in(.74, .82), table, yaw_in(-.15, .15), joint_in(.13, .17)), 0, .015,
       drawer_close_expert},
      {"door-open", "", Mechanism::door,
       base(x_in(-.25, -.02), y_in(.74, .82), table, yaw_in(-.15, .15), joint_in(0, .05)), 1.1, .95,
       door_open_expert},
      {"door-close", "", Mechanism::door,
       base(x_in(-.25, -.02), y_in(.74, .82), table, yaw_in(-.15, .15), joint_in(.8, 1.2)), 0, .08,
       door_close_expert},
      {"button-press", "button-press", Mechanism::button,
       base(x_in(-.25, .25), y_in(.74, .84), z_in(.09, .2), straight, joint_in(0, 0)), .04, .03,
       button_expert},
      {"button-press-wall", "button-press-wall", Mechanism::walled_button,
       base(x_in(-.2, .2), y_in(.8, .86), z_in(.09, .15), straight, joint_in(0, 0)), .04, .03,
       walled_button_expert},
      {"button-press-topdown", "button-press-topdown", Mechanism::top_button,
       base(x_in(-.25, .25), y_in(.62, .84), table, straight, joint_in(0, 0)), .04, .03, press_expert},
      {"button-press-side", "", Mechanism::button,
       base(x_in(.12, .28), y_in(.58, .8), z_in(.08, .14), yaw_in(-quarter, -quarter), joint_in(0, 0)), .04,
       .03, side_button_expert},
      {"handle-press", "handle-press", Mechanism::lever,
       base(x_in(-.25, .25), y_in(.72, .86), table, straight, joint_in(-.3, 0)), .6, .5, press_expert},
      {"dial-turn", "", Mechanism::dial,
       base(x_in(-.2, .2), y_in(.64, .82), table, yaw_in(-.6, .3), joint_in(0, 0)), 1.4, 1.2,
       turn_left_expert},
      {"faucet-open", "faucet-close", Mechanism::faucet,
       base(x_in(-.2, .2), y_in(.7, .84), table, straight, joint_in(-.6, -.2, true)), .7, .5,
       turn_left_expert},
      {"faucet-close", "faucet-open", Mechanism::faucet,
       base(x_in(-.2, .2), y_in(.7, .84), table, straight, joint_in(.2, .6, true)), -.7, -.5,
       turn_right_expert},
      {"window-open", "window-close", Mechanism::window,
       base(x_in(-.12, .12), y_in(.7, .84), table, straight, joint_in(-.13, -.09, true)), .12, .08,
       window_open_expert},
      {"window-close", "window-open", Mechanism::window,
       base(x_in(-.12, .12), y_in(.7, .84), table, straight, joint_in(.09, .13, true)), -.12, -.08,
       window_close_expert},
  };
}

}  // namespace

const std::vector<Task>& tasks() {
  static const std::vector<Task> all = make_tasks();
  return all;
}

const Task& find_task(std::string_view name) {
  const auto found =
      std::ranges::find(tasks(), name, [](const Task& task) { return std::string_view(task.name); });
  if (found != tasks().end()) return *found;
  std::vector<std::string> names;
  for (const Task& task : tasks()) names.emplace_back(task.name);
  maa::fail("tabletop: there is no task \"", name, "\"; the nearest names are ", nearest_names(name, names));
}

}  // namespace maa::examples::tabletop
