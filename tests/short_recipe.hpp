// Recipes short enough for tests, of policies that do not do what the trajectories show.
#pragma once

#include <maa/generator/behavior_recipe.hpp>
#include <maa/generator/paper_recipe.hpp>

namespace test {

// Calls body(options of training) for each stage.
template <class Body>
void for_stages(maa::BehaviorRecipe& recipe, const Body& body) {
  body(recipe.embedder.train);
  body(recipe.behavior.train);
}
template <class Body>
void for_stages(maa::PaperRecipe& recipe, const Body& body) {
  body(recipe.autoencoder.train);
  body(recipe.embedder.train);
  body(recipe.denoiser.train);
}
template <class Recipe>
Recipe shortened(Recipe recipe, maa::Index steps, maa::Index batch) {
  for_stages(recipe, [&](maa::TrainOptions& train) {
    train.steps = steps;
    train.batch = batch;
  });
  recipe.check = false;
  return recipe;
}

}  // namespace test
