// Runs a policy in a program of one's own: `embed policy.safetensors`, or `embed` for one with random
// weights.
#include <maa/io/policy_file.hpp>
#include <maa/policy.hpp>

#include <array>
#include <iostream>

using Policy = maa::MetaWorldPolicy;  // 39 observations, 4 actions

int main(int argc, char** argv) try {
  const Policy policy = argc > 1 ? maa::load_policy<Policy>(argv[1]) : Policy::untrained(7);

  std::array<float, Policy::observation_size> observation{};  // from your simulator or robot
  std::array<float, Policy::action_size> action{};
  policy.act(observation, action);

  for (const float value : action) {
    std::cout << value << '\n';
  }
} catch (const maa::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
