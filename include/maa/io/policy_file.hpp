// Policies as safetensors files, one tensor per layer with PyTorch's names.
#pragma once

#include <maa/data/policy_interface.hpp>
#include <maa/io/parameters.hpp>
#include <maa/models/policy_shape.hpp>

MAA_NAMESPACE_BEGIN

namespace detail {

inline constexpr std::string_view policy_format = "maa policy 1";

}  // namespace detail

// Tensors layers.0.weight, layers.0.bias, ..., mean.weight, mean.bias, log_std.*, and those of its interface
// (add_interface). Metadata: the network's structure. Atomic. Error, and no file, for an interface that
// load_policy would refuse (PolicyInterface::validate).
template <class Network, Storage storage>
void save_policy(const std::filesystem::path& path, const MlpPolicy<Network, storage>& policy,
                 PolicyMetadata metadata = {}) {
  SafetensorsWriter writer;
  writer.set_metadata("format", std::string(detail::policy_format));
  detail::set_metadata(writer, detail::policy_fields(PolicyShape::of<Network>()));
  add_parameters(writer, tensors_of<Network>(), policy.weights());
  const auto interface = PolicyInterface::of(policy, std::move(metadata));
  interface.validate(Network::observation_size, Network::action_size, "save policy");
  add_interface(writer, interface, "");
  writer.write(path);
}

// Error names file and tensor if one is missing, has another shape, or holds NaN or infinity; if the file's
// metadata tells of another structure; and, unless they are allowed, if there are other tensors. A log_std
// head may be left out.
template <class PolicyT>
PolicyT load_policy(const std::filesystem::path& path, Unread unread = Unread::refuse) {
  using Network = typename PolicyT::Network;
  const SafetensorsReader reader(path);
  reader.require_format(detail::policy_format, true);
  const auto& metadata = reader.metadata();
  auto structure = detail::policy_fields(PolicyShape::of<Network>());
  std::erase_if(structure, [&](Field& field) {
    const auto found = metadata.find(field.name);
    if (!Network::has_log_std && field.name == "policy.heads" && found != metadata.end() &&
        found->second == detail::name_of(Heads::mean_and_log_std)) {
      field.text = found->second;
    }
    return found == metadata.end();
  });
  const auto different = differences(structure, metadata, detail::policy_prefix);
  require(different.empty(), "'", reader.path(),
          "': expected a policy of this program's type, found another: ", different);
  require(!Network::has_log_std || !reader.contains("mean.weight") || reader.contains("log_std.weight") ||
              reader.contains("log_std.bias"),
          "'", reader.path(),
          "': expected a log_std head, found none: a policy type with Heads::mean reads it");
  Buffer<float> weights(PolicyT::parameter_size);
  read_parameters(reader, tensors_of<Network>(), weights.span());
  const auto interface = read_interface(reader, Network::observation_size, Network::action_size, "");
  if (unread == Unread::refuse) {
    reader.require_all_read(Network::has_log_std ? "" : "log_std");
  }
  return PolicyT(weights.span(), interface.template box<PolicyT>(), interface.template scaling<PolicyT>());
}

// Of the policies of a generator that Generator::save, or of a policy that save_policy wrote. Error, which
// names the file, if it is neither.
inline PolicyShape load_policy_shape(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  const auto& metadata = reader.metadata();
  const std::string_view generator = "model.policy.";
  const auto prefix = metadata.contains(concatenate(generator, "hidden")) ? generator : detail::policy_prefix;
  require(metadata.contains(concatenate(prefix, "hidden")), "'", reader.path(),
          "': expected a generator or a policy that says what its layers are, found neither");
  return detail::read_policy_shape(metadata, prefix, concatenate("'", reader.path(), "'"));
}

// The metadata that save_policy was given.
inline PolicyMetadata load_policy_metadata(const std::filesystem::path& path) {
  PolicyMetadata metadata;
  const SafetensorsReader reader(path);
  for (const auto& [key, value] : reader.metadata()) {
    if (key.starts_with(detail::interface_prefix)) {
      metadata[key.substr(detail::interface_prefix.size())] = value;
    }
  }
  return metadata;
}

MAA_NAMESPACE_END
