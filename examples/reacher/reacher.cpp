#include "reacher.hpp"

#include <algorithm>
#include <cmath>

#include <maa/core/nearest_names.hpp>
#include <maa/core/rng.hpp>

#include "goals.hpp"
#include "interface.hpp"
#include "mujoco_model.hpp"
#include "mujoco_renderer.hpp"

namespace maa::examples::reacher {
namespace {

constexpr int substeps = 2;  // of 10 ms
constexpr Index episode_steps = 100;
constexpr double pi = 3.14159265358979323846;
constexpr double velocity_unit = 5;  // rad/s
constexpr double action_cost = 0.02;

struct PlacementEntry {
  const char* name;
  double limit;
};
constexpr PlacementEntry placement_entries[] = {
    {"q1", pi}, {"q2", elbow_limit}, {"q1's velocity", 0.5}, {"q2's velocity", 0.5}};

// Seen from above. Joint damping makes motion die out within about .2 s; there is no gravity and no contact.
const std::string scene = R"(<mujoco model="reacher">
<compiler angle="radian" autolimits="false"/>
<option timestep="0.01" gravity="0 0 0">
  <flag contact="disable"/>
</option>
<visual>
  <global offwidth="1280" offheight="960"/>
  <quality shadowsize="2048" offsamples="4"/>
  <headlight ambient=".4 .4 .42" diffuse=".3 .3 .3" specular="0 0 0"/>
  <map znear=".02" zfar="30"/>
</visual>
<asset>
  <texture name="sky" type="skybox" builtin="gradient" rgb1=".93 .95 .98" rgb2=".62 .70 .80" width="128"
        height="128"/>
  <texture name="floor" type="2d" builtin="checker" rgb1=".80 .82 .85" rgb2=".74 .76 .80" width="256"
        height="256"/>
  <material name="floor" texture="floor" texrepeat="8 8" reflectance="0"/>
  <material name="metal" rgba=".33 .36 .41 1" specular=".6" shininess=".6"/>
  <material name="link" rgba=".27 .47 .72 1" specular=".3" shininess=".4"/>
  <material name="tip" rgba=".98 .55 .12 1" specular=".3" shininess=".4"/>
  <material name="goal" rgba=".15 .78 .35 .55" emission=".5"/>
</asset>
<worldbody>
  <light directional="true" pos="-.3 -.2 1" dir=".3 .3 -1" diffuse=".6 .58 .55" specular=".2 .2 .2"
        castshadow="true"/>
  <camera name="view" fovy="40" pos="0 -.22 .66" xyaxes="1 0 0 0 .95 .312"/>
  <geom type="plane" pos="0 0 -.02" size="1 1 .1" material="floor"/>
  <geom type="cylinder" pos="0 0 -.005" size=".018 .015" material="metal" mass="0"/>
  <body name="upper">
    <joint name="shoulder" type="hinge" axis="0 0 1" damping=".045" armature=".004"/>
    <geom type="capsule" fromto="0 0 0 .1 0 0" size=".01" mass=".3" material="link"/>
    <body name="lower" pos=".1 0 0">
      <joint name="elbow" type="hinge" axis="0 0 1" damping=".02" armature=".002" limited="true"
             range="-2.6 2.6"/>
      <geom type="sphere" size=".013" mass="0" material="metal"/>
      <geom type="capsule" fromto="0 0 0 .11 0 0" size=".008" mass=".15" material="link"/>
      <geom type="sphere" pos=".11 0 0" size=".011" mass="0" material="tip"/>
      <site name="fingertip" pos=".11 0 0" size=".002" group="4"/>
    </body>
  </body>
  <body name="goal" mocap="true">
    <geom type="cylinder" size=".03 .001" material="goal"/>
  </body>
</worldbody>
<actuator>
  <motor joint="shoulder" gear=".27" ctrllimited="true" ctrlrange="-1 1"/>
  <motor joint="elbow" gear=".16" ctrllimited="true" ctrlrange="-1 1"/>
</actuator>
</mujoco>
)";

void check_size(const char* what, std::size_t size, Index expected) {
  require(static_cast<Index>(size) == expected, "reacher: expected ", what, " of ", expected, ", got ", size);
}

std::uint64_t number_of(const Goal& goal) {
  return static_cast<std::uint64_t>(&goal - goals.data());
}

class ReacherEnvironment final : public Environment {
 public:
  ReacherEnvironment(const Goal& goal, double spread)
      : goal_(goal),
        spread_(spread),
        name_(goal.name),
        model_(shared_model(scene)),
        data_(mj_makeData(model_.get())),
        fingertip_(mj_name2id(model_.get(), mjOBJ_SITE, "fingertip")) {
    require(data_ != nullptr, "reacher: MuJoCo has no memory for ", name_);
  }

