// Command-line flags for described options (maa/core/options.hpp): types, limits, names and defaults are the
// description's.
#pragma once

#include <span>
#include <string>

namespace CLI {
class App;
}

namespace maa::examples::study {

struct Options;

// A field of the description that a program exposes. The flag of a yes-or-no field takes no value: --name
// sets it, --no-name clears it.
struct Flag {
  std::string flag;   // "--prompts"
  std::string field;  // "evaluation.prompts"
  std::string help;
};

// Error for a field that is not described. The options must outlive the parsing.
void add_flags(CLI::App& app, Options& options, std::span<const Flag> flags);

}  // namespace maa::examples::study
