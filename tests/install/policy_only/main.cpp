// Prints an action of an untrained policy, whose weights are random numbers: the same on every processor, up to rounding.
#include <maa/policy.hpp>

#include <array>
#include <cstdio>

int main() {
  using Policy = maa::MetaWorldPolicy;
  const auto policy = Policy::untrained(7);
  std::array<float, Policy::observation_size> observation{};
  for (std::size_t i = 0; i < observation.size(); ++i) {
    observation[i] = 0.01f * static_cast<float>(i);
  }
  std::array<float, Policy::action_size> action{};
  policy.act(observation, action);
  const maa::MlpPolicy<Policy::Network, maa::Storage::bf16> rounded(policy.weights());
  std::array<float, Policy::action_size> rounded_action{};
  rounded.act(observation, rounded_action);
  maa::Rng rng(1);
  for (std::size_t i = 0; i < action.size(); ++i) {
    std::printf("%.4f %.2f ", static_cast<double>(action[i]), static_cast<double>(rounded_action[i]));
  }
  std::printf("%d\n", static_cast<int>(rng.below(1'000'000)));
}
