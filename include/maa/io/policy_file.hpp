// Policies as safetensors files, one tensor per layer with PyTorch's names.
#pragma once

#include <maa/io/parameters.hpp>
#include <maa/models/policy.hpp>

MAA_NAMESPACE_BEGIN

// Tensors layers.0.weight, layers.0.bias, ..., mean.weight, mean.bias, log_std.*; action_centre and
// action_half_width [actions] if the action box is not [-1, 1]. Atomic.
template <class Network, Storage storage>
void save_policy(const std::filesystem::path& path, const MlpPolicy<Network, storage>& policy) {
  SafetensorsWriter writer;
  writer.set_metadata("format", "maa policy 1");
  add_parameters(writer, tensors_of<Network>(), policy.weights());
  if (policy.box() != ActionBox<Network::action_size>()) {
    writer.add("action_centre", {Network::action_size}, std::span<const float>(policy.box().centre));
    writer.add("action_half_width", {Network::action_size}, std::span<const float>(policy.box().half_width));
  }
  writer.write(path);
}

// Error names file and tensor if one is missing, has another shape, or holds NaN or infinity.
template <class PolicyT>
PolicyT load_policy(const std::filesystem::path& path) {
  using Network = typename PolicyT::Network;
  const SafetensorsReader reader(path);
  Buffer<float> weights(PolicyT::parameter_size);
  read_parameters(reader, tensors_of<Network>(), weights.span());
  typename PolicyT::Box box;
  if (reader.contains("action_centre") || reader.contains("action_half_width")) {
    const std::array<Index, 1> shape{Network::action_size};
    const auto centre = reader.template read_weights<float>("action_centre", shape);
    const auto half_width = reader.template read_weights<float>("action_half_width", shape);
    std::copy(centre.begin(), centre.end(), box.centre.begin());
    std::copy(half_width.begin(), half_width.end(), box.half_width.begin());
    box.check(reader.path());
  }
  return PolicyT(weights.span(), box);
}

MAA_NAMESPACE_END
