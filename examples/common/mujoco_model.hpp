// MuJoCo's objects with owners, and scenes compiled from text.
#pragma once

#include <memory>
#include <string>

#include <mujoco/mujoco.h>

namespace maa::examples {

struct MujocoModelDeleter {
  void operator()(mjModel* model) const { mj_deleteModel(model); }
};
struct MujocoDataDeleter {
  void operator()(mjData* data) const { mj_deleteData(data); }
};
using OwnedModel = std::unique_ptr<mjModel, MujocoModelDeleter>;
using OwnedData = std::unique_ptr<mjData, MujocoDataDeleter>;

// The compiled model of an MJCF document: compiled once per process, shared and never changed. Thread-safe.
// Throws maa::Error with MuJoCo's message if it does not compile.
std::shared_ptr<const mjModel> shared_model(const std::string& document);

}  // namespace maa::examples
