// A baseline's backbone: a hypernetwork. An MLP maps the condition to the latent that is decoded to a policy;
// nothing is diffused, so the noisy latent and the timestep are not looked at.
#pragma once

#include <maa/generator/config.hpp>
#include <maa/models/denoiser.hpp>
#include <maa/nn/sequential.hpp>

namespace maa::examples::study {

// Meets models/denoiser.hpp's concept, for latents of `Length` positions.
template <Index Channels, Index Condition, Index Length>
struct Hypernetwork {
  static constexpr Index latent_channels = Channels;
  static constexpr Index condition_size = Condition;
  static constexpr Index hidden = 512;
  using Map =
      Sequential<Linear<Condition, hidden>, Activate<hidden, Activation::relu>, Linear<hidden, hidden>,
                 Activate<hidden, Activation::relu>, Linear<hidden, Length * Channels>>;

  template <class T>
  using Weights = typename Map::template Weights<T>;
  template <class T>
  struct Saved {
    typename Map::template Saved<T> map;
    SequenceView<T> output;
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Map>("map", w...);
  }
  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("kind", std::string_view("hypernetwork"));
    visit("hidden", hidden);
  }

  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                          std::span<const Index>, MatrixView<const T> condition,
                          WorkspaceOf<Backend>& workspace) {
    const auto map = Map::forward(backend, w, condition, workspace);
    return {map, SequenceView<T>(map.output().data, x.batch, x.length, x.channels)};
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       SequenceView<const T> doutput, const Weights<T>& gradients, MatrixView<T> dcondition,
                       SequenceView<T> dx, WorkspaceOf<Backend>& workspace) {
    Map::backward(backend, w, saved.map, doutput.per_sample(), gradients, dcondition, workspace);
    if (dx.data) {
      fill_zero(backend, dx.per_sample());
    }
  }
  template <class Backend, class T>
  static MatrixView<const T> modulation(const Backend&, const Weights<const T>&, std::span<const Index>,
                                        MatrixView<const T> condition, WorkspaceOf<Backend>&) {
    return condition;
  }
  template <class Backend, class T>
  static SequenceView<T> infer(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                               MatrixView<const T> condition, Index, WorkspaceOf<Backend>& workspace) {
    return forward(backend, w, x, {}, condition, workspace).output;
  }
};

// The library's default with a hypernetwork in the UNet's place.
template <class Network>
struct HypernetworkConfig : DefaultConfig {
  template <Index Latent, Index Condition>
  using Denoiser = Hypernetwork<Latent, Condition, Network::token_count>;
};

}  // namespace maa::examples::study
