// Off-screen drawing of a state by MuJoCo, through OSMesa or EGL, whichever the machine has.
#pragma once

#include <memory>

#include <mujoco/mujoco.h>

#include "environment.hpp"

namespace maa::examples {

// Draws states of one model. To be used by the thread that made it.
class Renderer {
 public:
  virtual ~Renderer() = default;

  // The state seen by the camera "view". Throws maa::Error if the size is not in 1 .. 1280 x 1 .. 960.
  virtual Image draw(mjData& data, Index width, Index height) = 0;
};

// Throws maa::Error where no library for off-screen drawing is found, or the build left rendering out.
std::unique_ptr<Renderer> make_renderer(std::shared_ptr<const mjModel> model);

}  // namespace maa::examples
