#include "scene.hpp"

namespace maa::examples::tabletop {
namespace {

// The hand is a point mass on three slide joints whose positions are the tool centre's world coordinates.
// Joint damping against a motor makes it a velocity servo without memory, so a step depends on the observed
// state alone. There is no gravity: nothing is lifted, and a gravity-compensated hand would behave the same.
// Contacts are only hand against object; elliptic cones keep friction free of a preferred direction, which
// makes the reflection exact.
constexpr const char* header = R"(<mujoco model="tabletop">
<compiler angle="radian" autolimits="false"/>
<option timestep="0.004" gravity="0 0 0" cone="elliptic" solver="Newton" iterations="30" tolerance="1e-10"/>
<visual>
  <global offwidth="1280" offheight="960"/>
  <quality shadowsize="2048" offsamples="4"/>
  <headlight ambient=".34 .34 .36" diffuse=".30 .30 .30" specular="0 0 0"/>
  <map znear=".02" zfar="30" shadowclip="1.2" shadowscale=".8"/>
</visual>
<default>
  <geom contype="0" conaffinity="0" group="1"/>
  <site size=".004" group="4"/>
  <default class="hand">
    <geom contype="1" conaffinity="2" friction=".7 .005 .0001" solref=".008 1" solimp=".95 .99 .001"/>
  </default>
  <default class="solid">
    <geom contype="2" conaffinity="1" friction=".7 .005 .0001" solref=".008 1" solimp=".95 .99 .001"/>
    <default class="rim">
      <geom type="capsule" size=".009" material="front"/>
    </default>
  </default>
</default>
<asset>
  <texture name="sky" type="skybox" builtin="gradient" rgb1=".93 .95 .98" rgb2=".62 .70 .80" width="128"
        height="128"/>
  <texture name="floor" type="2d" builtin="checker" rgb1=".80 .82 .85" rgb2=".74 .76 .80" width="256"
        height="256"/>
  <texture name="wood" type="2d" builtin="flat" rgb1=".82 .68 .52" rgb2=".82 .68 .52" width="256" height="256"
           mark="random" markrgb=".78 .63 .47" random=".35"/>
  <material name="floor" texture="floor" texrepeat="6 6" reflectance="0"/>
  <material name="wood" texture="wood" texrepeat="2 2" specular=".1" shininess=".2"/>
  <material name="leg" rgba=".45 .36 .29 1"/>
  <material name="metal" rgba=".33 .36 .41 1" specular=".6" shininess=".6"/>
  <material name="rod" rgba=".62 .65 .70 1" specular=".6" shininess=".6"/>
  <material name="tip" rgba=".98 .55 .12 1" specular=".3" shininess=".4"/>
  <material name="cabinet" rgba=".91 .92 .94 1" specular=".2" shininess=".3"/>
  <material name="front" rgba=".27 .47 .72 1" specular=".3" shininess=".4"/>
  <material name="grip" rgba=".96 .77 .18 1" specular=".5" shininess=".6"/>
  <material name="signal" rgba=".86 .18 .20 1" specular=".5" shininess=".6"/>
  <material name="wall" rgba=".66 .36 .28 1" specular=".1" shininess=".1"/>
  <material name="glass" rgba=".55 .78 .92 .45" specular=".9" shininess=".9"/>
  <material name="goal" rgba=".15 .78 .35 .55" emission=".5"/>
</asset>
<worldbody>
  <light directional="true" pos="-.5 -.2 2" dir=".35 .45 -1" diffuse=".62 .60 .56" specular=".25 .25 .25"
        castshadow="true"/>
  <camera name="view" fovy="35" pos="0.5 -0.42 0.84" xyaxes="0.899 0.437 0.000 -0.243 0.501 0.831"/>
  <geom type="plane" pos="0 .6 -.5" size="4 4 .1" material="floor"/>
  <geom type="box" pos="0 .66 -.02" size=".52 .42 .02" material="wood"/>
  <geom type="box" pos=".47 .29 -.27" size=".025 .025 .23" material="leg"/>
  <geom type="box" pos="-.47 .29 -.27" size=".025 .025 .23" material="leg"/>
  <geom type="box" pos=".47 1.03 -.27" size=".025 .025 .23" material="leg"/>
  <geom type="box" pos="-.47 1.03 -.27" size=".025 .025 .23" material="leg"/>
  <body name="hand">
    <inertial pos="0 0 0" mass="1" diaginertia=".001 .001 .001"/>
    <joint name="hand_x" type="slide" axis="1 0 0" damping="50" limited="true" range="-.42 .42"/>
    <joint name="hand_y" type="slide" axis="0 1 0" damping="50" limited="true" range=".3 .98"/>
    <joint name="hand_z" type="slide" axis="0 0 1" damping="50" limited="true" range=".02 .42"/>
    <geom class="hand" type="box" pos="0 0 .128" size=".068 .028 .016" material="metal"/>
    <geom type="cylinder" pos="0 0 .165" size=".026 .022" material="rod"/>
    <geom type="cylinder" pos="0 0 .56" size=".017 .375" material="rod"/>
    <body name="finger_left" pos="-.012 0 0">
      <inertial pos="0 0 .05" mass=".05" diaginertia=".0001 .0001 .0001"/>
      <joint name="finger_left" type="slide" axis="-1 0 0" damping="12" limited="true" range="0 .04"/>
      <geom class="hand" type="capsule" fromto="0 0 0 0 0 .11" size=".01" material="tip"/>
      <geom type="box" pos="0 0 .085" size=".0105 .014 .03" material="metal"/>
    </body>
    <body name="finger_right" pos=".012 0 0">
      <inertial pos="0 0 .05" mass=".05" diaginertia=".0001 .0001 .0001"/>
      <joint name="finger_right" type="slide" axis="1 0 0" damping="12" limited="true" range="0 .04"/>
      <geom class="hand" type="capsule" fromto="0 0 0 0 0 .11" size=".01" material="tip"/>
      <geom type="box" pos="0 0 .085" size=".0105 .014 .03" material="metal"/>
    </body>
  </body>
  <body name="goal" mocap="true">
    <geom type="sphere" size=".022" material="goal"/>
  </body>
)";

constexpr const char* footer = R"(</worldbody>
<actuator>
  <motor joint="hand_x" gear="37.5" ctrllimited="true" ctrlrange="-1 1"/>
  <motor joint="hand_y" gear="37.5" ctrllimited="true" ctrlrange="-1 1"/>
  <motor joint="hand_z" gear="37.5" ctrllimited="true" ctrlrange="-1 1"/>
  <position joint="finger_left" kp="600" ctrllimited="true" ctrlrange="0 .04"/>
  <position joint="finger_right" kp="600" ctrllimited="true" ctrlrange="0 .04"/>
</actuator>
</mujoco>
)";

