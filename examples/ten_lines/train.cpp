#include <maa/generator.hpp>

#include <filesystem>
#include <iostream>

// 17 observations, 6 actions, two hidden layers of 256 with ReLU; tanh squashes the actions.
using Layer = maa::Hidden<256, maa::Activation::relu>;
using Policy = maa::MlpPolicy<maa::MlpNetwork<17, 6, maa::HiddenLayers<Layer, Layer>>>;

int main() {
  auto dataset = maa::Dataset::load("dataset.safetensors");  // policies, and trajectories of what they do
  maa::BehaviorRecipe recipe;
  recipe.checkpoint = "training.safetensors";  // a rerun goes on from here, to the same bits
  maa::Generator<Policy> generator;
  const bool finished = generator.fit(dataset, recipe, [](const maa::TrainProgress& progress) {
    std::cout << progress.stage << ' ' << progress.step << '/' << progress.steps << ' ' << progress.loss
              << '\n';
    return true;  // false stops
  });
  if (finished) {
    generator.save("generator.safetensors");
    std::filesystem::remove(recipe.checkpoint);  // fit leaves it: nothing is lost if the file cannot be saved
  }
}
