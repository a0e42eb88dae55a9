// A policy as exports see it, whatever its type.
#pragma once

#include <maa/backend/mlp_layout.hpp>
#include <maa/data/policy_interface.hpp>

MAA_NAMESPACE_BEGIN

// action = centre + half_width * squash(network(clamp((x - mean) * scale, -clip, clip))). Views of a policy
// that must outlive it.
struct ExportedPolicy {
  MlpLayout layout;
  Squash squash = Squash::none;
  std::span<const float> weights;
  std::span<const float> centre, half_width;  // [actions]
  std::span<const float> mean, scale;         // [observations], or none: the network reads x
  float clip = 0;                             // no_clip: not clipped

  template <class Network, Storage storage>
  explicit ExportedPolicy(const MlpPolicy<Network, storage>& policy)
      : layout(Network::layout()),
        squash(Network::squash),
        weights(policy.weights()),
        centre(policy.box().centre),
        half_width(policy.box().half_width),
        clip(policy.scaling().clip) {
    if (policy.scaling() != typename MlpPolicy<Network, storage>::Scaling()) {
      mean = policy.scaling().mean;
      scale = policy.scaling().scale;
    }
  }

  Index observations() const { return layout.hidden.front().in; }
  Index actions() const { return layout.mean.out; }
  // The hidden layers and the mean head.
  std::vector<MlpLayout::Linear> layers() const {
    auto all = layout.hidden;
    all.push_back(layout.mean);
    return all;
  }
  std::span<const float> weight(const MlpLayout::Linear& layer) const {
    return weights.subspan(static_cast<std::size_t>(layer.weight_offset),
                           static_cast<std::size_t>(layer.in * layer.out));
  }
  std::span<const float> bias(const MlpLayout::Linear& layer) const {
    return weights.subspan(static_cast<std::size_t>(layer.bias_offset), static_cast<std::size_t>(layer.out));
  }
};

MAA_NAMESPACE_END