// The puck collides as an upright capsule, whose contacts with the fingers are exact; a cylinder's are
// iterative.
constexpr const char* puck = R"(<body name="part">
  <inertial pos="0 0 .02" mass=".3" diaginertia=".001 .001 .001"/>
  <joint name="object" type="slide" axis="1 0 0" damping="8" frictionloss=".5"/>
  <joint name="object_y" type="slide" axis="0 1 0" damping="8" frictionloss=".5"/>
  <geom type="cylinder" pos="0 0 .02" size=".03 .02" material="signal"/>
  <geom class="solid" type="capsule" fromto="0 0 0 0 0 .04" size=".03" group="3"/>
  <geom type="cylinder" pos="0 0 .0405" size=".018 .0006" material="cabinet"/>
  <site name="handle" pos="0 0 .02"/>
</body>)";

// A dish that the fingers move from inside: its rim is a ring of capsules, which a cylinder cannot be.
constexpr const char* plate = R"(<body name="part">
  <inertial pos="0 0 .016" mass=".3" diaginertia=".001 .001 .001"/>
  <joint name="object" type="slide" axis="1 0 0" damping="8" frictionloss=".5"/>
  <joint name="object_y" type="slide" axis="0 1 0" damping="8" frictionloss=".5"/>
  <geom type="cylinder" pos="0 0 .006" size=".062 .006" material="front"/>
  <geom type="cylinder" pos="0 0 .0125" size=".046 .0006" material="cabinet"/>
  <geom class="rim" fromto=".06 0 .022 .052 .03 .022"/>
  <geom class="rim" fromto=".052 .03 .022 .03 .052 .022"/>
  <geom class="rim" fromto=".03 .052 .022 0 .06 .022"/>
  <geom class="rim" fromto="0 .06 .022 -.03 .052 .022"/>
  <geom class="rim" fromto="-.03 .052 .022 -.052 .03 .022"/>
  <geom class="rim" fromto="-.052 .03 .022 -.06 0 .022"/>
  <geom class="rim" fromto="-.06 0 .022 -.052 -.03 .022"/>
  <geom class="rim" fromto="-.052 -.03 .022 -.03 -.052 .022"/>
  <geom class="rim" fromto="-.03 -.052 .022 0 -.06 .022"/>
  <geom class="rim" fromto="0 -.06 .022 .03 -.052 .022"/>
  <geom class="rim" fromto=".03 -.052 .022 .052 -.03 .022"/>
  <geom class="rim" fromto=".052 -.03 .022 .06 0 .022"/>
  <site name="handle" pos="0 0 .02"/>
</body>)";

