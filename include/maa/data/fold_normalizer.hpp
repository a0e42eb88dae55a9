// A policy for normalised observations is, with other numbers in its first layer, one for raw observations.
#pragma once

#include <maa/data/normalizer.hpp>
#include <maa/models/mlp_network.hpp>

MAA_NAMESPACE_BEGIN

namespace detail {

// Calls body(weight row, bias) for every unit of the first hidden layer of weights [P].
template <class Network, class Body>
void for_first_layer(const Normalizer& observations, std::span<float> weights, const Body& body) {
  require(static_cast<Index>(weights.size()) == parameter_count<Network> &&
              observations.features() == Network::observation_size,
          "fold normalizer: expected ", parameter_count<Network>, " weights and ", Network::observation_size,
          " observations, found ", weights.size(), " and ", observations.features());
  const Index units = Network::hidden_sizes[0];
  float* bias = weights.data() + units * Network::observation_size;
  for (Index i = 0; i < units; ++i) {
    body(weights.data() + i * Network::observation_size, bias[i]);
  }
}

}  // namespace detail

// From weights [P] that read (o - offset) * scale to weights that read o and act the same, in place:
// W <- W diag(scale), b <- b - W offset with the new W. Exact up to rounding.
template <class Network>
void fold_normalizer(const Normalizer& observations, std::span<float> weights) {
  detail::for_first_layer<Network>(observations, weights, [&](float* row, float& bias) {
    double shift = 0;
    for (Index j = 0; j < Network::observation_size; ++j) {
      row[j] *= observations.scale[j];
      shift += static_cast<double>(row[j]) * static_cast<double>(observations.offset[j]);
    }
    bias = static_cast<float>(static_cast<double>(bias) - shift);
  });
}

// The inverse.
template <class Network>
void unfold_normalizer(const Normalizer& observations, std::span<float> weights) {
  detail::for_first_layer<Network>(observations, weights, [&](float* row, float& bias) {
    double shift = 0;
    for (Index j = 0; j < Network::observation_size; ++j) {
      shift += static_cast<double>(row[j]) * static_cast<double>(observations.offset[j]);
      row[j] /= observations.scale[j];
    }
    bias = static_cast<float>(static_cast<double>(bias) + shift);
  });
}

MAA_NAMESPACE_END
