// Run-time choices of training and generation, with the presets `fixed`, `paper` and `reference`.
#pragma once

#include <maa/backend/precision.hpp>
#include <maa/core/rng.hpp>
#include <maa/data/prompt_features.hpp>
#include <maa/data/restoring_pairs.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/train/trainer.hpp>

#include <filesystem>

MAA_NAMESPACE_BEGIN

// How noise enters the autoencoder. add: x + f n (eq. 5); mix: (1 - f) x + f n (the public code).
enum class NoiseForm { add, mix };

struct AutoencoderOptions {
  TrainOptions train;
  // Fixed: weights in the space of normalised observations, minus their mean over the zoo, over each tensor's
  // deviation. Otherwise raw weights.
  bool standardize_weights = true;
  NoiseForm noise_form = NoiseForm::add;
  double input_noise = 1e-4;
  double latent_noise = 1e-3;
  bool clamp_latent = false;  // to [-1, 1] in training only (the public code)
};

struct EmbedderOptions {
  TrainOptions train;
  double temperature = 1;
  bool symmetric = false;            // h -> v and v -> h
  bool same_task_positives = false;  // all pairs of a task are right answers, not only the diagonal
  double feature_noise = 0;
};

enum class LatentScaling { limits, standard };

struct DenoiserOptions {
  TrainOptions train;
  DiffusionOptions diffusion;
  LatentScaling latent_scaling = LatentScaling::standard;
  bool normalize_condition = false;  // to [-1, 1] by per-feature limits
  double condition_noise = 0;
  double condition_dropout = 0;  // share of samples with a zero condition; needed for guidance
};

// One random transform of rows of observations and actions (either may have no rows), drawn from `rng`: equal
// generators mean the same transform. Domain knowledge of the caller.
using Augmentation = std::function<void(Rng rng, MatrixView<float> observations, MatrixView<float> actions)>;

// What the last stage ends with. last: its last weights. best: those of the best validation. best_fallback:
// the last weights, and as a fallback the policy made without a condition at the best validation: training on
// makes generated policies better where a task resembles those trained on, and worse elsewhere.
enum class Keep { last, best, best_fallback };

// The last stage trains all models through the generated weights: prompt -> condition -> the denoiser's
// estimate of the clean latent -> weights -> actions, against the demonstrator's actions in other scenes of
// the task.
struct BehaviorOptions {
  TrainOptions train;  // batch: prompts per step; steps = 0 leaves the stage out
  Index queries = 96;  // observations per prompt and step
  // Demonstrations per prompt: each step draws one of these numbers for all its prompts. More than one act as
  // in Generator::generate: the condition is the mean of theirs, the head sees the pairs of all.
  std::vector<Index> demonstrations = {1};
  // Names of whole tasks to validate on: no stage and no normaliser sees their trajectories, and policies of
  // these tasks are ignored. The stage's validation is the error of the actions of policies sampled for
  // `validation_prompts` prompts of each (without augmentation, of demonstrations[0] demonstrations), always
  // the same ones and with the same noise; for Keep::best_fallback they are sampled without the condition.
  // Error for a name that the dataset lacks.
  std::vector<std::string> validation_tasks;
  Index validation_prompts = 8;
  Keep keep = Keep::best_fallback;  // without validation tasks: last
  // The error of an action: its square (0), or the square up to about this width and the absolute value
  // beyond (pseudo-Huber), by which small errors count more. Validation takes the square always.
  double huber_width = 0;
  double prompt_action_noise = 0.05;
  double condition_dropout = 0;  // share of samples with a zero condition, as in DenoiserOptions
  Augmentation augmentation;
  // With a head correction: heads are fitted to copies of a prompt's pairs too, in training and afterwards.
  RestoringPairs restoring_pairs = {};
};

struct FitOptions {
  AutoencoderOptions autoencoder;
  EmbedderOptions embedder;
  DenoiserOptions denoiser;
  BehaviorOptions behavior;
  // Of the embeddings that Config::condition has, those that the denoiser sees; the others are zeros to it.
  ConditionParts condition = ConditionParts::both;
  SamplingOptions sampling;  // the defaults of generate()
  std::vector<double> guidance = {1};
  double validation_fraction = 0.1;  // of the (task, run) pairs
  Index validation_every = 100;      // steps; and after a stage's last
  std::uint64_t seed = 0;
  // If set, training state is written here every `checkpoint_every` steps and when stopped; if the file
  // exists, training goes on from it, to the same bits as without the stop.
  std::filesystem::path checkpoint;
  Index checkpoint_every = 500;

