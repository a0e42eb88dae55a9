#include "tabletop.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <maa/core/rng.hpp>

#include "experts.hpp"
#include "metaworld_interface.hpp"
#include "mujoco_model.hpp"
#include "mujoco_renderer.hpp"
#include "scene.hpp"
#include "tasks.hpp"

namespace maa::examples::tabletop {
namespace {

constexpr Index substeps = 5;  // of 4 ms: 50 Hz control, at most 1.5 cm a step
constexpr Index episode_steps = 120;
constexpr double finger_travel = 0.04;
constexpr Vector3 hand_start = {0.0, 0.5, 0.2};
constexpr double behind = 0.05;  // metres

// How far x metres are: from 0 to 1, half of it within 10 cm.
double far(double x) {
  return x / (x + 0.1);
}

double distance(const Vector3& a, const Vector3& b) {
  return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

// The place of every number the environment reads or writes; -1 where the scene has no such thing.
struct Layout {
  int hand = -1;  // first of the hand's three joint coordinates
  int fingers = -1;
  int joint = -1;    // the object's (first) coordinate
  int joint_y = -1;  // the second one of a sliding object
  int handle = -1;   // sites
  int anchor = -1;
  int part = -1;  // the body whose orientation is reported
  int base = -1;  // mocap indices
  int goal = -1;
};

Layout layout_of(const mjModel& model) {
  const auto coordinate = [&](const char* name) {
    const int joint = mj_name2id(&model, mjOBJ_JOINT, name);
    return joint < 0 ? -1 : model.jnt_qposadr[joint];
  };
  const auto mocap = [&](const char* name) {
    const int body = mj_name2id(&model, mjOBJ_BODY, name);
    return body < 0 ? -1 : model.body_mocapid[body];
  };
  return {.hand = coordinate("hand_x"),
          .fingers = coordinate("finger_left"),
          .joint = coordinate("object"),
          .joint_y = coordinate("object_y"),
          .handle = mj_name2id(&model, mjOBJ_SITE, "handle"),
          .anchor = mj_name2id(&model, mjOBJ_SITE, "anchor"),
          .part = mj_name2id(&model, mjOBJ_BODY, "part"),
          .base = mocap("base"),
          .goal = mocap("goal")};
}

void check_size(const char* what, std::size_t found, Index expected) {
  if (static_cast<Index>(found) != expected) {
    maa::fail("tabletop: expected ", what, " of ", expected, " numbers, got ", static_cast<Index>(found));
  }
}

void check_hold(Index hold) {
  maa::require(hold >= 1 && episode_steps % hold == 0, "tabletop: expected to hold actions for a divisor of ",
               episode_steps, " steps, found ", hold);
}

class TabletopEnvironment final : public Environment {
 public:
  TabletopEnvironment(const Task& task, Index hold)
      : task_(task),
        hold_(hold),
        name_(task.name),
        model_(shared_model(scene_xml(task.mechanism))),
        data_(mj_makeData(model_.get())),
        layout_(layout_of(*model_)) {
    if (!data_) maa::fail("tabletop: MuJoCo could not allocate the state of ", name_);
  }

  const std::string& task() const override { return name_; }
  Index observation_size() const override { return metaworld_observation_size; }
  Index action_size() const override { return metaworld_action_size; }
  Index max_episode_steps() const override { return episode_steps / hold_; }

  Placement draw_placement(std::uint64_t seed) override {
    // One stream per task: the same seed gives unrelated scenes of different tasks.
    const auto stream = static_cast<std::uint64_t>(&task_ - tasks().data());
    maa::Rng random(seed, stream);
    Placement placement;
    for (const PlacementEntry& entry : task_.placement) {
      placement.push_back(random.uniform(entry.low, entry.high));
    }
    return placement;
  }

  void reset(const Placement& placement, std::span<float> observation) override {
    check_size("an observation", observation.size(), metaworld_observation_size);
    check_placement(placement);
    mj_resetData(model_.get(), data_.get());
    for (std::size_t axis = 0; axis < 3; ++axis) coordinate(layout_.hand, axis) = hand_start[axis];
    for (std::size_t finger = 0; finger < 2; ++finger) coordinate(layout_.fingers, finger) = finger_travel;
    place(placement);
    mj_forward(model_.get(), data_.get());
    ready_ = true;
    write_frame(std::span(observation_).first(metaworld_frame_size));
    std::copy_n(observation_.begin(), metaworld_frame_size, observation_.begin() + metaworld_frame_size);
    for (std::size_t axis = 0; axis < 3; ++axis)
      observation_[2 * metaworld_frame_size + axis] = static_cast<float>(goal_[axis]);
    std::ranges::copy(observation_, observation.begin());
  }

  StepResult step(std::span<const float> action, std::span<float> observation) override {
    check_ready("step");
    check_size("an action", action.size(), metaworld_action_size);
    check_size("an observation", observation.size(), metaworld_observation_size);
    for (float value : action) {
      if (std::isnan(value)) maa::fail("tabletop: the action contains NaN");
    }
    const auto clipped = [&](std::size_t i) { return std::clamp(static_cast<double>(action[i]), -1.0, 1.0); };
    for (std::size_t axis = 0; axis < 3; ++axis) data_->ctrl[axis] = clipped(axis);
    const double opening = 0.5 * finger_travel * (1.0 - clipped(3));
    data_->ctrl[3] = opening;
    data_->ctrl[4] = opening;
    for (Index i = 0; i < hold_ * substeps; ++i) mj_step(model_.get(), data_.get());
    mj_kinematics(model_.get(), data_.get());  // mj_step leaves the positions of its beginning
    std::copy_n(observation_.begin(), metaworld_frame_size, observation_.begin() + metaworld_frame_size);
    write_frame(std::span(observation_).first(metaworld_frame_size));
    std::ranges::copy(observation_, observation.begin());
    const bool done = success();
    return {.success = done, .reward = reward(done)};
  }

  void expert_action(std::span<float> action) override {
    check_ready("expert_action");
    check_size("an action", action.size(), metaworld_action_size);
    const Action wanted = task_.expert(view_of(observation_));
    std::ranges::transform(wanted, action.begin(), [](double value) { return static_cast<float>(value); });
  }

  Image render(Index width, Index height) override {
    check_ready("render");
    if (!renderer_) renderer_ = make_renderer(model_);
    // reset() and step() leave positions up to date; only cameras and lights are missing.
    mj_camlight(model_.get(), data_.get());
    return renderer_->draw(*data_, width, height);
  }

 private:
  double& coordinate(int first, std::size_t offset = 0) {
    return data_->qpos[static_cast<std::size_t>(first) + offset];
  }

  void check_ready(const char* what) const {
    if (!ready_) maa::fail("tabletop: ", what, "() before the first reset() of ", name_);
  }

  void check_placement(const Placement& placement) const {
    constexpr double slack = 1e-6;  // for placements that went through a text file or float32
    check_size("a placement", placement.size(), static_cast<Index>(task_.placement.size()));
    for (std::size_t i = 0; i < placement.size(); ++i) {
      const PlacementEntry& entry = task_.placement[i];
      if (!(placement[i] >= entry.low - slack && placement[i] <= entry.high + slack)) {
        maa::fail("tabletop: ", name_, " expects ", entry.name, " in [", entry.low, ", ", entry.high,
                  "], got ", placement[i]);
      }
    }
  }

  void move_mocap(int index, const Vector3& position) {
    std::ranges::copy(position, data_->mocap_pos + 3 * index);
  }

  Vector3 site(int index) const {
    const mjtNum* position = data_->site_xpos + 3 * index;
    return {position[0], position[1], position[2]};
  }

  // Sets everything a placement decides, and the goal.
  void place(const Placement& p) {
    if (task_.mechanism == Mechanism::none) {
      goal_ = {p[0], p[1], p[2]};
    } else if (layout_.base < 0) {
      coordinate(layout_.joint) = p[0];
      coordinate(layout_.joint_y) = p[1];
      mj_kinematics(model_.get(), data_.get());
      goal_ = {p[2], p[3], site(layout_.handle)[2]};
    } else {
      move_mocap(layout_.base, {p[0], p[1], p[2]});
      mjtNum* quaternion = data_->mocap_quat + 4 * layout_.base;
      quaternion[0] = std::cos(0.5 * p[3]);
      quaternion[1] = quaternion[2] = 0.0;
      quaternion[3] = std::sin(0.5 * p[3]);
      coordinate(layout_.joint) = task_.goal;
      mj_kinematics(model_.get(), data_.get());
      goal_ = site(layout_.handle);
      coordinate(layout_.joint) = p[4];
    }
    move_mocap(layout_.goal, goal_);
  }

  void write_frame(std::span<float> frame) {
    std::ranges::fill(frame, 0.0F);
    const auto write = [&](std::size_t first, const auto& values) {
      std::ranges::transform(values, frame.begin() + static_cast<std::ptrdiff_t>(first),
                             [](double value) { return static_cast<float>(value); });
    };
    write(0, std::span(&coordinate(layout_.hand), 3));
    frame[3] = static_cast<float>((coordinate(layout_.fingers) + coordinate(layout_.fingers, 1)) /
                                  (2.0 * finger_travel));
    if (layout_.handle >= 0) {
      write(4, site(layout_.handle));
      write(7, std::span(data_->xquat + 4 * layout_.part, 4));
    }
    if (layout_.anchor >= 0) write(11, site(layout_.anchor));
  }

  Vector3 tool() const {
    const mjtNum* position = data_->qpos + layout_.hand;
    return {position[0], position[1], position[2]};
  }

  double reward(bool done) const {
    const Vector3 object = layout_.handle < 0 ? tool() : site(layout_.handle);
    const double left = distance(object, goal_);
    double reach = 0;
    if (layout_.handle >= 0) {
      Vector3 start = object;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        start[axis] -= behind * (goal_[axis] - object[axis]) / (left + 0.01);
      }
      reach = distance(tool(), start);
    }
    return (done ? 1 : 0) - far(reach) - far(left);
  }

  bool success() const {
    if (task_.mechanism == Mechanism::none) {
      return distance(tool(), goal_) <= task_.success;
    }
    if (layout_.base < 0) {
      const Vector3 object = site(layout_.handle);
      return std::hypot(object[0] - goal_[0], object[1] - goal_[1]) <= task_.success;
    }
    const double joint = data_->qpos[layout_.joint];
    return task_.goal > task_.success ? joint >= task_.success : joint <= task_.success;
  }

  const Task& task_;
  Index hold_;
  std::string name_;
  std::shared_ptr<const mjModel> model_;
  OwnedData data_;
  Layout layout_;
  Vector3 goal_{};
  std::array<float, static_cast<std::size_t>(metaworld_observation_size)> observation_{};
  std::unique_ptr<Renderer> renderer_;
  bool ready_ = false;
};

class Tabletop final : public Simulator {
 public:
  Tabletop(const Interface& interface, Index hold) : interface_(interface), hold_(hold) {
    check_hold(hold);
    check_size("policies of observations", static_cast<std::size_t>(interface.policy.observation_size()),
               metaworld_observation_size);
    check_size("policies of actions", static_cast<std::size_t>(interface.policy.action_size()),
               metaworld_action_size);
  }
  std::string name() const override { return "tabletop"; }
  const Interface& interface() const override { return interface_; }
  const std::vector<std::string>& task_names() const override { return tabletop::task_names(); }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    return tabletop::make_environment(task, hold_);
  }
  std::string mirror_task(const std::string& task) const override { return tabletop::mirror_task(task); }
  std::map<std::string, std::string> versions() const override {
    std::map<std::string, std::string> versions{{"mujoco", mj_versionString()}};
    if (hold_ != 1) versions["hold"] = maa::concatenate(hold_);
    return versions;
  }

