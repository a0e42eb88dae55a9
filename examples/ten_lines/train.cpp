#include <maa/generator.hpp>

#include <iostream>

int main() {
  auto dataset = maa::Dataset::load("dataset.safetensors");  // policies, and trajectories of what they do
  maa::BehaviorRecipe recipe;
  recipe.checkpoint = "training.safetensors";  // a rerun goes on from here, to the same bits
  maa::Generator<maa::MetaWorldPolicy> generator;
  const bool finished = generator.fit(dataset, recipe, [](const maa::TrainProgress& progress) {
    std::cout << progress.stage << ' ' << progress.step << '/' << progress.steps << ' ' << progress.loss
              << '\n';
    return true;  // false stops
  });
  if (finished) {
    generator.save("generator.safetensors");
  }
}
