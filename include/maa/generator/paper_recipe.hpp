// The paper's way to train a generator: autoencoder on weights, contrastive embedder, denoiser of latents,
// each frozen for the next.
#pragma once

#include <maa/generator/options.hpp>

MAA_NAMESPACE_BEGIN

// How noise enters the autoencoder. add: x + f n (eq. 5); mix: (1 - f) x + f n (the public code).
enum class NoiseForm { add, mix };
constexpr std::array<std::string_view, 2> names_of(NoiseForm) {
  return {"add", "mix"};
}

struct AutoencoderOptions {
  TrainOptions train;
  NoiseForm noise_form = NoiseForm::add;
  double input_noise = 1e-4;
  double latent_noise = 1e-3;
  bool clamp_latent = false;  // to [-1, 1] in training only (the public code)

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("noise_form", self.noise_form);
    visit("input_noise", share(), self.input_noise);
    visit("latent_noise", share(), self.latent_noise);
    visit("clamp_latent", self.clamp_latent);
  }
};

struct DenoiserOptions {
  TrainOptions train;
  Scaling latent_scaling = Scaling::limits;  // limits: of each feature over policies and tokens (the paper)
  bool normalize_condition = true;           // to [-1, 1] by per-feature limits
  double condition_noise = 0;
  double condition_dropout = 0;  // share of samples with a zero condition; needed for guidance

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("latent_scaling", self.latent_scaling);
    visit("normalize_condition", self.normalize_condition);
    visit("condition_noise", not_negative(), self.condition_noise);
    visit("condition_dropout", share(), self.condition_dropout);
  }
};

struct PaperRecipe : FitOptions {
  // limits: prompts to [-1, 1], raw weights (the paper). standard: prompts by mean and deviation, and weights
  // in the space of normalised observations, minus their mean over the zoo, over each tensor's deviation.
  Scaling scaling = Scaling::limits;
  AutoencoderOptions autoencoder;
  EmbedderOptions embedder;
  DenoiserOptions denoiser;

  // Sections 3 - 5's tables, for a dataset of so many training policies and prompts: the paper fixes epochs;
  // `steps` are what they give. Error for negative numbers.
  static PaperRecipe paper(Index policies, Index prompts) {
    PaperRecipe recipe;
    const auto steps = [](Index epochs, Index count, Index batch) {
      require(at_least(0).allows(static_cast<double>(count)),
              "paper recipe: expected numbers of policies and prompts ", at_least(0).text(), ", found ",
              count);
      return epochs * std::max<Index>(1, (count + batch - 1) / batch);
    };
    recipe.autoencoder.train = {.steps = steps(3000, policies, 32),
                                .batch = 32,
                                .learning_rate = {.kind = LearningRateKind::warm_restarts, .base = 1e-3},
                                .weight_decay = 5e-3};
    recipe.embedder.train = {.steps = steps(300, prompts, 16),
                             .batch = 16,
                             .learning_rate = {.kind = LearningRateKind::warm_restarts, .base = 1e-4},
                             .weight_decay = 1e-4};
    recipe.denoiser.train = {.steps = steps(1000, policies, 128),
                             .batch = 128,
                             .learning_rate = {.kind = LearningRateKind::cosine, .base = 2e-4, .warmup = 500},
                             .beta1 = 0.95,
                             .weight_decay = 5e-4,
                             .ema = 0.9999};
    return recipe;
  }

  // The public code's choices where they differ from the paper's.
  static PaperRecipe reference(Index policies, Index prompts) {
    auto recipe = paper(policies, prompts);
    recipe.autoencoder.noise_form = NoiseForm::mix;
    recipe.autoencoder.clamp_latent = true;
    recipe.embedder.train.steps = recipe.embedder.train.steps * 4 / 3;
    recipe.diffusion.prediction_type = PredictionType::sample;
    return recipe;
  }

  DataUse data_use() const { return {.scaling = scaling, .needs_policies = true, .paper_prompts = true}; }
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    FitOptions::describe(visit, self);
    visit("scaling", self.scaling);
    visit("autoencoder", self.autoencoder);
    visit("embedder", self.embedder);
    visit("denoiser", self.denoiser);
  }
};

MAA_NAMESPACE_END
