#include "quadruped.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include <maa/core/finite.hpp>
#include <maa/core/nearest_names.hpp>
#include <maa/core/rng.hpp>

#include "commands.hpp"
#include "mujoco_renderer.hpp"
#include "robot.hpp"

namespace maa::examples::quadruped {
namespace {

constexpr double pi = std::numbers::pi;
constexpr double greatest_action = 10;
constexpr double joint_velocity_unit = 10, angular_velocity_unit = 4;  // rad/s
constexpr double least_height = 0.15, least_upright = 0.5;  // of the trunk: metres, cosine of its tilt
constexpr double start_height = 0.30, start_offset = 0.1;   // metres, rad
constexpr Index least_swing = 2;                            // steps; less is bouncing
constexpr Index window = 25, first_measured = 50;           // steps
constexpr std::array<Index, 2> pushes = {150, 300};         // steps

struct PlacementEntry {
  const char* name;
  double low, high;
};
constexpr PlacementEntry placement_entries[] = {{"friction", 0.4, 1.2}, {"added mass", -0.5, 2.0},
                                                {"push speed", 0, 0.5}, {"push direction", -pi, pi},
                                                {"clock phase", 0, 1},  {"seed", 0, 4294967295.0}};

void check_size(const char* what, std::size_t size, Index expected) {
  require(static_cast<Index>(size) == expected, "quadruped: expected ", what, " of ", expected, ", got ",
          size);
}

std::uint64_t number_of(const Command& command) {
  return static_cast<std::uint64_t>(&command - commands.data());
}

// What the trunk does.
struct Motion {
  double forward, left, turn;              // in its heading: m/s, rad/s
  double up;                               // m/s
  double upright;                          // cosine of its tilt
  std::array<double, 3> gravity, angular;  // in its frame
};

class QuadrupedEnvironment final : public Environment {
 public:
  QuadrupedEnvironment(const Command& command, const QuadrupedOptions& options)
      : command_(command),
        unevenness_(options.unevenness),
        name_(command.name),
        model_(options.model.empty() ? compile_own_model(unevenness_ > 0) : load_model(options.model)),
        data_(mj_makeData(model_.get())),
        trunk_(model_->jnt_bodyid[0]),
        trunk_mass_(model_->body_mass[trunk_]) {
    require(data_ != nullptr, "quadruped: MuJoCo has no memory for ", name_);
    for (std::size_t leg = 0; leg < legs.size(); ++leg) {
      foot_[leg] = mj_name2id(model_.get(), mjOBJ_GEOM, legs[leg]);
    }
    std::copy_n(model_->body_inertia + 3 * trunk_, 3, trunk_inertia_.begin());
    for (Index joint = 0; joint < joint_count; ++joint) {
      const auto at = static_cast<std::size_t>(joint);
      const int id = mj_name2id(model_.get(), mjOBJ_JOINT, joint_name(joint).c_str());
      position_[at] = model_->jnt_qposadr[id];
      velocity_[at] = model_->jnt_dofadr[id];
      const mjtNum* const range = model_->jnt_range + 2 * id;
      const bool limited = model_->jnt_limited[id] != 0;
      low_[at] = limited ? range[0] : -pi;
      high_[at] = limited ? range[1] : pi;
    }
  }

  const std::string& task() const override { return name_; }
  Index observation_size() const override { return Policy::observation_size; }
  Index action_size() const override { return Policy::action_size; }
  Index max_episode_steps() const override { return episode_steps; }
  double action_limit() const override { return greatest_action; }

  Placement draw_placement(std::uint64_t seed) override {
    Rng rng = Rng(seed).fork(number_of(command_));
    Placement placement;
    for (const auto& entry : placement_entries) {
      placement.push_back(rng.uniform(entry.low, entry.high));
    }
    placement.back() = std::floor(placement.back());
    return placement;
  }

