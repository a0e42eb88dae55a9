// The program that serves a Python package's tasks to the one that started it (remote_environment.hpp).
#pragma once

#include "python_simulator.hpp"

namespace maa::examples {

// `PROGRAM VENV [flags]`, started by make_remote_simulator. Returns the process's exit code.
int serve_python(const PythonFamily& family, int argc, char** argv);

}  // namespace maa::examples
