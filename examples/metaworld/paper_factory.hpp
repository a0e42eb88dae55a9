// Training in the sizes of the paper and of its public code, on any backend. Including this compiles the library's
// training code.
#pragma once

#include <algorithm>

#include "model_of.hpp"

namespace maa::examples {

// Steps follow from the numbers of policies and prompts, so that epochs are the paper's, or the share of them
// that was asked for.
template <class Config, FitOptions (*settings)(Index policies, Index prompts), class Backend>
constexpr study::ModelFactory paper_factory{
    [](const study::Options& options, const Dataset& dataset, bool conditioned,
       const std::filesystem::path& checkpoint, study::TrainingLog& log) {
      const auto prompts = std::ranges::count_if(dataset.trajectories, [](const Trajectory& trajectory) {
        return trajectory.success_step.has_value();
      });
      auto chosen = settings(dataset.policy_count(), prompts);
      for (auto* train : {&chosen.autoencoder.train, &chosen.embedder.train, &chosen.denoiser.train}) {
        const double steps = options.epoch_share * static_cast<double>(train->steps);
        train->steps = std::max<Index>(1, static_cast<Index>(steps));
        train->learning_rate.warmup = std::min(train->learning_rate.warmup, train->steps / 2);
      }
      return study::ModelOf<Config, Backend>::fit(options, chosen, dataset, conditioned, checkpoint, log);
    },
    &study::ModelOf<Config, Backend>::load};

}  // namespace maa::examples