  void reset(const Placement& placement, std::span<float> observation) override {
    check_size("an observation", observation.size(), observation_size());
    check_size("a placement", placement.size(), std::ssize(placement_entries));
    for (std::size_t i = 0; i < placement.size(); ++i) {
      const auto& entry = placement_entries[i];
      require(placement[i] >= entry.low - 1e-6 && placement[i] <= entry.high + 1e-6, "quadruped: expected ",
              entry.name, " in [", entry.low, ", ", entry.high, "], got ", placement[i]);
    }
    placement_ = placement;
    Rng rng(static_cast<std::uint64_t>(placement[5]));
    set_model(rng.fork(1));
    mj_resetData(model_.get(), data_.get());
    std::fill_n(data_->qpos, 7, 0.0);
    data_->qpos[2] = start_height + unevenness_;
    data_->qpos[3] = 1;
    phase_ = placement[4];
    const auto reference = gait_reference(phase_);
    for (std::size_t i = 0; i < position_.size(); ++i) {
      data_->qpos[position_[i]] =
          std::clamp(reference[i] + rng.uniform(-start_offset, start_offset), low_[i], high_[i]);
    }
    mj_forward(model_.get(), data_.get());
    last_.fill(0);
    before_.fill(0);
    gait_ = {};
    sums_.fill(0);
    errors_.fill(0);
    lifted_.fill(0);
    ready_ = true;
    check_physics();
    write_frame(motion());
    for (Index frame = 0; frame + 1 < frames; ++frame) {
      std::copy_n(history_.end() - frame_size, frame_size, history_.begin() + frame * frame_size);
    }
    std::ranges::copy(history_, observation.begin());
  }

  StepResult step(std::span<const float> action, std::span<float> observation) override {
    check_ready("step");
    check_size("an action", action.size(), action_size());
    check_size("an observation", observation.size(), observation_size());
    const auto reference = gait_reference(phase_);
    std::array<double, joint_count> targets{};
    double changes = 0;
    before_ = last_;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      require(!std::isnan(action[i]), "quadruped: the action contains NaN");
      last_[i] = std::clamp(static_cast<double>(action[i]), -greatest_action, greatest_action);
      targets[i] = std::clamp(reference[i] + action_scale * last_[i], low_[i], high_[i]);
      changes += (last_[i] - before_[i]) * (last_[i] - before_[i]);
    }
    push();
    double torques = 0;
    for (int i = 0; i < substeps; ++i) {
      torques += drive(targets) / substeps;
      mj_step(model_.get(), data_.get());
    }
    check_physics();
    phase_ = std::fmod(phase_ + gait_frequency * period, 1.0);
    const Motion now = motion();
    std::move(history_.begin() + frame_size, history_.end(), history_.begin());
    write_frame(now);
    std::ranges::copy(history_, observation.begin());
    measure(now);
    return {.success = gait_.steps == episode_steps && !gait_.fallen &&
                       gait_.velocity_error <= velocity_bound && gait_.turning_error <= turning_bound,
            .failed = gait_.fallen,
            .reward = reward(now, changes, torques)};
  }

  Image render(Index width, Index height) override {
    check_ready("render");
    if (!renderer_) {
      require(mj_name2id(model_.get(), mjOBJ_CAMERA, "view") >= 0,
              "quadruped: expected a camera \"view\" in the model, found none");
      renderer_ = make_renderer({std::shared_ptr<const mjModel>(), model_.get()});
    }
    mj_kinematics(model_.get(), data_.get());
    mj_comPos(model_.get(), data_.get());
    mj_camlight(model_.get(), data_.get());
    return renderer_->draw(*data_, width, height);
  }

  const Gait& gait() const { return gait_; }

 private:
  void check_ready(const char* what) const {
    require(ready_, "quadruped: ", what, "() before the first reset() of ", name_);
  }

