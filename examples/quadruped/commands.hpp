// The commands: the tasks of the quadruped.
#pragma once

#include <array>

namespace maa::examples::quadruped {

enum class Use { seen, unseen };

// What the trunk is to do in its own heading: metres a second forward and to the left, and the rate of
// turning to the left in rad/s.
struct Command {
  const char* name;
  double forward;
  double left;
  double turn;
  Use use;
};

// Uses were fixed before any policy was generated. The two turns are not reflections of each other to a
// policy, whose observations and actions nobody declares symmetric.
inline constexpr std::array<Command, 6> commands = {{{"forward", .35, 0, 0, Use::seen},
                                                     {"backward", -.35, 0, 0, Use::seen},
                                                     {"sideways", 0, .25, 0, Use::seen},
                                                     {"turn-left", .1, 0, .7, Use::seen},
                                                     {"forward-fast", .6, 0, 0, Use::seen},
                                                     {"turn-right", .1, 0, -.7, Use::unseen}}};

}  // namespace maa::examples::quadruped