constexpr const char* drawer = R"(<body name="base" mocap="true">
  <geom class="solid" type="box" pos="0 .11 .162" size=".14 .11 .008" material="cabinet"/>
  <geom class="solid" type="box" pos="0 .11 .012" size=".14 .11 .012" material="cabinet"/>
  <geom class="solid" type="box" pos=".132 .11 .085" size=".008 .11 .07" material="cabinet"/>
  <geom class="solid" type="box" pos="-.132 .11 .085" size=".008 .11 .07" material="cabinet"/>
  <geom class="solid" type="box" pos="0 .212 .085" size=".13 .008 .07" material="cabinet"/>
  <site name="anchor" pos="0 .11 .09"/>
  <body name="part">
    <inertial pos="0 .05 .09" mass=".5" diaginertia=".001 .001 .001"/>
    <joint name="object" type="slide" axis="0 -1 0" limited="true" range="0 .18" damping="8"
          frictionloss=".5"/>
    <geom class="solid" type="box" pos="0 -.008 .09" size=".12 .008 .06" material="front"/>
    <geom type="box" pos="0 .09 .045" size=".11 .09 .004" material="cabinet"/>
    <geom type="box" pos=".112 .09 .075" size=".004 .09 .035" material="cabinet"/>
    <geom type="box" pos="-.112 .09 .075" size=".004 .09 .035" material="cabinet"/>
    <geom class="solid" type="capsule" fromto="-.085 -.07 .09 .085 -.07 .09" size=".008" material="grip"/>
    <geom class="solid" type="capsule" fromto=".085 -.07 .09 .085 -.014 .09" size=".007" material="grip"/>
    <geom class="solid" type="capsule" fromto="-.085 -.07 .09 -.085 -.014 .09" size=".007" material="grip"/>
    <site name="handle" pos="0 -.07 .09"/>
  </body>
</body>)";

constexpr const char* door = R"(<body name="base" mocap="true">
  <geom class="solid" type="box" pos=".125 .105 .1" size=".135 .09 .1" material="cabinet"/>
  <geom type="cylinder" pos="0 0 .1" size=".012 .1" material="metal"/>
  <site name="anchor" pos="0 0 .1"/>
  <body name="part">
    <inertial pos=".12 0 .1" mass=".4" diaginertia=".002 .002 .002"/>
    <joint name="object" type="hinge" axis="0 0 -1" limited="true" range="0 1.7" damping=".3"
          frictionloss=".02"/>
    <geom class="solid" type="box" pos=".128 0 .1" size=".125 .009 .095" material="front"/>
    <geom class="solid" type="capsule" fromto=".2 -.075 .045 .2 -.075 .165" size=".009" material="grip"/>
    <geom class="solid" type="capsule" fromto=".2 -.075 .045 .2 -.009 .045" size=".008" material="grip"/>
    <site name="handle" pos=".2 -.075 .105"/>
  </body>
</body>)";

constexpr const char* button_parts = R"(
  <geom class="solid" type="box" pos="0 .05 0" size=".065 .04 .065" material="cabinet"/>
  <geom type="cylinder" fromto="0 .009 0 0 .02 0" size=".042" material="metal"/>
  <geom type="box" pos="0 .06 -.2" size=".022 .022 .2" material="metal"/>
  <body name="part">
    <inertial pos="0 0 0" mass=".1" diaginertia=".0001 .0001 .0001"/>
    <joint name="object" type="slide" axis="0 1 0" limited="true" range="0 .045" stiffness="80" damping="6"/>
    <geom class="solid" type="cylinder" fromto="0 -.05 0 0 .01 0" size=".032" material="signal"/>
    <site name="handle" pos="0 -.05 0"/>
  </body>
</body>)";

constexpr const char* button_wall = R"(
  <geom class="solid" type="box" pos="0 -.19 -.1" size=".16 .012 .15" material="wall"/>)";

constexpr const char* top_button = R"(<body name="base" mocap="true">
  <geom class="solid" type="box" pos="0 0 .045" size=".065 .065 .045" material="cabinet"/>
  <geom type="cylinder" pos="0 0 .09" size=".042 .004" material="metal"/>
  <body name="part">
    <inertial pos="0 0 0" mass=".1" diaginertia=".0001 .0001 .0001"/>
    <joint name="object" type="slide" axis="0 0 -1" limited="true" range="0 .045" stiffness="80" damping="6"/>
    <geom class="solid" type="cylinder" fromto="0 0 .08 0 0 .14" size=".032" material="signal"/>
    <site name="handle" pos="0 0 .14"/>
  </body>
</body>)";