 private:
  const Interface& interface_;
  Index hold_;
};

}  // namespace

std::unique_ptr<Simulator> make_simulator() {
  return make_simulator(metaworld_interface(true), 1);
}

std::unique_ptr<Simulator> make_simulator(const Interface& interface, Index hold) {
  return std::make_unique<Tabletop>(interface, hold);
}

const std::vector<std::string>& task_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Task& task : tasks()) all.emplace_back(task.name);
    return all;
  }();
  return names;
}

std::unique_ptr<Environment> make_environment(std::string_view task, Index hold) {
  check_hold(hold);
  return std::make_unique<TabletopEnvironment>(find_task(task), hold);
}

std::string mirror_task(std::string_view task) {
  return find_task(task).mirror;
}

Placement mirror_placement(std::string_view task, const Placement& placement) {
  const Task& from = find_task(task);
  if (std::string_view(from.mirror).empty()) maa::fail("tabletop: ", task, " has no reflected task");
  check_size("a placement", placement.size(), static_cast<Index>(from.placement.size()));
  Placement mirrored = placement;
  for (std::size_t i = 0; i < mirrored.size(); ++i) {
    if (from.placement[i].flips) mirrored[i] = -mirrored[i];
  }
  return mirrored;
}

}  // namespace maa::examples::tabletop
