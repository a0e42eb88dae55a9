// The default way to train a generator: contrastive embedder, then all models together by what the generated
// policies do (docs/method.md). Nothing is trained to reconstruct the zoo's weights; without a zoo generated
// ones are what a network as initialised, for normalised observations, becomes.
#pragma once

#include <maa/generator/options.hpp>

MAA_NAMESPACE_BEGIN

// The stage that trains all models through the generated weights: prompt -> condition -> the denoiser's
// estimate of the clean latent -> weights -> actions, against the demonstrator's actions in other scenes of
// the task.
struct BehaviorOptions {
  TrainOptions train;  // batch: prompts per step
  Index queries = 96;  // observations per prompt and step
  // Whose trajectories queries are of.
  Styles styles = Styles::automatic;
  // Of a prompt whose maker is in the data set (TrajectoryCheck), the share of queries at states of any
  // training trajectory, whatever its task. What the prompt's policy should do there, and at all its other
  // queries, is what its maker does: the zoo's weights know that beyond what was recorded.
  double maker_queries = 0.5;
  // Demonstrations per prompt: each step draws one of these numbers for all its prompts. More than one act as
  // in Generator::generate: the condition is the mean of theirs, the head sees the support sets of all.
  std::vector<Index> demonstrations = {1};
  // The error of an action: its square (0), or the square up to about this width and the absolute value
  // beyond (pseudo-Huber), by which small errors count more. Validation takes the square always.
  double huber_width = 0;
  double prompt_action_noise = 0.05;  // standard deviation
  double condition_dropout = 0.2;     // share of samples with a zero condition; needed for guidance
  Augmentation augmentation = {};
  // With a Bayesian head: it is fitted to copies of a prompt's pairs too, in training and afterwards.
  CorrectiveAugmentation corrective = {};

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("queries", between(1, 1'000'000), self.queries);
    visit("styles", self.styles);
    visit("maker_queries", share(), self.maker_queries);
    visit("demonstrations", between(1, 1'000), self.demonstrations);
    visit("huber_width", not_negative(), self.huber_width);
    visit("prompt_action_noise", not_negative(), self.prompt_action_noise);
    visit("condition_dropout", share(), self.condition_dropout);
    visit("augmentation", self.augmentation.name);
    visit("corrective", self.corrective);
  }
};

// With validation_tasks, the unconditioned policy of the step with the best validation is kept as a fallback:
// training on makes generated policies better where a task resembles those trained on, and worse elsewhere.
// The validation is the squared error of the actions of policies sampled without a condition for 8 prompts of
// each validation task, always the same ones and with the same noise. It is a candidate where `guidance`
// makes several.
struct BehaviorRecipe : FitOptions {
  // Of its two stages.
  EmbedderOptions embedder;
  BehaviorOptions behavior;
  // The generator's file holds the policies that made the training trajectories, without those that ever
  // failed, for GenerateOptions::look_up; of many, 16 million weights.
  bool keep_policies = true;

  BehaviorRecipe() {
    const auto train = [](Index steps, Index batch) {
      return TrainOptions{.steps = steps,
                          .batch = batch,
                          .learning_rate = {.base = 1e-3, .warmup = std::min<Index>(100, steps / 10)},
                          .weight_decay = 1e-4,
                          .clip_norm = 1,
                          .ema = 0.999};
    };
    embedder = {.train = train(300, 256),
                .temperature = 10,
                .symmetric = true,
                .same_task_positives = true,
                .feature_noise = 0.05};
    behavior.train = train(800, 24);
    diffusion = {.prediction_type = PredictionType::sample, .clip_range = 4};
    sampling.spacing = TimestepSpacing::linspace;
    validation_fraction = 0;  // no stage validates on runs
  }

  // What it takes of a data set.
  DataUse data_use() const { return {.styles = behavior.styles}; }
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    FitOptions::describe(visit, self);
    visit("embedder", self.embedder);
    visit("behavior", self.behavior);
    visit("keep_policies", self.keep_policies);
  }
};

MAA_NAMESPACE_END
