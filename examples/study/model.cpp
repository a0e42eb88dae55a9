#include "model_of.hpp"

namespace maa::examples::study {

BehaviorRecipe default_recipe(const Options& options, bool conditioned) {
  BehaviorRecipe recipe;
  const auto set = [](TrainOptions& train, Index steps) {
    train.steps = steps;
    train.learning_rate.warmup = std::min<Index>(100, steps / 10);
  };
  set(recipe.embedder.train, options.embedder_steps);
  auto& behavior = recipe.behavior;
  set(behavior.train, options.behavior_steps);
  behavior.augmentation = reflect_and_translate(options.symmetry);
  behavior.demonstrations = options.demonstrations;
  behavior.huber_width = options.huber_width;
  if (options.restoring_pairs) {
    behavior.corrective = metaworld_corrective_augmentation();
  }
  if (!conditioned) {
    behavior.condition_dropout = 1;
  }
  return recipe;
}

const ModelFactory default_models = default_factory<cpu::Backend>;

}  // namespace maa::examples::study
