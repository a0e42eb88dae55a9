#include "paper_models.hpp"

#include "model_of.hpp"

namespace maa::examples {
namespace {

// Steps follow from the numbers of policies and prompts, so that epochs are the paper's.
template <class Config, FitOptions (*settings)(Index policies, Index prompts)>
constexpr study::ModelFactory factory{
    [](const study::Options& options, const Dataset& dataset, bool conditioned,
       const std::filesystem::path& checkpoint, study::TrainingLog& log) {
      const auto prompts = std::ranges::count_if(dataset.trajectories, [](const Trajectory& trajectory) {
        return trajectory.success_step.has_value();
      });
      return study::ModelOf<Config>::fit(options, settings(dataset.policy_count(), prompts), dataset,
                                         conditioned, checkpoint, log);
    },
    &study::ModelOf<Config>::load};

}  // namespace

const study::ModelFactory paper_models = factory<PaperConfig, &FitOptions::paper>;
const study::ModelFactory reference_models = factory<ReferenceConfig, &FitOptions::reference>;

}  // namespace maa::examples
