#include "experts.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace maa::examples::tabletop {
namespace {

constexpr double gain = 25.0;  // action per metre of error: full speed from 4 cm on
constexpr double opened = -1.0;
constexpr double closed = 1.0;

double clip(double value) {
  return std::clamp(value, -1.0, 1.0);
}

// 0 below `low`, 1 above `high`, smooth between.
double ramp(double value, double low, double high) {
  const double t = std::clamp((value - low) / (high - low), 0.0, 1.0);
  return t * t * (3.0 - 2.0 * t);
}

double blend(double from, double to, double weight) {
  return from + (to - from) * weight;
}

// A job done in the horizontal plane: come to `start` from above, then move along `direction`.
struct Job {
  Vector3 start;       // where work begins
  double direction_x;  // unit vector of the work
  double direction_y;
  double slack;          // how far along the direction a hand that is down may be and still be at work
  double travel_height;  // tool height that clears everything on the way to start
  double speed;          // of the work, in (0, 1]
};

// How far the hand is from doing the job.
struct Progress {
  double across_x, across_y;  // the hand's offset from the line of work
  double away;                // 0 on the line and within the slack, 1 where the hand must travel
  double working;             // 1 where the hand is at work
};

Progress progress_of(const Vector3& hand, const Job& job) {
  const double x = hand[0] - job.start[0];
  const double y = hand[1] - job.start[1];
  const double along = x * job.direction_x + y * job.direction_y;
  Progress progress{};
  progress.across_x = x - along * job.direction_x;
  progress.across_y = y - along * job.direction_y;
  // A hand that is already down is put right where it is; one that is still up must first be well above the
  // start.
  const double down = 1.0 - ramp(hand[2] - job.start[2], 0.015, 0.04);
  const double excess = std::max({-along, along - job.slack * down, 0.0});
  const double across = std::hypot(progress.across_x, progress.across_y) / blend(1.0, 2.2, down);
  progress.away = ramp(std::hypot(across, excess), 0.01, 0.032);
  progress.working = (1.0 - progress.away) * (1.0 - ramp(std::abs(hand[2] - job.start[2]), 0.01, 0.03));
  return progress;
}

// Travelling to job.start: up to the travelling height where the hand is far off, down where it is above the
// start.
Action travel(const Vector3& hand, const Job& job, double away, double gripper) {
  const double top = std::max(job.travel_height, job.start[2]);
  const double sideways = 1.0 - away * ramp(top - hand[2], 0.02, 0.07);  // low and far off: first up
  return {sideways * clip(gain * (job.start[0] - hand[0])), sideways * clip(gain * (job.start[1] - hand[1])),
          clip(gain * (blend(job.start[2], top, away) - hand[2])), gripper};
}

Action do_job(const Vector3& hand, const Job& job, double gripper) {
  const Progress progress = progress_of(hand, job);
  Action action = travel(hand, job, progress.away, gripper);
  const double work_x = clip(job.speed * job.direction_x - gain * progress.across_x);
  const double work_y = clip(job.speed * job.direction_y - gain * progress.across_y);
  action[0] = blend(action[0], work_x, progress.working);
  action[1] = blend(action[1], work_y, progress.working);
  return action;
}

// Pushes the object along a unit direction from `distance` before it.
Job push_job(const View& view, double x, double y, double distance, double clearance) {
  return {.start = {view.object[0] - distance * x, view.object[1] - distance * y, view.object[2]},
          .direction_x = x,
          .direction_y = y,
          .slack = distance,
          .travel_height = view.object[2] + clearance,
          .speed = 1.0};
}

// Pulls a bar along a unit direction with the closed or open fingers hooked behind it.
Job hook_job(const View& view, double x, double y, double clearance) {
  Job job = push_job(view, x, y, 0.033, clearance);
  job.slack = 0.03;
  return job;
}

// The unit normal of a door, pointing into the cabinet, from its handle and hinge. In the closed door's frame
// the handle lies at (.2, -.075) from the hinge and the normal is (0, 1).
std::array<double, 2> door_normal(const View& view) {
  const double x = view.object[0] - view.anchor[0];
  const double y = view.object[1] - view.anchor[1];
  const double length = std::max(std::hypot(x, y), 1e-6);
  constexpr double along = -0.35112;  // -.075 / .2136
  constexpr double across = 0.93633;  // .2 / .2136
  return {(along * x - across * y) / length, (along * y + across * x) / length};
}

Action turn(const View& view, double sign) {
  const double x = view.object[0] - view.anchor[0];
  const double y = view.object[1] - view.anchor[1];
  const double length = std::max(std::hypot(x, y), 1e-6);
  Job job = push_job(view, -sign * y / length, sign * x / length, 0.06, 0.075);
  job.speed = 0.7;
  return do_job(view.hand, job, closed);
}

// Towards the goal at a speed that eases off over the last centimetres.
std::array<double, 2> towards_goal(const View& view) {
  const double x = view.goal[0] - view.object[0];
  const double y = view.goal[1] - view.object[1];
  const double length = std::hypot(x, y) + 0.02;
  return {0.8 * x / length, 0.8 * y / length};
}

}  // namespace

