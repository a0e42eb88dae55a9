// The description of an MLP policy: sizes, layers, heads, and what follows from them.
#pragma once

#include <maa/backend/mlp_layout.hpp>
#include <maa/nn/layers.hpp>

#include <array>
#include <vector>

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

namespace detail {

// What follows from a network's sizes, activations, squashing and tokens, which Shape names.
template <class Shape>
constexpr Index token_count() {
  return Shape::hidden_count + (Shape::tokens == Tokens::by_layer ? 1 : 0);
}
template <class Shape, std::size_t token>
constexpr Index token_size() {
  const auto inputs_of = [](std::size_t layer) {
    return layer == 0 ? Index(Shape::observation_size) : Index(Shape::hidden_sizes[layer - 1]);
  };
  const auto layers = static_cast<std::size_t>(Index(Shape::hidden_count));
  const Index heads =
      (inputs_of(layers) + 1) * Index(Shape::action_size) * (Shape::heads == Heads::mean_and_log_std ? 2 : 1);
  const Index layer = token < layers ? (inputs_of(token) + 1) * Index(Shape::hidden_sizes[token]) : 0;
  const bool with_heads = token + 1 == layers + (Shape::tokens == Tokens::by_layer ? 1 : 0);
  return layer + (with_heads ? heads : 0);
}
template <class Shape>
constexpr Index last_hidden() {
  return Shape::hidden_sizes[static_cast<std::size_t>(Shape::hidden_count - 1)];
}
// Whether there is a log_std head, where only a running program knows.
template <class Shape>
struct HasLogStd {
  operator bool() const { return Shape::heads == Heads::mean_and_log_std; }
};

template <class Shape>
struct DescribedMlp {
  static constexpr std::size_t most_hidden = Shape::hidden_sizes.size();
  // Whether all of it is known to the compiler.
  static constexpr bool is_fixed = Shape::is_fixed;
  // What it is made of. Arrays have room for the most hidden layers that it may have.
  static constexpr auto observation_size = Shape::observation_size;
  static constexpr auto action_size = Shape::action_size;
  static constexpr const Heads& heads = Shape::heads;
  static constexpr const Squash& squash = Shape::squash;
  static constexpr auto hidden_count = Shape::hidden_count;
  static constexpr auto hidden_sizes = Shape::hidden_sizes;
  static constexpr const auto& hidden_activations = Shape::hidden_activations;
  static constexpr auto last_hidden = extent_of<!is_fixed, &detail::last_hidden<Shape>>();
  static constexpr auto has_log_std = [] {
    if constexpr (is_fixed) {
      return heads == Heads::mean_and_log_std;
    } else {
      return HasLogStd<Shape>();
    }
  }();
  static constexpr bool may_have_log_std = !is_fixed || heads == Heads::mean_and_log_std;
  static constexpr const Tokens& tokens = Shape::tokens;

  // Squashing as an activation of the mean head; clipping, which training does not see, is none.
  static constexpr Activation squashing() {
    return squash == Squash::tanh ? Activation::tanh : Activation::identity;
  }

  // Its tensors: those of hidden layers, of the mean head and of the log_std head.
  template <class T>
  struct Weights {
    std::array<WeightAndBias<T>, most_hidden> layers;
    WeightAndBias<T> mean;
    WeightAndBias<T> log_std;  // unset without that head
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      ((static_cast<Index>(At) < hidden_count ? describe_hidden<At>(visit, w...) : void()), ...);
    }
    (std::make_index_sequence<most_hidden>{});
    visit.template child<Linear<last_hidden, action_size>>("mean", w.mean...);
    if constexpr (may_have_log_std) {
      if (has_log_std) {
        visit.template child<Linear<last_hidden, action_size>>("log_std", w.log_std...);
      }
    }
  }

  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("observations", Index(observation_size));
    visit("actions", Index(action_size));
    visit("hidden", std::vector<Index>(hidden_sizes.begin(), hidden_sizes.begin() + hidden_count));
    visit("activations",
          std::vector<Activation>(hidden_activations.begin(), hidden_activations.begin() + hidden_count));
    visit("heads", heads);
    visit("squash", squash);
    visit("tokens", tokens);
  }

  // How many parts the flat vector is cut into.
  static constexpr auto token_count = extent_of<!is_fixed, &detail::token_count<Shape>>();
  // Parameters per token; they sum to parameter_count of the network.
  static constexpr auto token_sizes = []<std::size_t... At>(std::index_sequence<At...>) {
    return std::array{extent_of<!is_fixed, &token_size<Shape, At>>()...};
  }
  (std::make_index_sequence<most_hidden + (!is_fixed || tokens == Tokens::by_layer ? 1 : 0)>{});

  // The same description at run time, for ops on batches of policies.
  static MlpLayout layout() {
    MlpLayout layout;
    Index offset = 0;
    const auto next = [&](Index in, Index out, Activation activation) {
      const MlpLayout::Linear linear{in, out, offset, offset + in * out, activation};
      offset += (in + 1) * out;
      return linear;
    };
    Index inputs = observation_size;
    for (std::size_t i = 0; static_cast<Index>(i) < hidden_count; ++i) {
      layout.hidden.push_back(next(inputs, hidden_sizes[i], hidden_activations[i]));
      inputs = hidden_sizes[i];
    }
    layout.mean = next(inputs, action_size, Activation::identity);
    if (has_log_std) {
      layout.log_std = next(inputs, action_size, Activation::identity);
    }
    layout.parameter_count = offset;
    return layout;
  }

 private:
  template <std::size_t At>
  static constexpr auto inputs() {
    if constexpr (At == 0) {
      return observation_size;
    } else {
      return hidden_sizes[At - 1];
    }
  }
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_hidden(Visitor& visit, W&... w) {
    visit.template child<Linear<inputs<At>(), hidden_sizes[At]>>("layers", static_cast<Index>(At),
                                                                 w.layers[At]...);
  }
};

template <Index Observations, Index Actions, class HiddenLayersT, Heads heads_, Squash squash_,
          Tokens tokens_>
struct FixedShape {
  static constexpr bool is_fixed = true;
  static constexpr Index observation_size = Observations;
  static constexpr Index action_size = Actions;
  static constexpr Index hidden_count = HiddenLayersT::count;
  static constexpr auto hidden_sizes = HiddenLayersT::sizes;
  static constexpr auto hidden_activations = HiddenLayersT::activations;
  static constexpr Heads heads = heads_;
  static constexpr Squash squash = squash_;
  static constexpr Tokens tokens = tokens_;
};

}  // namespace detail

// The network as a description without data. Flat order: hidden layers, mean head, log_std head; each
// row-major [out, in] weight, then bias. Sizes that only a running program knows: models/runtime_policy.hpp.
template <Index Observations, Index Actions, class HiddenLayersT, Heads heads_ = Heads::mean_and_log_std,
          Squash squash_ = Squash::tanh, Tokens tokens_ = Tokens::heads_with_last_hidden>
struct MlpNetwork : detail::DescribedMlp<
                        detail::FixedShape<Observations, Actions, HiddenLayersT, heads_, squash_, tokens_>> {
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
