#include "model_of.hpp"

namespace maa::examples::study {

FitOptions fixed_options(const Options& options) {
  auto settings = FitOptions::fixed();
  const auto set = [](TrainOptions& train, Index steps) {
    train.steps = steps;
    train.learning_rate.warmup = std::min<Index>(100, steps / 10);
  };
  set(settings.autoencoder.train, options.autoencoder_steps);
  set(settings.embedder.train, options.embedder_steps);
  set(settings.denoiser.train, options.denoiser_steps);
  set(settings.behavior.train, options.behavior_steps);
  return settings;
}

const ModelFactory fixed_models = fixed_factory<cpu::Backend>;

}  // namespace maa::examples::study
