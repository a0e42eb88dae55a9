// Latents from conditions: the sampling that deployment does and that validation measures.
#pragma once

#include <maa/generator/state.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Draws normalised latents [prompts, tokens, latent_size] for conditions [prompts, condition_size], one
// stream of random numbers for each. guidance 0: without the condition; above 1: classifier-free guidance.
// Returns false if `progress` stopped it.
template <class Network, class Config, class Backend>
bool sample_latents(
    const Backend& backend,
    const typename GeneratorModel<Network, Config>::DenoiserModel::template Weights<const float>& w,
    const DiffusionOptions& diffusion, const SamplingOptions& sampling, double guidance,
    MatrixView<const float> condition, std::span<Rng> streams, SequenceView<float> latent,
    Workspace& workspace, const SamplingProgress& progress = {}) {
  using Denoiser = typename GeneratorModel<Network, Config>::DenoiserModel;
  const DiffusionSchedule schedule(diffusion);
  const auto visited = schedule.timesteps(sampling.steps, sampling.spacing);
  const auto denoiser = [&](MatrixView<const float> with) {
    const auto modulation = Denoiser::modulation(backend, w, visited, with, workspace);
    return [&, modulation](MatrixView<const float> x, std::span<const Index> timesteps,
                           MatrixView<float> prediction) {
      const Workspace::Scope scope(workspace);
      const SequenceView<const float> noisy(x.data, x.rows, latent.length, latent.channels);
      const Index step = std::ranges::find(visited, timesteps[0]) - visited.begin();
      const auto output = Denoiser::infer(backend, w, noisy, modulation, step, workspace);
      copy_matrix(backend, output.per_sample(), prediction);
    };
  };
  const auto sample = [&](auto&& denoise) {
    return draw_samples<float>(schedule, sampling, streams, latent.per_sample(), denoise, progress);
  };
  if (guidance == 1) {
    return sample(denoiser(condition));
  }
  const auto none = workspace.matrix<float>(condition.rows, condition.cols);
  fill_zero(backend, none);
  if (guidance == 0) {
    return sample(denoiser(none));
  }
  return sample(guided_denoiser<float>(denoiser(condition), denoiser(none), guidance));
}

}  // namespace detail
MAA_NAMESPACE_END
