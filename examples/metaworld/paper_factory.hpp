// Training in the sizes of the paper and of its public code, on any backend. Including this compiles the
// library's training code.
#pragma once

#include <algorithm>

#include <maa/generator/paper_training.hpp>

#include "model_of.hpp"

namespace maa::examples {

// Steps follow from the numbers of policies and prompts, so that epochs are the paper's, or the share of them
// that was asked for.
template <class Config, PaperRecipe (*recipe_for)(Index policies, Index prompts), class Backend>
constexpr study::ModelFactory paper_factory{
    [](const study::Options& options, const Dataset& dataset, bool conditioned,
       const std::filesystem::path& checkpoint, study::TrainingLog& log) {
      const auto prompts = std::ranges::count_if(dataset.trajectories, [](const Trajectory& trajectory) {
        return trajectory.success_step.has_value();
      });
      auto recipe = recipe_for(dataset.policy_count(), prompts);
      for (auto* train : {&recipe.autoencoder.train, &recipe.embedder.train, &recipe.denoiser.train}) {
        const double steps = options.epoch_share * static_cast<double>(train->steps);
        train->steps = std::max<Index>(1, static_cast<Index>(steps));
        train->learning_rate.warmup = std::min(train->learning_rate.warmup, train->steps / 2);
      }
      recipe.denoiser.condition_dropout = conditioned ? 0 : 1;
      return study::ModelOf<Config, Backend>::fit(options, recipe, dataset, checkpoint, log);
    },
    &study::ModelOf<Config, Backend>::load};

}  // namespace maa::examples
