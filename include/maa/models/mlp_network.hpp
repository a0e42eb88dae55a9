// The description of an MLP policy: sizes, layers, heads, and what follows from them.
#pragma once

#include <maa/backend/mlp_layout.hpp>
#include <maa/nn/layers.hpp>

#include <array>

MAA_NAMESPACE_BEGIN

// A fully connected hidden layer of `size` units followed by an activation.
template <Index Size, Activation Act>
struct Hidden {
  static constexpr Index size = Size;
  static constexpr Activation activation = Act;
};

// One or more of them, the first reads observations: their count, sizes and activations.
template <class... Layers>
struct HiddenLayers {
  static_assert(sizeof...(Layers) >= 1, "a policy has at least one hidden layer");
  static constexpr Index count = sizeof...(Layers);
  static constexpr std::array<Index, sizeof...(Layers)> sizes{Layers::size...};
  static constexpr std::array<Activation, sizeof...(Layers)> activations{Layers::activation...};
};

// Both heads are linear maps of the last hidden layer.
enum class Heads { mean, mean_and_log_std };
constexpr std::array<std::string_view, 2> names_of(Heads) {
  return {"mean", "mean_and_log_std"};
}
// What is applied to the mean head (and to samples) to give an action, before the action box. clip: to [-1,
// 1], as actors without a squashing layer are run (Stable-Baselines3's PPO); training sees the numbers before
// it.
enum class Squash { none, tanh, clip };
constexpr std::array<std::string_view, 3> names_of(Squash) {
  return {"none", "tanh", "clip"};
}
// How the flat vector is cut for the parameter autoencoder. heads_with_last_hidden: one token per hidden
// layer, the heads joined to the last. by_layer: the heads are a token of their own.
enum class Tokens { heads_with_last_hidden, by_layer };
constexpr std::array<std::string_view, 2> names_of(Tokens) {
  return {"heads_with_last_hidden", "by_layer"};
}

// The network as a description without data. Flat order: hidden layers, mean head, log_std head; each
// row-major [out, in] weight, then bias.
template <Index Observations, Index Actions, class HiddenLayersT, Heads heads_ = Heads::mean_and_log_std,
          Squash squash_ = Squash::tanh, Tokens tokens_ = Tokens::heads_with_last_hidden>
struct MlpNetwork {
  // What it is made of.
  static constexpr Index observation_size = Observations;
  static constexpr Index action_size = Actions;
  static constexpr Heads heads = heads_;
  static constexpr Squash squash = squash_;
  static constexpr Index hidden_count = HiddenLayersT::count;
  static constexpr auto hidden_sizes = HiddenLayersT::sizes;
  static constexpr auto hidden_activations = HiddenLayersT::activations;
  static constexpr Index last_hidden = hidden_sizes[hidden_count - 1];
  static constexpr bool has_log_std = heads == Heads::mean_and_log_std;

  // Its tensors: those of hidden layers, of the mean head and of the log_std head.
  template <class T>
  struct Weights {
    std::array<WeightAndBias<T>, static_cast<std::size_t>(hidden_count)> layers;
    WeightAndBias<T> mean;
    WeightAndBias<T> log_std;  // unset without that head
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_hidden<At>(visit, w...), ...);
    }
    (std::make_index_sequence<static_cast<std::size_t>(hidden_count)>{});
    visit.template child<Linear<last_hidden, Actions>>("mean", w.mean...);
    if constexpr (has_log_std) {
      visit.template child<Linear<last_hidden, Actions>>("log_std", w.log_std...);
    }
  }

  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("observations", observation_size);
    visit("actions", action_size);
    visit("hidden", hidden_sizes);
    visit("activations", hidden_activations);
    visit("heads", heads);
    visit("squash", squash);
    visit("tokens", tokens_);
  }

  // How many parts the flat vector is cut into.
  static constexpr Index token_count = hidden_count + (tokens_ == Tokens::by_layer ? 1 : 0);
  // Parameters per token; they sum to parameter_count<MlpNetwork>.
  static constexpr std::array<Index, static_cast<std::size_t>(token_count)> token_sizes = [] {
    std::array<Index, static_cast<std::size_t>(token_count)> sizes{};
    Index inputs = Observations;
    for (std::size_t i = 0; i < hidden_sizes.size(); ++i) {
      sizes[i] = (inputs + 1) * hidden_sizes[i];
      inputs = hidden_sizes[i];
    }
    sizes[sizes.size() - 1] += (inputs + 1) * Actions * (has_log_std ? 2 : 1);
    return sizes;
  }();

  // The same description at run time, for ops on batches of policies.
  static MlpLayout layout() {
    MlpLayout layout;
    Index offset = 0;
    const auto next = [&](Index in, Index out, Activation activation) {
      const MlpLayout::Linear linear{in, out, offset, offset + in * out, activation};
      offset += (in + 1) * out;
      return linear;
    };
    Index inputs = Observations;
    for (std::size_t i = 0; i < hidden_sizes.size(); ++i) {
      layout.hidden.push_back(next(inputs, hidden_sizes[i], hidden_activations[i]));
      inputs = hidden_sizes[i];
    }
    layout.mean = next(inputs, Actions, Activation::identity);
    if constexpr (has_log_std) {
      layout.log_std = next(inputs, Actions, Activation::identity);
    }
    layout.parameter_count = offset;
    return layout;
  }

 private:
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_hidden(Visitor& visit, W&... w) {
    constexpr Index inputs = At == 0 ? Observations : hidden_sizes[At == 0 ? 0 : At - 1];
    visit.template child<Linear<inputs, hidden_sizes[At]>>("layers", static_cast<Index>(At),
                                                           std::get<At>(w.layers)...);
  }
};

// The networks of the paper's three domains (Table 1).
using MetaWorldNetwork =
    MlpNetwork<39, 4, HiddenLayers<Hidden<128, Activation::elu>, Hidden<128, Activation::relu>>>;
using RobosuiteNetwork =
    MlpNetwork<41, 8, HiddenLayers<Hidden<128, Activation::elu>, Hidden<128, Activation::relu>>>;
using QuadrupedNetwork =
    MlpNetwork<256, 12, HiddenLayers<Hidden<128, Activation::elu>, Hidden<128, Activation::elu>>, Heads::mean,
               Squash::none, Tokens::by_layer>;

MAA_NAMESPACE_END
