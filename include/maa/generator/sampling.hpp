// Latents from conditions: the sampling that deployment does and that validation measures.
#pragma once

#include <maa/generator/state.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Draws normalised latents [prompts, tokens, latent_size] for conditions [prompts, condition_size], one
// stream of random numbers for each. guidance 0: without the condition; above 1: classifier-free guidance.
// Returns false if `progress` stopped it.
template <class Network, class Config, class Backend, class T>
bool sample_latents(
    const Backend& backend,
    const typename GeneratorModel<Network, Config>::DenoiserModel::template Weights<const T>& w,
    const DiffusionOptions& diffusion, const SamplingOptions& sampling, double guidance,
    MatrixView<const std::type_identity_t<T>> condition, std::span<Rng> streams, SequenceView<T> latent,
    WorkspaceOf<Backend>& workspace, const SamplingProgress& progress = {}) {
  using Denoiser = typename GeneratorModel<Network, Config>::DenoiserModel;
  const DiffusionSchedule schedule(diffusion);
  const auto visited = schedule.timesteps(sampling.steps, sampling.spacing);
  const auto denoiser = [&](MatrixView<const T> with) {
    const auto modulation = Denoiser::modulation(backend, w, visited, with, workspace);
    return
        [&, modulation](MatrixView<const T> x, std::span<const Index> timesteps, MatrixView<T> prediction) {
          const auto scope = workspace.scope();
          const SequenceView<const T> noisy(x.data, x.rows, latent.length, latent.channels);
          const Index step = std::ranges::find(visited, timesteps[0]) - visited.begin();
          const auto output = Denoiser::infer(backend, w, noisy, modulation, step, workspace);
          copy_matrix(backend, output.per_sample(), prediction);
        };
  };
  const auto sample = [&](auto&& denoise) {
    return draw_samples(backend, schedule, sampling, streams, latent.per_sample(), denoise, workspace,
                        progress);
  };
  if (guidance == 1) {
    return sample(denoiser(condition));
  }
  const auto none = workspace.template matrix<T>(condition.rows, condition.cols);
  fill_zero(backend, none);
  if (guidance == 0) {
    return sample(denoiser(none));
  }
  const auto scratch = workspace.template matrix<T>(condition.rows, latent.length * latent.channels);
  return sample(guided_denoiser(backend, denoiser(condition), denoiser(none), guidance, scratch));
}

}  // namespace detail
MAA_NAMESPACE_END