  void set_model(Rng rng) {
    auto& model = *model_;
    for (int i = 0; i < model.ngeom; ++i) {
      model.geom_friction[3 * i] = placement_[0];
    }
    model.body_mass[trunk_] = trunk_mass_ + placement_[1];
    for (std::size_t i = 0; i < 3; ++i) {
      model.body_inertia[static_cast<std::size_t>(3 * trunk_) + i] =
          trunk_inertia_[i] * model.body_mass[trunk_] / trunk_mass_;
    }
    if (unevenness_ > 0) {
      model.hfield_size[2] = unevenness_;
      for (int i = 0; i < model.nhfielddata; ++i) {
        model.hfield_data[i] = static_cast<float>(rng.uniform());
      }
    }
    mj_setConst(&model, data_.get());
  }

  void push() {
    for (std::size_t i = 0; i < pushes.size(); ++i) {
      if (gait_.steps == pushes[i]) {
        const double direction = placement_[3] + pi / 2 * static_cast<double>(i);
        data_->qvel[0] += placement_[2] * std::cos(direction);
        data_->qvel[1] += placement_[2] * std::sin(direction);
      }
    }
  }

  // Sets the torques of the joints' controllers; the sum of their squares.
  double drive(const std::array<double, joint_count>& targets) {
    double squares = 0;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const double limit = torque_limit[i % 3];
      const double wanted =
          stiffness * (targets[i] - data_->qpos[position_[i]]) - damping * data_->qvel[velocity_[i]];
      const double torque = std::clamp(wanted, -limit, limit);
      data_->qfrc_applied[velocity_[i]] = torque;
      squares += torque * torque;
    }
    return squares;
  }

  // MuJoCo goes on from the start after numbers that are not finite or too large.
  void check_physics() const {
    for (const auto what : {mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC}) {
      require(data_->warning[what].number == 0, "quadruped: the physics of ", name_,
              " diverged: positions, velocities or accelerations are NaN or too large");
    }
    require(
        first_nonfinite(std::span<const double>(data_->qpos, static_cast<std::size_t>(model_->nq))) < 0 &&
            first_nonfinite(std::span<const double>(data_->qvel, static_cast<std::size_t>(model_->nv))) < 0,
        "quadruped: the physics of ", name_, " gave NaN or infinity");
  }

  Motion motion() const {
    mjtNum rotation[9];
    mju_quat2Mat(rotation, data_->qpos + 3);
    const double length = std::max(1e-6, std::hypot(rotation[0], rotation[3]));
    const double cosine = rotation[0] / length, sine = rotation[3] / length;
    const mjtNum *const linear = data_->qvel, *const angular = data_->qvel + 3;
    return {.forward = cosine * linear[0] + sine * linear[1],
            .left = cosine * linear[1] - sine * linear[0],
            .turn = rotation[6] * angular[0] + rotation[7] * angular[1] + rotation[8] * angular[2],
            .up = linear[2],
            .upright = rotation[8],
            .gravity = {-rotation[6], -rotation[7], -rotation[8]},
            .angular = {angular[0], angular[1], angular[2]}};
  }

  void write_frame(const Motion& now) {
    float* out = history_.data() + (frames - 1) * frame_size;
    const auto put = [&](double value) { *out++ = static_cast<float>(value); };
    for (const double value : {command_.forward, command_.left, command_.turn}) put(value);
    for (const double value : now.gravity) put(value);
    for (std::size_t i = 0; i < position_.size(); ++i)
      put(data_->qpos[position_[i]] - default_position[i % 3]);
    for (const int at : velocity_) put(data_->qvel[at] / joint_velocity_unit);
    for (const double value : last_) put(value);
    for (const double value : before_) put(value);
    for (const double turns : {1.0, 2.0}) {
      put(std::sin(2 * pi * turns * phase_));
      put(std::cos(2 * pi * turns * phase_));
    }
    for (const double value : now.angular) put(value / angular_velocity_unit);
    for (int i = 0; i < 3; ++i) put(0);
  }

