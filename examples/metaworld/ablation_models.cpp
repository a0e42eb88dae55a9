#include "ablation_models.hpp"

#include <map>

#include <maa/generator/paper_training.hpp>

#include "model_of.hpp"

namespace maa::examples {
namespace {

struct WithoutHead : DefaultConfig {
  static constexpr bool ridge_head = false;
};
struct WithFirstSteps : DefaultConfig {
  static constexpr PromptShape prompt{.from = PromptSteps::first};
};
struct WithRandomStart : DefaultConfig {
  static constexpr Start decoder_start = Start::random;
};

// Trained to reconstruct the zoo's weights and their latents, as in the paper, with the default's sizes, maps
// and schedules.
PaperRecipe recipe_on_weights(const study::Options& options, bool conditioned) {
  const auto usual = study::default_recipe(options, conditioned);
  PaperRecipe recipe;
  static_cast<FitOptions&>(recipe) = usual;
  recipe.standardize = true;
  recipe.embedder = usual.embedder;
  const auto train = [&](Index steps, Index batch, double rate) {
    auto result = usual.behavior.train;
    result.steps = options.smoke ? 10 : steps;
    result.batch = batch;
    result.learning_rate.base = rate;
    result.learning_rate.warmup = std::min<Index>(100, result.steps / 10);
    return result;
  };
  recipe.autoencoder = {.train = train(2000, 64, 2e-3), .input_noise = 0, .latent_noise = 0.1};
  recipe.denoiser = {.train = train(3000, 128, 5e-4),
                     .latent_scaling = LatentScaling::standard,
                     .normalize_condition = false,
                     .condition_noise = 0.1,
                     .condition_dropout = conditioned ? 0.05 : 1};
  recipe.denoiser.train.beta1 = 0.95;
  recipe.denoiser.train.weight_decay = 5e-4;
  return recipe;
}

using ModelOnWeights = study::ModelOf<DefaultConfig, cpu::Backend>;
constexpr study::ModelFactory factory_on_weights{
    [](const study::Options& options, const Dataset& dataset, bool conditioned,
       const std::filesystem::path& checkpoint, study::TrainingLog& log) {
      return ModelOnWeights::fit(options, recipe_on_weights(options, conditioned), dataset, checkpoint, log);
    },
    &ModelOnWeights::load};

}  // namespace

const std::vector<std::string>& ingredients_of_models() {
  static const std::vector<std::string> names = {"head", "whole-prompts", "decoder-start", "behavior-loss"};
  return names;
}

const study::ModelFactory& models_without(const std::string& ingredient) {
  static const std::map<std::string, study::ModelFactory> factories = {
      {"behavior-loss", factory_on_weights},
      {"head", study::default_factory<cpu::Backend, WithoutHead>},
      {"whole-prompts", study::default_factory<cpu::Backend, WithFirstSteps>},
      {"decoder-start", study::default_factory<cpu::Backend, WithRandomStart>}};
  const auto found = factories.find(ingredient);
  require(found != factories.end(), "metaworld: expected an ingredient of the models, found ", ingredient);
  return found->second;
}

}  // namespace maa::examples
