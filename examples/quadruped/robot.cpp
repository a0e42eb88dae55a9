#include "robot.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <maa/core/error.hpp>

namespace maa::examples::quadruped {
namespace {

// Ready to be stepped with torques of our own, or an error that names the file.
OwnedModel prepared(OwnedModel model, const std::string& where) {
  require(model->njnt > 0 && model->jnt_type[0] == mjJNT_FREE, where,
          ": expected a robot whose first joint is free, found ",
          model->njnt == 0 ? "no joint" : "another joint");
  std::string missing;
  for (Index joint = 0; joint < joint_count; ++joint) {
    const auto name = joint_name(joint);
    const int id = mj_name2id(model.get(), mjOBJ_JOINT, name.c_str());
    if (id < 0 || model->jnt_type[id] != mjJNT_HINGE) {
      missing += concatenate(missing.empty() ? "" : ", ", name);
    }
  }
  require(missing.empty(), where,
          ": expected 12 hinge joints LEG_PART_joint (FL, FR, RL, RR; hip, thigh, calf), ",
          "found none named ", missing);
  const int* const types = model->geom_type;
  const bool ground = std::any_of(types, types + model->ngeom,
                                  [](int type) { return type == mjGEOM_PLANE || type == mjGEOM_HFIELD; });
  require(ground, where,
          ": expected a plane or a height field to stand on, found none (give a scene that includes ",
          "the robot)");
  for (int i = 0; i < model->ngeom; ++i) {  // the robot touches the ground only
    if (model->geom_bodyid[i] != 0) {
      model->geom_contype[i] = 0;
    }
  }
  model->opt.timestep = period / substeps;
  model->opt.disableflags |= mjDSBL_ACTUATION;
  return model;
}

void add_leg(std::string& text, std::size_t leg) {
  const bool front = leg < 2, left = leg % 2 == 0;
  const std::string name = legs[leg], side = left ? "" : "-";
  const auto add = [&](const auto&... parts_of_line) { text += concatenate(parts_of_line..., "\n"); };
  add("<body name=\"", name, "_hip\" pos=\"", front ? "" : "-", ".1881 ", side, ".04675 0\">");
  add("<joint name=\"", name, "_hip_joint\" axis=\"1 0 0\" range=\"-.863 .863\"/>");
  add("<geom type=\"cylinder\" fromto=\"0 ", side, ".02 0 0 ", side,
      ".1 0\" size=\".042\" mass=\".68\" material=\"metal\"/>");
  add("<body name=\"", name, "_thigh\" pos=\"0 ", side, ".08 0\">");
  add("<joint name=\"", name, "_thigh_joint\" axis=\"0 1 0\" range=\"-.686 4.501\"/>");
  add("<geom type=\"capsule\" fromto=\"0 0 -.02 0 0 -.19\" size=\".025\" mass=\"1.009\" "
      "material=\"shell\"/>");
  add("<body name=\"", name, "_calf\" pos=\"0 0 -.213\">");
  add("<joint name=\"", name, "_calf_joint\" axis=\"0 1 0\" range=\"-2.818 -.888\"/>");
  add("<geom type=\"capsule\" fromto=\"0 0 0 0 0 -.2\" size=\".014\" mass=\".16\" material=\"metal\"/>");
  add("<geom name=\"", name, "\" type=\"sphere\" pos=\"0 0 -.213\" size=\".023\" mass=\".06\" material=\"",
      front ? "front" : "metal", "\" conaffinity=\"1\"/>");
  add("</body></body></body>");
}

}  // namespace

std::string joint_name(Index joint) {
  const auto at = static_cast<std::size_t>(joint);
  return concatenate(legs[at / 3], '_', parts[at % 3], "_joint");
}

std::array<double, joint_count> gait_reference(double phase) {
  std::array<double, joint_count> result{};
  for (std::size_t leg = 0; leg < legs.size(); ++leg) {
    const bool first_pair = leg == 0 || leg == 3;
    const double lift =
        gait_lift * std::max(0.0, std::sin(2 * std::numbers::pi * (first_pair ? phase : phase + 0.5)));
    result[3 * leg] = default_position[0];
    result[3 * leg + 1] = default_position[1] + lift;
    result[3 * leg + 2] = default_position[2] - 2 * lift;
  }
  return result;
}

std::string own_model(bool uneven) {
  std::string text = R"(<mujoco model="quadruped">
<compiler angle="radian" autolimits="true"/>
<option timestep="0.005" iterations="20"/>
<visual>
  <global offwidth="1280" offheight="960"/>
  <quality shadowsize="1024" offsamples="2"/>
  <headlight ambient=".4 .4 .42" diffuse=".3 .3 .3" specular="0 0 0"/>
  <map znear=".02" zfar="40"/>
</visual>
<asset>
  <texture name="sky" type="skybox" builtin="gradient" rgb1=".93 .95 .98" rgb2=".62 .70 .80" width="128"
        height="128"/>
  <texture name="floor" type="2d" builtin="checker" rgb1=".80 .82 .85" rgb2=".66 .69 .74" width="256"
        height="256"/>
  <material name="floor" texture="floor" texrepeat="40 40" reflectance="0"/>
  <material name="metal" rgba=".33 .36 .41 1" specular=".6" shininess=".6"/>
  <material name="shell" rgba=".27 .47 .72 1" specular=".3" shininess=".4"/>
  <material name="front" rgba=".98 .55 .12 1" specular=".3" shininess=".4"/>
)";
  text += uneven ? "  <hfield name=\"ground\" nrow=\"120\" ncol=\"120\" size=\"9 9 .1 .1\"/>\n" : "";
  text += R"(</asset>
<default>
  <joint type="hinge" damping=".2" armature=".01"/>
  <geom contype="0" conaffinity="0" friction=".8 .02 .01"/>
</default>
<worldbody>
  <light directional="true" pos="-1 -1 4" dir=".3 .3 -1" diffuse=".6 .58 .55" specular=".2 .2 .2"
         castshadow="true"/>
)";
  text += uneven ? "  <geom type=\"hfield\" hfield=\"ground\" material=\"floor\" contype=\"1\"/>\n"
                 : "  <geom type=\"plane\" size=\"20 20 .1\" material=\"floor\" contype=\"1\"/>\n";
  text += R"(  <body name="trunk" pos="0 0 .34">
    <camera name="view" mode="trackcom" fovy="40" pos=".5 -1.5 .6" xyaxes="1 .33 0 -.1 .3 1"/>
    <freejoint/>
    <geom type="box" size=".19 .047 .057" mass="5.2" material="shell" conaffinity="1"/>
    <geom type="box" pos=".2 0 .02" size=".03 .04 .04" mass="0" material="front"/>
)";
  for (std::size_t leg = 0; leg < legs.size(); ++leg) {
    add_leg(text, leg);
  }
  return text + "  </body>\n</worldbody>\n</mujoco>\n";
}

OwnedModel compile_own_model(bool uneven) {
  OwnedModel model(mj_copyModel(nullptr, shared_model(own_model(uneven)).get()));
  require(model != nullptr, "quadruped: MuJoCo has no memory for its model");
  return prepared(std::move(model), "quadruped");
}

OwnedModel load_model(const std::filesystem::path& path) {
  char message[1000] = "";
  OwnedModel model(mj_loadXML(path.c_str(), nullptr, message, sizeof message));
  require(model != nullptr, path.string(), ": MuJoCo ", mj_versionString(), " cannot compile it: ", message);
  return prepared(std::move(model), path.string());
}

}  // namespace maa::examples::quadruped
