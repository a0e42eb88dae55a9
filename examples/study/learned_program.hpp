// What programs have in common that are one study of reinforcement-learned demonstrators: the command line,
// and the stages.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "flags.hpp"
#include "study.hpp"

namespace maa::examples::study {

struct LearnedProgram {
  std::string name;
  std::function<void(CLI::App&)> add_own_flags;  // may be empty
  // Called once the command line is read.
  std::function<std::unique_ptr<Simulator>()> make_simulator;
  // By the name of what trains them (--recipe); "default" is one.
  std::map<std::string, const ModelFactory*> recipes;
};

// The program's main: from these options, which have reinforcement-learned data, and the command line to a
// report's files.
int run_learned(const LearnedProgram& program, Options options, int argc, char** argv);

}  // namespace maa::examples::study