  // Section 3 - 5's tables. The paper fixes epochs; `steps` here are what they give for the data's size.
  static FitOptions paper(Index policies, Index prompts) {
    FitOptions options;
    const auto steps = [](Index epochs, Index count, Index batch) {
      return epochs * std::max<Index>(1, (count + batch - 1) / batch);
    };
    auto& autoencoder = options.autoencoder;
    autoencoder.standardize_weights = false;
    autoencoder.train = {.steps = steps(3000, policies, 32),
                         .batch = 32,
                         .learning_rate = {.kind = LearningRateKind::warm_restarts, .base = 1e-3},
                         .weight_decay = 5e-3};
    options.embedder.train = {.steps = steps(300, prompts, 16),
                              .batch = 16,
                              .learning_rate = {.kind = LearningRateKind::warm_restarts, .base = 1e-4},
                              .weight_decay = 1e-4};
    auto& denoiser = options.denoiser;
    denoiser.train = {.steps = steps(1000, policies, 128),
                      .batch = 128,
                      .learning_rate = {.kind = LearningRateKind::cosine, .base = 2e-4, .warmup = 500},
                      .beta1 = 0.95,
                      .weight_decay = 5e-4,
                      .ema = EmaOptions{}};
    denoiser.diffusion = {.prediction_type = PredictionType::epsilon};
    denoiser.latent_scaling = LatentScaling::limits;
    denoiser.normalize_condition = true;
    options.behavior.train.steps = 0;
    return options;
  }

  // The public code's choices where they differ from the paper's.
  static FitOptions reference(Index policies, Index prompts) {
    auto options = paper(policies, prompts);
    options.autoencoder.noise_form = NoiseForm::mix;
    options.autoencoder.clamp_latent = true;
    options.embedder.train.steps = options.embedder.train.steps * 4 / 3;
    options.denoiser.diffusion.prediction_type = PredictionType::sample;
    return options;
  }

  // What repairs the weaknesses of both (HACKING.md, "Presets"): standardised weights, one latent treatment,
  // EMA sampled, warm-up and cosine, clipping, sampling from the last timestep on.
  static FitOptions fixed() {
    FitOptions options;
    const auto train = [](Index steps, Index batch, double rate) {
      TrainOptions result;
      result.steps = steps;
      result.batch = batch;
      result.learning_rate = {
          .kind = LearningRateKind::cosine, .base = rate, .warmup = std::min<Index>(100, steps / 10)};
      result.clip_norm = 1;
      result.ema = EmaOptions{.maximum = 0.999};
      return result;
    };
    // No steps: decoder and denoiser learn from behaviour alone (HACKING.md, "Presets").
    options.autoencoder.train = train(0, 64, 2e-3);
    options.autoencoder.train.weight_decay = 1e-4;
    options.autoencoder.input_noise = 0;
    options.autoencoder.latent_noise = 0.1;
    options.embedder.train = train(300, 256, 1e-3);
    options.embedder.train.weight_decay = 1e-4;
    options.embedder.temperature = 10;
    options.embedder.symmetric = true;
    options.embedder.same_task_positives = true;
    options.embedder.feature_noise = 0.05;
    options.denoiser.train = train(0, 128, 5e-4);
    options.denoiser.train.beta1 = 0.95;
    options.denoiser.train.weight_decay = 5e-4;
    options.denoiser.diffusion.prediction_type = PredictionType::sample;
    options.denoiser.diffusion.clip_range = 4;
    options.denoiser.condition_noise = 0.1;
    options.denoiser.condition_dropout = 0.05;
    options.behavior.train = train(800, 24, 1e-3);
    options.behavior.train.weight_decay = 1e-4;
    options.behavior.condition_dropout = 0.2;
    options.sampling.spacing = TimestepSpacing::linspace;
    options.guidance = {1, 0.5, 0};
    return options;
  }
};

struct GenerateOptions {
  Index count = 1;                      // policies per prompt
  Index demonstrations_per_prompt = 1;  // for generate_each(): so many in a row make one prompt
  std::uint64_t seed = 0;               // equal seeds give equal policies
  // How much the condition counts: 0 not at all, above 1 more than trained (all but 1 want
  // condition_dropout). Of several, a candidate is made with each, and the first is returned unless another
  // agrees better with parts of the prompt that its head was not fitted to. Empty: the generator's own choice
  // (FitOptions::guidance), and its fallback where it has one (Keep::best_fallback).
  std::vector<double> guidance = {};
  // How much better: its mean squared error on those parts must be lower by this share of the first
  // candidate's, since it is measured on some 60 steps, and by this much, which is the variance of the noise
  // that training adds to the actions of prompts, for actions in [-1, 1]: smaller differences say little.
  double guidance_margin = 0.1;
  double guidance_difference = 0.0025;
  // No choice for prompts like those trained on (Generator::novelty up to 1): the condition knows their
  // tasks, where one demonstration says how to act in one scene alone.
  bool trust_known = true;
  bool correct_head = true;  // false leaves out the closed-form correction of a configuration that has it
  // Of the denoiser and the decoder. Each precision that is used keeps its own packed copy of their weights,
  // made at its first use.
  Precision precision = Precision::fp32;
  // Otherwise the generator's own choices.
  std::optional<SamplingOptions> sampling = std::nullopt;
  SamplingProgress progress = {};  // may stop: generate then throws
};

MAA_NAMESPACE_END
