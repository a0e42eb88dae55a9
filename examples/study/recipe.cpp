#include "recipe.hpp"

#include <algorithm>

namespace maa::examples::study {
namespace {

void set_steps(TrainOptions& train, Index steps) {
  train.steps = steps;
  train.learning_rate.warmup = std::min<Index>(100, steps / 10);
}

// What does not depend on the recipe.
void set_shared(const TrainingRun& run, FitOptions& recipe) {
  recipe.seed = seed_for(run.options, Purpose::fit);
  recipe.checkpoint = run.checkpoint;
  recipe.condition = run.options.training.condition;
  recipe.validation_tasks = run.options.tasks.validation;
  recipe.check = !run.options.smoke && run.options.training.zoo_weights;  // else none has learned anything
}

template <class RecipeFor>
PaperRecipe of_paper(const TrainingRun& run, const RecipeFor& recipe_for) {
  PaperRecipe shared;
  set_shared(run, shared);
  const auto counts = training_counts(run.dataset, shared);
  auto recipe = recipe_for(counts.policies, counts.prompts);
  set_shared(run, recipe);
  for (auto* train : {&recipe.autoencoder.train, &recipe.embedder.train, &recipe.denoiser.train}) {
    const double steps = run.options.training.epoch_share * static_cast<double>(train->steps);
    train->steps = std::max<Index>(1, static_cast<Index>(steps));
    train->learning_rate.warmup = std::min(train->learning_rate.warmup, train->steps / 2);
  }
  recipe.denoiser.condition_dropout = run.conditioned ? 0 : 1;
  return recipe;
}

}  // namespace

BehaviorRecipe default_recipe(const TrainingRun& run) {
  const auto& training = run.options.training;
  BehaviorRecipe recipe;
  set_shared(run, recipe);
  set_steps(recipe.embedder.train, training.embedder_steps);
  auto& behavior = recipe.behavior;
  set_steps(behavior.train, training.behavior_steps);
  behavior.augmentation = reflect_and_translate(symmetry_of(run.options, run.interface));
  behavior.demonstrations = training.demonstrations;
  behavior.huber_width = training.huber_width;
  if (training.corrective) {
    behavior.corrective = run.interface.corrective;
  }
  if (!run.conditioned) {
    behavior.condition_dropout = 1;
  }
  return recipe;
}

PaperRecipe weights_recipe(const TrainingRun& run) {
  const auto usual = default_recipe(run);
  PaperRecipe recipe;
  static_cast<FitOptions&>(recipe) = usual;
  recipe.scaling = Scaling::standard;
  recipe.embedder = usual.embedder;
  const auto train = [&](Index steps, Index batch, double rate) {
    auto result = usual.behavior.train;
    set_steps(result, run.options.smoke ? 10 : steps);
    result.batch = batch;
    result.learning_rate.base = rate;
    return result;
  };
  recipe.autoencoder = {.train = train(2000, 64, 2e-3), .input_noise = 0, .latent_noise = 0.1};
  recipe.denoiser = {.train = train(3000, 128, 5e-4),
                     .latent_scaling = Scaling::standard,
                     .normalize_condition = false,
                     .condition_noise = 0.1,
                     .condition_dropout = run.conditioned ? 0.05 : 1};
  recipe.denoiser.train.beta1 = 0.95;
  recipe.denoiser.train.weight_decay = 5e-4;
  return recipe;
}

PaperRecipe paper_recipe(const TrainingRun& run) {
  return of_paper(run, [&](Index policies, Index prompts) {
    return PaperRecipe::paper(policies, prompts, run.options.training.prediction);
  });
}
PaperRecipe reference_recipe(const TrainingRun& run) {
  return of_paper(run, &PaperRecipe::reference);
}

Symmetry symmetry_of(const Options& options, const Interface& interface) {
  auto symmetry = interface.symmetry;
  if (!options.training.reflections) {
    symmetry.mirrored_observation = symmetry.mirrored_action = {};
  }
  if (!options.training.translations) {
    symmetry.positions = {};
  }
  return symmetry;
}

Augmentation reflect_and_translate(Symmetry symmetry) {
  const auto& deviation = symmetry.translation;
  auto name = concatenate(symmetry.mirrored_observation.empty() ? "" : "reflect ",
                          symmetry.positions.empty() ? "" : "translate ", deviation[0], " ", deviation[1],
                          " ", deviation[2]);
  return {std::move(name), [symmetry = std::move(symmetry)](Rng rng, MatrixView<float> observations,
                                                            MatrixView<float> actions) {
            const bool reflected = rng.uniform() < 0.5;
            std::array<float, 3> offset{};
            for (std::size_t axis = 0; axis < 3; ++axis) {
              offset[axis] = static_cast<float>(symmetry.translation[axis] * rng.normal());
            }
            for (Index i = 0; i < observations.rows; ++i) {
              if (reflected) {
                mirror(symmetry, observations.row_span(i),
                       i < actions.rows ? actions.row_span(i) : std::span<float>());
              }
              translate(symmetry, offset, observations.row_span(i));
            }
          }};
}

}  // namespace maa::examples::study
