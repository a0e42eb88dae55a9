// MetaWorld (https://github.com/Farama-Foundation/Metaworld) as a Simulator: the real package, in worker
// processes.
#pragma once

#include <filesystem>
#include <memory>

#include "environment.hpp"

namespace maa::examples {

struct MetaWorldOptions {
  // The virtual environment with metaworld 3.1.1 and mujoco 3.3.0 that examples/metaworld/make_venv.sh makes.
  std::filesystem::path venv = "build/metaworld/venv";
  // The program metaworld_worker. Empty: beside the running program, or else where it was built.
  std::filesystem::path worker = {};
  // Workers started at once, each a process of about 150 MB and 1 s to start; more follow where more
  // environments live at once.
  int workers = 1;
  // The experts of reach and reach-wall bring the hand to the goal, but success is measured at the tool
  // centre 4.5 cm below it. With this they are asked with the goal raised as much; observations are not
  // changed.
  bool aim_with_tool_centre = true;
  bool plain = false;  // see plain_flag
};

// Throws maa::Error where something is missing or of another version: the worker, the virtual environment,
// its Python, metaworld, mujoco.
std::unique_ptr<Simulator> make_metaworld(const MetaWorldOptions& options = {});

}  // namespace maa::examples
