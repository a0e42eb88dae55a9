#include <maa/cuda.hpp>
#include <maa/generator.hpp>

int main() {
  using Generator = maa::Generator<maa::MetaWorldPolicy, maa::DefaultConfig, maa::cuda::Backend>;
  auto generator = Generator::load("generator.safetensors");
  auto trajectory = maa::load_trajectory("demonstration.npz");
  auto policies = generator.generate(trajectory, {.count = 1000});
}
