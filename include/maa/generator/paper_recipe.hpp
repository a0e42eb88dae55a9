// The paper's way to train a generator: autoencoder on weights, contrastive embedder, denoiser of latents,
// each frozen for the next.
#pragma once

#include <maa/data/dataset.hpp>
#include <maa/generator/options.hpp>

MAA_NAMESPACE_BEGIN

// How noise enters the autoencoder. add: x + f n (eq. 5); mix: (1 - f) x + f n (the public code).
enum class NoiseForm { add, mix };
constexpr std::array<std::string_view, 2> names_of(NoiseForm) {
  return {"add", "mix"};
}

// The stage that learns to encode and decode weights (eq. 5).
struct AutoencoderOptions {
  TrainOptions train;                     // batch: policies per step
  NoiseForm noise_form = NoiseForm::add;  // of both kinds
  double input_noise = 1e-4;              // f, of standardised weights
  double latent_noise = 1e-3;             // f, of latents
  bool clamp_latent = false;              // to [-1, 1] in training only (the public code)

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("noise_form", self.noise_form);
    visit("input_noise", share(), self.input_noise);
    visit("latent_noise", share(), self.latent_noise);
    visit("clamp_latent", self.clamp_latent);
  }
};

// The stage that learns to denoise latents of policies.
struct DenoiserOptions {
  TrainOptions train;                        // batch: policies per step
  Scaling latent_scaling = Scaling::limits;  // limits: of each feature over policies and tokens (the paper)
  bool normalize_condition = true;           // to [-1, 1] by per-feature limits
  double condition_noise = 0;                // standard deviation, added to normalised conditions
  double condition_dropout = 0;              // share of samples with a zero condition; needed for guidance

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("latent_scaling", self.latent_scaling);
    visit("normalize_condition", self.normalize_condition);
    visit("condition_noise", not_negative(), self.condition_noise);
    visit("condition_dropout", share(), self.condition_dropout);
  }
};

// How many policies and prompts of a data set PaperRecipe trains on.
struct TrainingCounts {
  Index policies = 0;
  Index prompts = 0;
};
// Held-out runs and validation tasks are left out, and trajectories that are no prompts of this shape for
// conditions on `seen`. Error for a validation task that the dataset lacks or that is named twice.
MAA_COLD inline TrainingCounts training_counts(const Dataset& dataset, const FitOptions& options,
                                               const PromptShape& shape = {},
                                               ConditionParts seen = ConditionParts::both) {
  const auto held_out = dataset.named_tasks(options.validation_tasks, "validation_tasks");
  const auto train = dataset.split_by_run(options.validation_fraction, options.seed).train;
  const auto needs = shape.paper_needs(seen_parts(seen, options.condition));
  return {std::ranges::count_if(train.policies,
                                [&](Index i) {
                                  const auto& policy = dataset.policies[static_cast<std::size_t>(i)];
                                  return !held_out[static_cast<std::size_t>(policy.task)];
                                }),
          std::ranges::count_if(train.trajectories, [&](Index i) {
            const auto& trajectory = dataset.trajectories[static_cast<std::size_t>(i)];
            return needs.met_by(trajectory) &&
                   !held_out[static_cast<std::size_t>(dataset.task_index(trajectory.task))];
          })};
}

// Its options by stage; paper() and reference() fill them.
struct PaperRecipe : FitOptions {
  // limits: prompts to [-1, 1], raw weights (the paper). standard: prompts by mean and deviation, and weights
  // in the space of normalised observations, minus their mean over the zoo, over each tensor's deviation.
  Scaling scaling = Scaling::limits;
  // Prompts are embedded as they are, by an embedder that was trained on features mapped to [-1, 1] by each
  // one's limits over the prompts (the public code).
  bool raw_conditions = false;
  AutoencoderOptions autoencoder;
  EmbedderOptions embedder;
  DenoiserOptions denoiser;

  // Sections 3 - 5's tables, for so many policies and prompts to train on, those of held-out runs and tasks
  // left out (training_counts()): the paper fixes epochs, of as many steps as there are whole batches;
  // `steps` are what they give. `prediction`: the paper's epsilon, of which the network cannot match more
  // than half of the variance where its last layer maps fewer channels to a latent's features
  // (docs/method.md); or the clean sample, which has no such bound. Error for negative numbers.
  static PaperRecipe paper(Index policies, Index prompts,
                           PredictionType prediction = PredictionType::epsilon) {
    PaperRecipe recipe;
    recipe.diffusion.prediction_type = prediction;
    const auto steps = [](Index epochs, Index count, Index batch) {
      require(at_least(0).allows(static_cast<double>(count)),
              "paper recipe: expected numbers of policies and prompts ", at_least(0).text(), ", found ",
              count);
      return epochs * std::max<Index>(1, count / batch);
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
    for (auto* train : {&recipe.autoencoder.train, &recipe.embedder.train, &recipe.denoiser.train}) {
      train->decay_all = true;  // as the public code, where the paper does not say
      train->drop_last = true;
    }
    return recipe;
  }

  // The public code's choices where they differ from the paper's.
  static PaperRecipe reference(Index policies, Index prompts) {
    auto recipe = paper(policies, prompts, PredictionType::sample);
    recipe.raw_conditions = true;
    recipe.autoencoder.noise_form = NoiseForm::mix;
    recipe.autoencoder.input_noise = 1e-3;
    recipe.autoencoder.latent_noise = 1e-2;
    recipe.autoencoder.clamp_latent = true;
    recipe.embedder.train.steps = recipe.embedder.train.steps * 4 / 3;  // 400 epochs
    auto& denoiser = recipe.denoiser.train;
    denoiser.learning_rate = {.kind = LearningRateKind::warm_restarts, .base = 2e-4, .minimum = 1e-9};
    denoiser.ema = 0;  // it has one, and samples from the raw weights
    return recipe;
  }

  // What it takes of a data set.
  DataUse data_use() const {
    return {.scaling = scaling, .needs_policies = true, .paper_prompts = true, .raw_prompts = raw_conditions};
  }
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    FitOptions::describe(visit, self);
    visit("scaling", self.scaling);
    visit("raw_conditions", self.raw_conditions);
    visit("autoencoder", self.autoencoder);
    visit("embedder", self.embedder);
    visit("denoiser", self.denoiser);
  }
};

MAA_NAMESPACE_END
