// robosuite (https://robosuite.ai) as a Simulator: the real package, in worker processes.
#pragma once

#include <filesystem>
#include <memory>

#include "environment.hpp"

namespace maa::examples {

struct RobosuiteOptions {
  // The virtual environment with robosuite 1.5.2, mujoco 3.3.0 and numpy 1.26.4 that
  // examples/robosuite/make_venv.sh makes.
  std::filesystem::path venv = "build/robosuite/venv";
  // The program robosuite_worker. Empty: beside the running program, or else where it was built.
  std::filesystem::path worker = {};
  // Workers started at once, each a process of about 400 MB and 3 s to start; more follow where more
  // environments live at once.
  int workers = 1;
  bool plain = false;  // see plain_flag
};

// Throws maa::Error where something is missing or of another version: the worker, the virtual environment,
// its Python, robosuite, mujoco, numpy.
std::unique_ptr<Simulator> make_robosuite(const RobosuiteOptions& options = {});

}  // namespace maa::examples
