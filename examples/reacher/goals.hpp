// The hidden goals: the tasks of the reacher family.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <maa/core/config.hpp>

namespace maa::examples::reacher {

enum class Use { seen, unseen, validation };

// Where the fingertip must come to, in metres from the shoulder.
struct Goal {
  const char* name;
  double x;
  double y;
  Use use;
};

// A sunflower (Vogel, 1979), which covers the annulus evenly: goal k = 0 .. 17 at the angle k pi (3 - sqrt 5)
// and the radius^2 = .07^2 + (k + .5) / 18 (.195^2 - .07^2), rounded to millimetres. Neighbours are at least
// 7 cm apart. Uses go round by sixes, from the inside to the outside, and were fixed before any policy was
// trained.
inline constexpr std::array<Goal, 18> goals = {{{"goal-01", .076, .000, Use::seen},
                                                {"goal-02", -.065, .059, Use::unseen},
                                                {"goal-03", .009, -.097, Use::seen},
                                                {"goal-04", .065, .085, Use::validation},
                                                {"goal-05", -.113, -.020, Use::seen},
                                                {"goal-06", .103, -.066, Use::unseen},
                                                {"goal-07", -.034, .125, Use::seen},
                                                {"goal-08", -.063, -.121, Use::unseen},
                                                {"goal-09", .135, .049, Use::seen},
                                                {"goal-10", -.138, .057, Use::validation},
                                                {"goal-11", .066, -.141, Use::seen},
                                                {"goal-12", .048, .154, Use::unseen},
                                                {"goal-13", -.145, -.084, Use::seen},
                                                {"goal-14", .168, -.037, Use::unseen},
                                                {"goal-15", -.102, .145, Use::seen},
                                                {"goal-16", -.023, -.181, Use::validation},
                                                {"goal-17", .144, .121, Use::seen},
                                                {"goal-18", -.192, .008, Use::unseen}}};

}  // namespace maa::examples::reacher