  bool touches_ground(std::size_t leg) const {
    const auto* const contacts = data_->contact;
    return std::any_of(contacts, contacts + data_->ncon, [&](const mjContact& contact) {
      return contact.geom1 == foot_[leg] || contact.geom2 == foot_[leg];
    });
  }

  void measure(const Motion& now) {
    gait_.fallen = gait_.fallen || data_->qpos[2] < least_height || now.upright < least_upright;
    for (std::size_t leg = 0; leg < legs.size(); ++leg) {
      const bool touches = touches_ground(leg);
      down_[leg] += touches ? 1 : 0;
      touched_down_[leg] += touches && lifted_[leg] >= least_swing ? 1 : 0;
      lifted_[leg] = touches ? 0 : lifted_[leg] + 1;
    }
    if (gait_.steps++ < first_measured) {
      down_.fill(0);
      touched_down_.fill(0);
      return;
    }
    const auto steps_measured = static_cast<double>(gait_.steps - first_measured);
    gait_.forward += (now.forward - gait_.forward) / steps_measured;
    gait_.left += (now.left - gait_.left) / steps_measured;
    gait_.turn += (now.turn - gait_.turn) / steps_measured;
    const auto of_feet = [&](const std::array<Index, 4>& counts) {
      return static_cast<double>(std::accumulate(counts.begin(), counts.end(), Index{0})) /
             (4 * steps_measured);
    };
    gait_.duty_factor = of_feet(down_);
    gait_.stride_frequency = of_feet(touched_down_) / period;
    sums_[0] += now.forward;
    sums_[1] += now.left;
    sums_[2] += now.turn;
    const Index measured = gait_.steps - first_measured;
    if (measured % window == 0) {
      constexpr double steps = window;
      errors_[0] += std::hypot(sums_[0] / steps - command_.forward, sums_[1] / steps - command_.left);
      errors_[1] += std::abs(sums_[2] / steps - command_.turn);
      sums_.fill(0);
      const auto windows = static_cast<double>(measured / window);
      gait_.velocity_error = errors_[0] / windows;
      gait_.turning_error = errors_[1] / windows;
    }
  }

  // To follow the command, upright and calm; the linear terms lead there from afar. At most .2 a step.
  double reward(const Motion& now, double changes, double torques) const {
    const double off = std::hypot(now.forward - command_.forward, now.left - command_.left);
    const double turn = std::abs(now.turn - command_.turn);
    const double tilt = now.gravity[0] * now.gravity[0] + now.gravity[1] * now.gravity[1];
    const double rocking = now.angular[0] * now.angular[0] + now.angular[1] * now.angular[1];
    return 0.1 *
           (0.5 + std::exp(-off * off / 0.06) + 0.5 * std::exp(-turn * turn / 0.15) - 0.7 * off - 0.4 * turn -
            0.5 * now.up * now.up - 1.5 * tilt - 0.03 * rocking - 0.004 * changes - 1e-4 * torques);
  }

  const Command& command_;
  double unevenness_;
  std::string name_;
  OwnedModel model_;
  OwnedData data_;
  int trunk_;
  double trunk_mass_;
  std::array<double, 3> trunk_inertia_{};
  std::array<int, joint_count> position_{}, velocity_{};  // where the joints are in qpos and qvel
  std::array<double, joint_count> low_{}, high_{};
  std::unique_ptr<Renderer> renderer_;
  Placement placement_;
  double phase_ = 0;
  std::array<double, joint_count> last_{}, before_{};  // actions
  std::array<float, frames * frame_size> history_{};
  std::array<double, 3> sums_{};                  // of this window: forward, left, turn
  std::array<double, 2> errors_{};                // of the windows before it
  std::array<int, 4> foot_{};                     // geoms named as the legs are, or -1
  std::array<Index, 4> lifted_{};                 // steps since it touched the ground
  std::array<Index, 4> down_{}, touched_down_{};  // steps, times
  Gait gait_;
  bool ready_ = false;
};

