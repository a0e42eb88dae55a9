// What is fuzzed: readers of files from elsewhere, and what is done with what they return.
#pragma once

#include <maa/generator.hpp>

#include "../small_config.hpp"

#include <string>

namespace fuzz {

using Policy = maa::MlpPolicy<maa::MlpNetwork<3, 2, maa::HiddenLayers<maa::Hidden<4, maa::Activation::elu>>>>;

// One level: a file of about 100 tensors, half of what it takes to read one of two levels.
struct Config : test::TinyConfig {
  template <maa::Index Latent, maa::Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<4>, 3, 2, 8>;
};
using TinyGenerator = maa::Generator<Policy, Config>;

// Of noise; the same seed gives the same one.
maa::Trajectory demonstration(std::uint64_t seed);
maa::Dataset small_dataset();
maa::Dataset with_interface(maa::Dataset data);
// A few steps of training; with a fallback, its choice, a corrective augmentation and an interface if `all`.
TinyGenerator trained(bool all);
// From another's numbers, by one embedding.
TinyGenerator warm_started();

// What is done with an accepted input beyond what takes about as long as to read it: all that there is, or,
// so that many more inputs are tried, checking, training and generating for a share of the inputs only. A
// hash of the input chooses: a finding replays.
enum class Use { all, share };

struct Target {
  std::string_view name;
  // Whether the input is accepted; refused is what throws maa::Error. Anything else that is thrown is a
  // finding, as is what a sanitizer sees.
  bool (*run)(std::string_view input, Use use);
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
