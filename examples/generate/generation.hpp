// Generating as the program generate does it, with policies of any sizes.
#pragma once

#include <filesystem>
#include <vector>

#include <maa/data/trajectory.hpp>
#include <maa/generator/options.hpp>

namespace maa::examples {

struct Demonstration {
  std::filesystem::path path;
  std::string name;  // of its policies
  Trajectory trajectory;
};

struct GenerateArguments {
  std::filesystem::path generator, out = "policies";
  GenerateOptions options;
  bool together = false;  // one prompt
  bool cuda = false;
  int threads = 0;
};

// Saves policies for all demonstrations together or for each, printing their files' names; says how far the
// prompts lie from those trained on. Of several prompts what is none is told and taken out, so that the
// others go through.
void generate(std::vector<Demonstration>& demonstrations, const GenerateArguments& arguments);

// The same by a generator that import_official.py made.
void generate_by_official(std::vector<Demonstration>& demonstrations, const GenerateArguments& arguments);

}  // namespace maa::examples