  const std::string& task() const override { return name_; }
  Index observation_size() const override { return Policy::observation_size; }
  Index action_size() const override { return Policy::action_size; }
  Index max_episode_steps() const override { return episode_steps; }

  Placement draw_placement(std::uint64_t seed) override {
    Rng rng = Rng(seed).fork(number_of(goal_));
    Placement placement;
    for (const auto& entry : placement_entries) {
      placement.push_back(rng.uniform(-spread_ * entry.limit, spread_ * entry.limit));
    }
    return placement;
  }

  void reset(const Placement& placement, std::span<float> observation) override {
    check_size("an observation", observation.size(), observation_size());
    check_size("a placement", placement.size(), std::ssize(placement_entries));
    for (std::size_t i = 0; i < placement.size(); ++i) {
      const auto& entry = placement_entries[i];
      require(std::abs(placement[i]) <= entry.limit + 1e-6, "reacher: expected ", entry.name, " in [",
              -entry.limit, ", ", entry.limit, "], got ", placement[i]);
    }
    mj_resetData(model_.get(), data_.get());
    std::copy_n(placement.begin(), 2, data_->qpos);
    std::copy_n(placement.begin() + 2, 2, data_->qvel);
    data_->mocap_pos[0] = goal_.x;
    data_->mocap_pos[1] = goal_.y;
    mj_forward(model_.get(), data_.get());
    at_goal_ = 0;
    ready_ = true;
    write(observation);
  }

  StepResult step(std::span<const float> action, std::span<float> observation) override {
    check_ready("step");
    check_size("an action", action.size(), action_size());
    check_size("an observation", observation.size(), observation_size());
    double squares = 0;
    for (std::size_t i = 0; i < action.size(); ++i) {
      require(!std::isnan(action[i]), "reacher: the action contains NaN");
      data_->ctrl[i] = std::clamp(static_cast<double>(action[i]), -1.0, 1.0);
      squares += data_->ctrl[i] * data_->ctrl[i];
    }
    for (int i = 0; i < substeps; ++i) mj_step(model_.get(), data_.get());
    mj_kinematics(model_.get(), data_.get());  // mj_step leaves the positions of its beginning
    write(observation);
    const mjtNum* tip = data_->site_xpos + 3 * fingertip_;
    const double distance = std::hypot(tip[0] - goal_.x, tip[1] - goal_.y);
    at_goal_ = distance <= success_distance ? at_goal_ + 1 : 0;
    return {.success = at_goal_ >= success_steps, .reward = -10 * distance - action_cost * squares};
  }

  Image render(Index width, Index height) override {
    check_ready("render");
    if (!renderer_) renderer_ = make_renderer(model_);
    mj_camlight(model_.get(), data_.get());
    return renderer_->draw(*data_, width, height);
  }

 private:
  void check_ready(const char* what) const {
    require(ready_, "reacher: ", what, "() before the first reset() of ", name_);
  }
  void write(std::span<float> observation) const {
    for (std::size_t joint = 0; joint < 2; ++joint) {
      observation[joint] = static_cast<float>(std::cos(data_->qpos[joint]));
      observation[2 + joint] = static_cast<float>(std::sin(data_->qpos[joint]));
      observation[4 + joint] = static_cast<float>(data_->qvel[joint] / velocity_unit);
    }
  }

  const Goal& goal_;
  double spread_;
  std::string name_;
  std::shared_ptr<const mjModel> model_;
  OwnedData data_;
  int fingertip_;
  std::unique_ptr<Renderer> renderer_;
  Index at_goal_ = 0;  // steps in a row that ended there
  bool ready_ = false;
};

class Reacher final : public Simulator {
 public:
  explicit Reacher(double spread) : spread_(spread) {
    require(spread >= 0 && spread <= 1, "reacher: expected a spread from 0 to 1, found ", spread);
  }
  std::string name() const override { return "reacher"; }
  const Interface& interface() const override {
    static const Interface known{policy_type<Policy>(), {}, {}};  // no symmetry: nothing but the data
    return known;
  }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    const auto found = std::ranges::find(goals, task, &Goal::name);
    require(found != goals.end(), "reacher: there is no task \"", task, "\"; the nearest names are ",
            nearest_names(task, names_));
    return std::make_unique<ReacherEnvironment>(*found, spread_);
  }
  std::string mirror_task(const std::string&) const override { return ""; }
  std::map<std::string, std::string> versions() const override {
    return {{"mujoco", mj_versionString()}, {"spread", concatenate(spread_)}};
  }

 private:
  double spread_;
  std::vector<std::string> names_ = [] {
    std::vector<std::string> names;
    for (const auto& goal : goals) names.emplace_back(goal.name);
    return names;
  }();
};

}  // namespace

std::unique_ptr<Simulator> make_simulator(double spread) {
  return std::make_unique<Reacher>(spread);
}

}  // namespace maa::examples::reacher
