// Fits, saves, loads and generates in the given folder, and prints a hash of what came out: the same for a
// header-only and a compiled program.
#include <maa/generator.hpp>

#include <cstdio>

#include "../random_dataset.hpp"
#include "../small_config.hpp"

using namespace maa;

int main(int, char** arguments) {
  using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::relu>>>;
  const std::filesystem::path folder = arguments[1];
  test::random_dataset<Network>(12).save(folder / "dataset.safetensors");
  const auto dataset = Dataset::load(folder / "dataset.safetensors");
  save_trajectory(folder / "demonstration.npz", dataset.trajectories[0]);

  BehaviorRecipe recipe;
  for (auto* train : {&recipe.embedder.train, &recipe.behavior.train}) {
    train->steps = 5;
    train->batch = 4;
  }
  recipe.behavior.queries = 8;
  recipe.check = false;
  using SmallGenerator = Generator<MlpPolicy<Network>, test::SmallConfig>;
  SmallGenerator trained{cpu::Backend(2)};
  trained.fit(dataset, recipe);
  trained.save(folder / "generator.safetensors");

  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  const auto policies = SmallGenerator::load(folder / "generator.safetensors")
                            .generate(load_trajectory(folder / "demonstration.npz"), {.count = 3, .seed = 7});
  for (const auto& policy : policies) {
    for (const std::byte byte : std::as_bytes(policy.weights())) {
      hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
    }
  }
  std::printf("%016llx\n", static_cast<unsigned long long>(hash));
  return 0;  // consumer_matrix.sh makes another function of it
}
