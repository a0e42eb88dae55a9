// A simulator that is a Python package, in this process: drives it with an embedded Python. One per process,
// for one thread, since CPython has one global state. Programs reach it through workers (python_worker.hpp).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "interface.hpp"

namespace maa::examples {

// What one package differs from another in.
struct PythonFamily {
  std::string prefix;       // of errors: "metaworld"
  std::string name;         // in reports: "MetaWorld"
  std::string how_to_make;  // the virtual environment: a command
  struct Package {
    const char* name;
    const char* version;
  };
  std::vector<Package> packages;  // that results depend on, with the versions the bridge was made for
  // Python, run once: TASKS (names), VERSIONS (by name) and Task(name, flags...), a class with `action` and
  // `observation` (float32 arrays that both sides hold) and the methods refusal(placement) (why it is none,
  // or ""), draw_placement(seed), reset(placement), step() (whether the state is a success,
  // and a reward), expert_action(), render(width, height), and, for plain_flag, draw_placement_by_package and
  // reset_by_package.
  const char* glue = nullptr;
  const Interface& interface;
  Index episode_steps = 0;
  std::map<std::string, std::string> mirror_tasks = {};
  std::vector<std::string> task_flags = {};  // of Task: each is whether the worker was started with it
};

// For tests, as a flag of any family: resets and draws as the package does them, without shortcuts that save
// most of the time and change no bit. A draw then ends the episode.
inline constexpr const char* plain_flag = "--plain";

// `venv`: the virtual environment that the family's script makes. Error where it, its Python or a package is
// missing or of another version, for unknown flags, and if this process has an interpreter already. Starts
// Python; it ends with the process. The family's interface must outlive the simulator.
std::unique_ptr<Simulator> open_python(PythonFamily family, const std::filesystem::path& venv,
                                       const std::set<std::string>& flags);

}  // namespace maa::examples
