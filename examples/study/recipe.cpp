#include "recipe.hpp"

#include <algorithm>

namespace maa::examples::study {
namespace {

void set_steps(TrainOptions& train, Index steps) {
  train.steps = steps;
  train.learning_rate.warmup = std::min<Index>(100, steps / 10);
}

FitOptions standard(const Options& options) {
  auto result = FitOptions::fixed();
  set_steps(result.embedder.train, options.training.embedder_steps);
  set_steps(result.behavior.train, options.training.behavior_steps);
  return result;
}

FitOptions weights(const Options& options) {
  auto result = standard(options);
  set_steps(result.autoencoder.train, 2000);
  set_steps(result.denoiser.train, 3000);
  set_steps(result.behavior.train, 0);
  return result;
}

// Steps follow from the numbers of policies and prompts, so that epochs are the paper's.
FitOptions paper(Recipe recipe, const Options& options, const Dataset& dataset) {
  const auto prompts = std::ranges::count_if(
      dataset.trajectories, [](const Trajectory& trajectory) { return trajectory.success_step.has_value(); });
  auto result = recipe == Recipe::paper ? FitOptions::paper(dataset.policy_count(), prompts)
                                        : FitOptions::reference(dataset.policy_count(), prompts);
  for (auto* train : {&result.autoencoder.train, &result.embedder.train, &result.denoiser.train}) {
    const double steps = options.training.epoch_share * static_cast<double>(train->steps);
    train->steps = std::max<Index>(1, static_cast<Index>(steps));
    train->learning_rate.warmup = std::min(train->learning_rate.warmup, train->steps / 2);
  }
  return result;
}

}  // namespace

FitOptions fit_options(Recipe recipe, const TrainingRun& run) {
  const auto& options = run.options;
  auto result = recipe == Recipe::standard  ? standard(options)
                : recipe == Recipe::weights ? weights(options)
                                            : paper(recipe, options, run.dataset);
  result.seed = seed_for(options, Purpose::fit);
  result.checkpoint = run.checkpoint;
  result.condition = options.training.condition;
  auto& behavior = result.behavior;
  behavior.augmentation = reflect_and_translate(symmetry_of(options, run.interface));
  behavior.demonstrations = options.training.demonstrations;
  behavior.huber_width = options.training.huber_width;
  if (options.training.corrective) {
    behavior.restoring_pairs = run.interface.corrective;
  }
  behavior.validation_tasks = options.tasks.validation;
  if (!run.conditioned) {
    behavior.condition_dropout = result.denoiser.condition_dropout = 1;
  }
  return result;
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
  return
      [symmetry = std::move(symmetry)](Rng rng, MatrixView<float> observations, MatrixView<float> actions) {
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
      };
}

}  // namespace maa::examples::study