View view_of(std::span<const float> observation) {
  const auto xyz = [&](std::size_t first) {
    return Vector3{observation[first], observation[first + 1], observation[first + 2]};
  };
  return {.hand = xyz(0), .opening = observation[3], .object = xyz(4), .anchor = xyz(11), .goal = xyz(36)};
}

Action reach_expert(const View& view) {
  Action action{};
  for (std::size_t axis = 0; axis < 3; ++axis)
    action[axis] = clip(gain * (view.goal[axis] - view.hand[axis]));
  return action;
}

Action drag_expert(const View& view) {
  Job job = push_job(view, 0.0, 1.0, 0.0, 0.08);
  job.start[2] = 0.03;
  job.slack = 0.0;
  const Progress progress = progress_of(view.hand, job);
  Action action = travel(view.hand, job, progress.away, blend(opened, closed, progress.working));
  const double gripped = progress.working * (1.0 - ramp(view.opening, 0.66, 0.9));
  const auto [x, y] = towards_goal(view);
  action[0] = blend(action[0], x, gripped);
  action[1] = blend(action[1], y, gripped);
  return action;
}

Action plate_expert(const View& view) {
  Job job = push_job(view, 0.0, 1.0, 0.0, 0.06);
  job.start[2] = 0.025;
  const double height = view.hand[2] - job.start[2];
  const double distance = std::hypot(view.hand[0] - job.start[0], view.hand[1] - job.start[1]);
  const double inside =
      1.0 - ramp(height, 0.01, 0.025);  // the fingers are below the rim's top: anywhere within it
  const double away = ramp(distance, blend(0.01, 0.045, inside), blend(0.032, 0.07, inside));
  Action action = travel(view.hand, job, away, closed);
  const auto [x, y] = towards_goal(view);
  const double working = inside * (1.0 - away);
  action[0] = blend(action[0], x, working);
  action[1] = blend(action[1], y, working);
  return action;
}

Action drawer_open_expert(const View& view) {
  const double x = view.object[0] - view.anchor[0];
  const double y = view.object[1] - view.anchor[1];
  const double length = std::max(std::hypot(x, y), 1e-6);
  return do_job(view.hand, hook_job(view, x / length, y / length, 0.08), opened);
}

Action drawer_close_expert(const View& view) {
  const double x = view.anchor[0] - view.object[0];
  const double y = view.anchor[1] - view.object[1];
  const double length = std::max(std::hypot(x, y), 1e-6);
  return do_job(view.hand, push_job(view, x / length, y / length, 0.05, 0.08), closed);
}

Action door_open_expert(const View& view) {
  const auto [x, y] = door_normal(view);
  return do_job(view.hand, hook_job(view, -x, -y, 0.1), closed);
}

Action door_close_expert(const View& view) {
  const auto [x, y] = door_normal(view);
  return do_job(view.hand, push_job(view, x, y, 0.05, 0.1), closed);
}

Action button_expert(const View& view) {
  return do_job(view.hand, push_job(view, 0.0, 1.0, 0.05, 0.0), closed);
}

Action walled_button_expert(const View& view) {
  return do_job(view.hand, push_job(view, 0.0, 1.0, 0.06, 0.09), closed);
}

Action side_button_expert(const View& view) {
  return do_job(view.hand, push_job(view, 1.0, 0.0, 0.05, 0.1), closed);
}

Action press_expert(const View& view) {
  const double x = view.object[0] - view.hand[0];
  const double y = view.object[1] - view.hand[1];
  const double away = ramp(std::hypot(x, y), 0.012, 0.045);
  const double top = view.object[2] + 0.05;
  const double sideways = 1.0 - away * ramp(top - view.hand[2], 0.02, 0.05);
  return {sideways * clip(gain * x), sideways * clip(gain * y),
          clip(gain * (blend(view.object[2] - 0.05, top, away) - view.hand[2])), closed};
}

Action turn_left_expert(const View& view) {
  return turn(view, 1.0);
}
Action turn_right_expert(const View& view) {
  return turn(view, -1.0);
}

Action window_open_expert(const View& view) {
  return do_job(view.hand, push_job(view, 1.0, 0.0, 0.065, 0.08), closed);
}

Action window_close_expert(const View& view) {
  return do_job(view.hand, push_job(view, -1.0, 0.0, 0.065, 0.08), closed);
}

}  // namespace maa::examples::tabletop
