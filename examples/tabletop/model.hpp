// MuJoCo's objects with owners, and the compiled scenes.
#pragma once

#include <memory>

#include <mujoco/mujoco.h>

#include "scene.hpp"

namespace maa::examples::tabletop {

struct ModelDeleter {
  void operator()(mjModel* model) const { mj_deleteModel(model); }
};
struct DataDeleter {
  void operator()(mjData* data) const { mj_deleteData(data); }
};
using OwnedModel = std::unique_ptr<mjModel, ModelDeleter>;
using OwnedData = std::unique_ptr<mjData, DataDeleter>;

// The scene's compiled model: compiled once per process, shared and never changed. Thread-safe. Throws
// maa::Error with MuJoCo's message if it does not compile.
std::shared_ptr<const mjModel> shared_model(Mechanism mechanism);

}  // namespace maa::examples::tabletop
