// The tabletop family on MuJoCo: a velocity-driven hand with a two-finger gripper and one object per task,
// through MetaWorld's interface (environment.hpp). An action of 1 moves the hand at 1.5 cm a step of 20 ms;
// the hand starts at (0, .5, .2) with the gripper open; an episode has 120 steps. Object 1 is the handle,
// button face, puck or plate with the part's orientation; object 2, where given, is a fixed point of the
// mechanism (in brackets).
//
// task                 object [2]       success               placement (metres, radians)
// reach                none             tool <= .04 from goal goal x +-.28, y .62 to .88, z .06 to .34
// push                 puck, grasped    xy <= .04 from goal   x +-.2, y .54 to .64, goal x +-.2, y .72 to .86
// plate-slide          dish, by its rim "                     x +-.2, y .54 to .64, goal x +-.2, y .76 to .88
// plate-slide-back     "                "                     x +-.2, y .7 to .8, goal x +-.2, y .46 to .56
// plate-slide-side     "                "                     x -.25 to -.1, goal x .08 to .25, y .56 to .74
// drawer-open          bar [cabinet]    out by >= .13         x +-.2, y .74 to .82, yaw +-.15, out 0 to .02
// drawer-close         "                out by <= .015        same, out .13 to .17
// door-open            handle [hinge]   angle >= .95          x -.25 to -.02, y, yaw same, angle 0 to .05
// door-close           "                angle <= .08          same, angle .8 to 1.2
// button-press         button in +y     pressed >= .03        x +-.25, y .74 to .84, z .09 to .2
// button-press-wall    ", behind a wall "                     x +-.2, y .8 to .86, z .09 to .15
// button-press-topdown button in -z     "                     x +-.25, y .62 to .84
// button-press-side    button in +x     "                     x .12 to .28, y .58 to .8, z .08 to .14
// handle-press         lever in -z      angle >= .5           x +-.25, y .72 to .86, angle -.3 to 0
// dial-turn            peg [axis]       turned left >= 1.2    x +-.2, y .64 to .82, yaw -.6 to .3
// faucet-open          lever [axis]     angle >= .5           x +-.2, y .7 to .84, angle -.6 to -.2
// faucet-close         "                angle <= -.5          same, angle .2 to .6
// window-open          window handle    x from middle >= .08  x +-.12, y .7 to .84, start -.13 to -.09
// window-close         "                x from middle <= -.08 same, start .09 to .13
//
// The reward of a step, from -2 to 1, is [success] - f(reach) - f(left), f(x) = x / (x + 10 cm): 1 where the
// state is a success, left the object's distance from the goal, reach the tool's distance from the place to
// push it from, on the line from the goal to the object and 5 cm beyond (at the object when that is at the
// goal). For reach the tool is the object, and reach is 0.
//
// faucet-close and window-close are the exact reflections of faucet-open and window-open; plate-slide-side,
// door-open, door-close, button-press-side and dial-turn have no reflection in the family; the others are
// their own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "environment.hpp"

namespace maa::examples::tabletop {

// The tasks, in a fixed order.
const std::vector<std::string>& task_names();

// A new environment of the task. Throws maa::Error naming the nearest tasks if the name is unknown, and if
// MuJoCo cannot compile the scene. Environments of one task share the compiled model and nothing else;
// thread-safe. Each action is held for `hold` of the steps above, a divisor of 120, which are one then: an
// action of 1 moves the hand hold times as far, an episode has 120 / hold steps.
std::unique_ptr<Environment> make_environment(std::string_view task, Index hold = 1);

// The task whose scenes are this task's scenes reflected in x = 0 (itself for most), or "" if the family has
// none.
std::string mirror_task(std::string_view task);

// The reflection of a placement of `task`: a placement of mirror_task(task).
Placement mirror_placement(std::string_view task, const Placement& placement);

// The family as a simulator: with MetaWorld's policies, or with others of its sizes and with held actions. An
// interface must outlive it.
std::unique_ptr<Simulator> make_simulator();
std::unique_ptr<Simulator> make_simulator(const Interface& interface, Index hold);

}  // namespace maa::examples::tabletop
