// The one path from latents to policies: the latents' scale -> decoder -> weights for normalised
// observations, and back.
#pragma once

#include <maa/generator/state.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Real>
struct LatentPath {
  using State = GeneratorState<Network, Config>;
  using Codec = typename State::Model::AutoencoderModel;

  struct Saved {
    typename Codec::template Decoded<Real> decoded;
    MatrixView<Real> policies() const { return decoded.parameters; }  // [policies, parameters]
  };

  // latents [policies, latent_numbers] as the denoiser sees them.
  template <class Backend>
  static Saved forward(const Backend& backend, const State& state,
                       const typename Codec::template Weights<const Real>& w, MatrixView<const Real> latents,
                       WorkspaceOf<Backend>& workspace) {
    const auto scaled =
        workspace.template sequence<Real>(latents.rows, Network::token_count, Config::latent_size);
    copy_matrix(backend, latents, scaled.per_sample());
    unstandardize_columns(backend, state.latent.offset.span(), state.latent.scale.span(),
                          scaled.per_sample());
    Saved saved{Codec::decode(backend, w, SequenceView<const Real>(scaled), workspace)};
    state.standardizer.to_normalized(backend, saved.policies());
    return saved;
  }

  // dpolicies (changed) -> the decoder's gradients, which accumulate, and dlatents (overwritten).
  template <class Backend>
  static void backward(const Backend& backend, const State& state,
                       const typename Codec::template Weights<const Real>& w, const Saved& saved,
                       MatrixView<Real> dpolicies, const typename Codec::template Weights<Real>& gradients,
                       MatrixView<Real> dlatents, WorkspaceOf<Backend>& workspace) {
    state.standardizer.to_normalized_backward(backend, dpolicies);
    const SequenceView<Real> sequence(dlatents.data, dlatents.rows, Network::token_count,
                                      Config::latent_size);
    Codec::decode_backward(backend, w, saved.decoded, MatrixView<const Real>(dpolicies), gradients, sequence,
                           workspace);
    const Workspace::Scope scope(thread_scratch());
    const auto factors = thread_scratch().span<float>(state.latent.features());
    std::ranges::transform(state.latent.scale, factors.begin(), [](float scale) { return 1.0f / scale; });
    scale_columns(backend, std::span<const float>(factors), dlatents);
  }
};

}  // namespace detail
MAA_NAMESPACE_END
