// MetaWorld in this process: drives the package with an embedded Python. One per process, for one thread,
// since CPython has one global state. The program that serves it to others is worker_main.cpp.
#pragma once

#include <filesystem>
#include <memory>

#include "environment.hpp"

namespace maa::examples::metaworld {

// What the bridge was made for and checks: results depend on them.
inline constexpr const char* package_version = "3.1.1";
inline constexpr const char* mujoco_version = "3.3.0";

struct PythonOptions {
  // The virtual environment that make_venv.sh makes.
  std::filesystem::path venv = {};
  // The experts of reach and reach-wall bring the hand to the goal, but success is measured at the tool
  // centre 4.5 cm below it. With this they are asked with the goal raised as much; observations are not
  // changed.
  bool aim_with_tool_centre = true;
  // For tests: resets and draws as the package does them, without shortcuts that save most of the time and
  // change no bit. A draw then ends the episode.
  bool plain = false;
};

// The 50 tasks of MetaWorld v3 with the goal in the observation; names as "window-open". A placement is the
// package's random vector (3 or 6 numbers). Experts are the package's.
// Throws maa::Error where the virtual environment, its Python, metaworld or mujoco is missing or another
// version, and if this process has an interpreter already. Starts Python; it ends with the process.
std::unique_ptr<Simulator> open_python(const PythonOptions& options);

}  // namespace maa::examples::metaworld
