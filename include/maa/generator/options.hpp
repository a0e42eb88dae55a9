// What all recipes of training share, and the run-time choices of generation.
#pragma once

#include <maa/backend/precision.hpp>
#include <maa/core/rng.hpp>
#include <maa/data/corrective_augmentation.hpp>
#include <maa/data/prompt_features.hpp>
#include <maa/data/styles.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/generator/polish.hpp>
#include <maa/train/trainer.hpp>

#include <filesystem>

MAA_NAMESPACE_BEGIN

// One random transform (`apply`) of rows of observations and actions (either may have no rows), drawn from
// `rng`: equal generators mean the same transform. Domain knowledge of the caller, who names it (not "none"):
// a checkpoint's training goes on only with an augmentation of the same name.
struct Augmentation {
  std::string name = "none";
  std::function<void(Rng rng, MatrixView<float> observations, MatrixView<float> actions)> apply = {};
};

// How numbers are mapped to the range that networks see. limits: to [-1, 1] by the least and the largest;
// standard: to mean 0 and deviation 1.
enum class Scaling { limits, standard };
constexpr std::array<std::string_view, 2> names_of(Scaling) {
  return {"limits", "standard"};
}

// How much the condition may count, and from how many candidates generate() may choose: each costs the time
// and the memory of another.
inline constexpr Limits guidance_limits = between(-100, 100).up_to(100);

// What a recipe takes of a data set.
struct DataUse {
  Scaling scaling = Scaling::standard;  // of prompts
  bool needs_policies = false;          // trajectories alone are an Error
  bool paper_prompts = false;           // PromptShape::paper_needs() whatever the shape
  bool raw_prompts = false;             // models see prompts as they are
  Styles styles = Styles::task;         // whose trajectories are shown and asked about together
};

// What Generator::fit does whatever the recipe; recipes derive from it (behavior_recipe.hpp, the default, and
// paper_recipe.hpp).
struct FitOptions {
  std::uint64_t seed = 0;  // equal seeds give equal bits
  // Of the embeddings that Config::condition has, those that the denoiser sees; the others are zeros to it.
  // With h alone prompts need no success, in training and at run time.
  ConditionParts condition = ConditionParts::both;
  DiffusionOptions diffusion;
  // The defaults of generate().
  SamplingOptions sampling;
  std::vector<double> guidance = {1};
  double validation_fraction = 0.1;  // of the (task, run) pairs
  // Names of whole tasks to validate on: no stage and no normaliser sees their trajectories, and policies of
  // these tasks are ignored. Error for a name that the dataset lacks or that comes twice.
  std::vector<std::string> validation_tasks;
  Index validation_every = 100;  // steps; and after a stage's last
  // If set, training state is written here every `checkpoint_every` steps, after a stage's last, and when
  // stopped; if the file exists, training goes on from it, to the same bits as without the stop (with the
  // same instruction set). Finished, it stays, and fit() with it returns at once: remove it when the
  // generator is saved. Error if the file was written for other data, another model or other options, each of
  // which is named; these two may differ.
  std::filesystem::path checkpoint;
  Index checkpoint_every = 500;
  // Error before training if the policies do not do what the trajectories show (data/dataset_check.hpp).
  bool check = true;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("seed", self.seed);
    visit("condition", self.condition);
    visit("diffusion", self.diffusion);
    visit("sampling", self.sampling);
    visit("guidance", guidance_limits, self.guidance);
    visit("validation_fraction", share(), self.validation_fraction);
    visit("validation_tasks", self.validation_tasks);
    visit("validation_every", at_least(1), self.validation_every);
    visit("check", self.check);
  }
};

// The contrastive stage that embeds trajectories (eq. 7), of every recipe.
struct EmbedderOptions {
  TrainOptions train;                // batch: prompts per step
  double temperature = 1;            // by which logits are divided
  bool symmetric = false;            // h -> v and v -> h
  bool same_task_positives = false;  // all pairs of a task are right answers, not only the diagonal
  double feature_noise = 0;          // standard deviation, added to normalised features

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("train", self.train);
    visit("temperature", positive(), self.temperature);
    visit("symmetric", self.symmetric);
    visit("same_task_positives", self.same_task_positives);
    visit("feature_noise", not_negative(), self.feature_noise);
  }
};

// How Generator::generate makes policies.
struct GenerateOptions {
  Index count = 1;                      // policies per prompt
  Index demonstrations_per_prompt = 1;  // for generate_each(): so many in a row make one prompt
  std::uint64_t seed = 0;               // equal seeds give equal policies
  // How much the condition counts: 0 not at all, above 1 more than trained (all but 1 want training with
  // condition_dropout). Of several, a candidate is made with each, and the one is returned by which the
  // evidence of the prompt is greatest. Empty: the generator's own choice (FitOptions::guidance; of a
  // single one another for unknown prompts, if validation tasks said so) and, if
  // those are several, its fallback where it has one (BehaviorRecipe); the first is then returned unless
  // another's evidence exceeds its by more than it does for nearly all prompts of training.
  std::vector<double> guidance = {};
  // For prompts like those trained on (Generator::novelty up to 1) heads are fitted as of known ones
  // (HeadFit): the condition knows their tasks, where one demonstration says how to act in one scene alone.
  bool trust_known = true;
  // The first policy of a prompt is one that the generator keeps of the data set
  // (BehaviorRecipe::keep_policies) if that acts more like the prompt: a checkpoint of the zoo shown is best
  // answered by itself.
  bool look_up = true;
  // Of several policies for a prompt, the first has the likeliest head; those of the others are drawn from
  // what the prompt leaves open (models/bayesian_head.hpp), with so many times its deviation. 0: all alike.
  double spread = 0.5;
  bool fit_head = true;       // false leaves the heads of a configuration that fits them as generated
  PolishOptions polish = {};  // fine-tunes the policies on their prompt; off
  // Of the denoiser and the decoder. Each precision that is used keeps its own packed copy of their weights,
  // made at its first use.
  Precision precision = Precision::fp32;
  // Otherwise the generator's own choices.
  std::optional<SamplingOptions> sampling = std::nullopt;
  // Of each candidate's sampling, then of polishing. May stop: generate then throws.
  SamplingProgress progress = {};

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("count", between(1, 1'000'000), self.count);
    visit("demonstrations_per_prompt", between(1, 1'000'000), self.demonstrations_per_prompt);
    visit("seed", self.seed);
    visit("guidance", guidance_limits, self.guidance);
    visit("trust_known", self.trust_known);
    visit("look_up", self.look_up);
    visit("spread", between(0, 100), self.spread);
    visit("fit_head", self.fit_head);
    visit("polish", self.polish);
    visit("precision", self.precision);
  }
};

MAA_NAMESPACE_END
