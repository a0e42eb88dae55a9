// The tabletop scenes as MJCF text.
#pragma once

#include <string>

namespace maa::examples::tabletop {

// What stands on the table. Every mechanism hangs on a mocap body "base" (moved to the placement), has one
// joint "object" and a site "handle"; some have a fixed site "anchor". The puck and the plate slide freely on
// two joints, "object" (x) and "object_y".
enum class Mechanism {
  none,
  puck,
  plate,
  drawer,
  door,
  button,
  walled_button,
  top_button,
  dial,
  faucet,
  window,
  lever
};

// The complete MJCF document of the scene.
std::string scene_xml(Mechanism mechanism);

}  // namespace maa::examples::tabletop
