// Training in the sizes of the paper and of its public code, on any backend. Including this compiles the library's
// training code.
#pragma once

#include <algorithm>

#include "model_of.hpp"

namespace maa::examples {

// Steps follow from the numbers of policies and prompts, so that epochs are the paper's.
template <class Config, FitOptions (*settings)(Index policies, Index prompts), class Backend>
constexpr study::ModelFactory paper_factory{
    [](const study::Options& options, const Dataset& dataset, bool conditioned,
       const std::filesystem::path& checkpoint, study::TrainingLog& log) {
      const auto prompts = std::ranges::count_if(dataset.trajectories, [](const Trajectory& trajectory) {
        return trajectory.success_step.has_value();
      });
      return study::ModelOf<Config, Backend>::fit(options, settings(dataset.policy_count(), prompts), dataset,
                                                  conditioned, checkpoint, log);
    },
    &study::ModelOf<Config, Backend>::load};

}  // namespace maa::examples
