#include <maa/generator.hpp>

int main() {
  using Policy = maa::MetaWorldPolicy;  // 39 observations, 4 actions
  auto generator = maa::Generator<Policy>::load("generator.safetensors");
  auto trajectory = maa::load_trajectory("demonstration.npz");
  auto policies = generator.generate(trajectory, {.count = 10, .seed = 7});

  std::array<float, 39> observation{};  // from your simulator or robot
  std::array<float, 4> action{};
  policies[0].act(observation, action);
}
