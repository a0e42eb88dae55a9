// What is fuzzed: readers of files from elsewhere, and what is done with what they return.
#pragma once

#include <maa/generator.hpp>

#include "../small_config.hpp"

#include <string>

namespace fuzz {

using Policy = maa::MlpPolicy<maa::MlpNetwork<3, 2, maa::HiddenLayers<maa::Hidden<4, maa::Activation::elu>>>>;
using TinyGenerator = maa::Generator<Policy, test::TinyConfig>;

// Of noise; the same seed gives the same one.
maa::Trajectory demonstration(std::uint64_t seed);
maa::Dataset small_dataset();
maa::Dataset with_interface(maa::Dataset data);
// A few steps of training; with a fallback, its choice, a corrective augmentation and an interface if `all`.
TinyGenerator trained(bool all);

struct Target {
  std::string_view name;
  // Whether the input is accepted; refused is what throws maa::Error. Anything else that is thrown is a
  // finding, as is what a sanitizer sees.
  bool (*run)(std::string_view input);
};
std::span<const Target> targets();
// Error for a name that is none.
const Target& target(std::string_view name);

// Calls add(target, name, bytes): inputs to begin with, all accepted, and those by which faults were found.
// Names of the latter begin with accepted_ or refused_ where one of these is right.
using Add =
    maa::FunctionRef<void(std::string_view target, const std::string& name, const std::string& bytes)>;
void seeds(Add add);
void regressions(Add add);

}  // namespace fuzz
