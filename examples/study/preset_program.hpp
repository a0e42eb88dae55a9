// What programs have in common that are studies of a Python package's scripted experts, in named sizes: the
// command line, and a stage.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "flags.hpp"
#include "study.hpp"

namespace maa::examples::study {

struct PresetProgram {
  std::string name;  // also of the package, and of its folder in out/
  std::string description;
  std::vector<std::string> presets;
  std::string presets_help;
  Options (*options)(const std::string& preset) = nullptr;
  std::span<const Flag> flags = {};               // its own, beside those that all have
  std::filesystem::path& venv;                    // of the simulator
  std::function<void(CLI::App&)> add_flags = {};  // others of its own
  // Called with the preset once the command line is read; its errors are the command line's.
  std::function<void(const std::string& preset, Options&)> complete = {};
  std::function<std::unique_ptr<Simulator>()> make_simulator;
  std::function<const ModelFactory&(const std::string& preset, const Options&)> models;
};

// The program's main: one stage of a study.
int run_preset(const PresetProgram& program, int argc, char** argv);

}  // namespace maa::examples::study