constexpr const char* dial = R"(<body name="base" mocap="true">
  <geom type="cylinder" pos="0 0 .015" size=".105 .015" material="cabinet"/>
  <site name="anchor" pos="0 0 .095"/>
  <body name="part">
    <inertial pos="0 0 .05" mass=".3" diaginertia=".001 .001 .001"/>
    <joint name="object" type="hinge" axis="0 0 1" limited="true" range="-.3 2.4" damping=".08"
          frictionloss=".01"/>
    <geom type="cylinder" pos="0 0 .04" size=".088 .01" material="front"/>
    <geom type="cylinder" pos="0 0 .055" size=".02 .006" material="metal"/>
    <geom class="solid" type="capsule" fromto="0 -.07 .045 0 -.07 .13" size=".012" material="grip"/>
    <site name="handle" pos="0 -.07 .095"/>
  </body>
</body>)";

constexpr const char* faucet = R"(<body name="base" mocap="true">
  <geom type="cylinder" pos="0 0 .008" size=".055 .008" material="metal"/>
  <geom class="solid" type="cylinder" pos="0 0 .05" size=".028 .05" material="rod"/>
  <geom type="capsule" fromto="0 0 .06 0 .13 .1" size=".016" material="rod"/>
  <geom type="capsule" fromto="0 .13 .1 0 .13 .06" size=".016" material="rod"/>
  <site name="anchor" pos="0 0 .115"/>
  <body name="part">
    <inertial pos="0 -.05 .115" mass=".3" diaginertia=".001 .001 .001"/>
    <joint name="object" type="hinge" axis="0 0 1" limited="true" range="-1.3 1.3" damping=".15"
          frictionloss=".02"/>
    <geom type="cylinder" pos="0 0 .11" size=".032 .012" material="signal"/>
    <geom class="solid" type="capsule" fromto="0 0 .115 0 -.15 .115" size=".014" material="signal"/>
    <site name="handle" pos="0 -.13 .115"/>
  </body>
</body>)";

constexpr const char* window = R"(<body name="base" mocap="true">
  <geom class="solid" type="box" pos="0 .03 .02" size=".27 .014 .02" material="cabinet"/>
  <geom class="solid" type="box" pos="0 .03 .265" size=".27 .014 .015" material="cabinet"/>
  <geom class="solid" type="box" pos=".257 .03 .145" size=".013 .014 .105" material="cabinet"/>
  <geom class="solid" type="box" pos="-.257 .03 .145" size=".013 .014 .105" material="cabinet"/>
  <body name="part">
    <inertial pos="0 .03 .14" mass=".4" diaginertia=".001 .001 .001"/>
    <joint name="object" type="slide" axis="1 0 0" limited="true" range="-.13 .13" damping="8"
          frictionloss=".5"/>
    <geom type="box" pos="0 .03 .145" size=".11 .004 .1" material="glass"/>
    <geom type="box" pos=".112 .03 .145" size=".006 .008 .104" material="front"/>
    <geom type="box" pos="-.112 .03 .145" size=".006 .008 .104" material="front"/>
    <geom class="solid" type="capsule" fromto="0 -.05 .08 0 -.05 .17" size=".012" material="grip"/>
    <geom type="capsule" fromto="0 -.05 .125 0 .028 .125" size=".008" material="grip"/>
    <site name="handle" pos="0 -.05 .125"/>
  </body>
</body>)";

constexpr const char* lever = R"(<body name="base" mocap="true">
  <geom class="solid" type="box" pos="0 .07 .1" size=".075 .055 .1" material="cabinet"/>
  <geom type="box" pos="0 .012 .16" size=".018 .004 .035" material="metal"/>
  <body name="part" pos="0 .01 .16">
    <inertial pos="0 -.06 0" mass=".2" diaginertia=".001 .001 .001"/>
    <joint name="object" type="hinge" axis="1 0 0" limited="true" range="-.4 .8" damping=".15"
          frictionloss=".05"/>
    <geom class="solid" type="capsule" fromto="0 0 0 0 -.14 0" size=".01" material="front"/>
    <geom class="solid" type="capsule" fromto="-.055 -.14 0 .055 -.14 0" size=".014" material="grip"/>
    <site name="handle" pos="0 -.14 0"/>
  </body>
</body>)";

const std::string base_open = R"(<body name="base" mocap="true">)";

std::string mechanism_xml(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::none:
      return "";
    case Mechanism::puck:
      return puck;
    case Mechanism::plate:
      return plate;
    case Mechanism::drawer:
      return drawer;
    case Mechanism::door:
      return door;
    case Mechanism::button:
      return base_open + button_parts;
    case Mechanism::walled_button:
      return base_open + button_wall + button_parts;
    case Mechanism::top_button:
      return top_button;
    case Mechanism::dial:
      return dial;
    case Mechanism::faucet:
      return faucet;
    case Mechanism::window:
      return window;
    case Mechanism::lever:
      return lever;
  }
  return "";
}

}  // namespace

std::string scene_xml(Mechanism mechanism) {
  return header + mechanism_xml(mechanism) + footer;
}

}  // namespace maa::examples::tabletop