class Quadruped final : public Simulator {
 public:
  explicit Quadruped(const QuadrupedOptions& options) : options_(options) {
    require(options.unevenness >= 0 && options.unevenness <= 0.2,
            "quadruped: expected an unevenness from 0 to .2 m, found ", options.unevenness);
    require(options.unevenness == 0 || options.model.empty(),
            "quadruped: expected the own model on uneven ground, found ", options.model.string());
    make_environment(commands[0].name);  // whose errors come early
  }
  std::string name() const override { return "quadruped"; }
  const Interface& interface() const override {
    static const Interface known{policy_type<Policy>(), {}, {}, controller_metadata()};  // no symmetry
    return known;
  }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    const auto found = std::ranges::find(commands, task, &Command::name);
    require(found != commands.end(), "quadruped: there is no task \"", task, "\"; the nearest names are ",
            nearest_names(task, names_));
    return std::make_unique<QuadrupedEnvironment>(*found, options_);
  }
  std::string mirror_task(const std::string&) const override { return ""; }
  std::map<std::string, std::string> versions() const override {
    return {{"mujoco", mj_versionString()},
            {"model", options_.model.empty() ? "own" : options_.model.filename().string()},
            {"unevenness", concatenate(options_.unevenness)}};
  }

 private:
  QuadrupedOptions options_;
  std::vector<std::string> names_ = [] {
    std::vector<std::string> names;
    for (const auto& command : commands) names.emplace_back(command.name);
    return names;
  }();
};

}  // namespace

std::unique_ptr<Simulator> make_simulator(const QuadrupedOptions& options) {
  return std::make_unique<Quadruped>(options);
}

Gait gait_of(const Environment& environment) {
  const auto* own = dynamic_cast<const QuadrupedEnvironment*>(&environment);
  require(own != nullptr, "gait_of: expected an environment of the quadruped, found another, ",
          environment.task());
  return own->gait();
}

PolicyMetadata controller_metadata() {
  std::string observations, actions, joints, positions, gains, dampings, scales;
  const auto add = [](std::string& list, const auto&... parts_of_name) {
    list += concatenate(list.empty() ? "" : ",", parts_of_name...);
  };
  for (Index joint = 0; joint < joint_count; ++joint) {
    add(joints, joint_name(joint));
    add(actions, joint_name(joint), " target offset");
    add(positions, default_position[static_cast<std::size_t>(joint % 3)]);
    add(gains, stiffness);
    add(dampings, damping);
    add(scales, action_scale);
  }
  for (Index frame = frames - 1; frame >= 0; --frame) {
    const auto named = [&](const auto&... name) {
      add(observations, name..., frame == 0 ? std::string() : concatenate(" ", frame, " steps ago"));
    };
    for (const char* name : {"forward", "left", "turn"}) named("command ", name);
    for (const char* axis : {"x", "y", "z"}) named("gravity ", axis);
    for (const char* what : {" position", " velocity", " last action", " action before"}) {
      for (Index joint = 0; joint < joint_count; ++joint) named(joint_name(joint), what);
    }
    for (const char* name : {"sin phase", "cos phase", "sin 2 phase", "cos 2 phase"}) named(name);
    for (const char* axis : {"x", "y", "z"}) named("angular velocity ", axis);
    for (int i = 0; i < 3; ++i) named("zero");
  }
  return {{"observation_names", observations},
          {"action_names", actions},
          {"joint_names", joints},
          {"default_joint_pos", positions},
          {"joint_stiffness", gains},
          {"joint_damping", dampings},
          {"action_scale", scales},
          {"period", concatenate(period)},
          {"gait_frequency", concatenate(gait_frequency)},
          {"gait_lift", concatenate(gait_lift)}};
}

}  // namespace maa::examples::quadruped
