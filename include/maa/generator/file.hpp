// A generator as one safetensors file: all parameters with PyTorch's names, the normalisers, and the options
// that generation needs as metadata.
#pragma once

#include <maa/generator/state.hpp>
#include <maa/generator/training_run.hpp>
#include <maa/io/parameters.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// What a generator's numbers belong to and how they are used, as metadata.
inline constexpr std::string_view model_prefix = "model.";
inline constexpr std::string_view settings_prefix = "settings.";

// Error for texts that no file can hold.
template <class Network, class Config>
MAA_COLD SafetensorsWriter generator_metadata(const GeneratorState<Network, Config>& state) {
  SafetensorsWriter writer;
  writer.set_metadata("format", "maa generator 1");
  set_metadata(writer, structure_of<GeneratorModel<Network, Config>>(model_prefix));
  set_metadata(writer, fields_of(state.settings, settings_prefix));
  for (const auto& [key, value] : state.provenance) {
    writer.set_metadata("provenance." + key, value);
  }
  add_interface(writer, state.interface, interface_prefix);
  writer.check();
  return writer;
}

template <class Network, class Config>
MAA_COLD void save_generator(const std::filesystem::path& path,
                             const GeneratorState<Network, Config>& state) {
  auto writer = generator_metadata(state);
  add_parameters(writer, tensors_of<GeneratorModel<Network, Config>>(), state.parameters.span());
  const auto add = [&](const std::string& name, const Buffer<float>& values) {
    writer.add(name, {values.size()}, values.span());
  };
  const auto add_normalizer = [&](const std::string& name, const Normalizer& normalizer) {
    add(name + ".offset", normalizer.offset);
    add(name + ".scale", normalizer.scale);
  };
  add_normalizer("normalizer.observation", state.prompt_encoder.observation_normalizer());
  add_normalizer("normalizer.action", state.prompt_encoder.action_normalizer());
  add_normalizer("normalizer.policy_observation", state.standardizer.observations());
  add_normalizer("normalizer.latent", state.latent);
  add_normalizer("normalizer.condition", state.condition);
  add("standardizer.mean", state.standardizer.mean());
  add("standardizer.deviation", state.standardizer.deviation());
  add("fallback.policy", state.fallback_policy);
  add("fallback.head", state.fallback_head);
  add("choice.margins", state.choice_margins);
  const auto& known = state.known_prompts;
  constexpr Index condition_size = GeneratorModel<Network, Config>::condition_size;
  writer.add("known.conditions", {known.conditions().size() / condition_size, condition_size},
             known.conditions().span());
  writer.add_scalar("known.radius", known.radius());
  writer.add("kept.policies",
             {state.kept_policies.size() / parameter_count<Network>, parameter_count<Network>},
             state.kept_policies.span());
  writer.add_scalar("head.variance_scale", state.variance_scale);
  writer.write(path);
}

MAA_COLD inline std::string format_of(const SafetensorsReader& reader) {
  const auto found = reader.metadata().find("format");
  return found == reader.metadata().end() ? std::string("none") : found->second;
}

// A tensor of `size` numbers, or of none if it may be absent.
MAA_COLD inline Buffer<float> read_numbers(const SafetensorsReader& reader, const std::string& name,
                                           Index size, bool may_be_absent) {
  const auto& shape = reader.info(name).shape;
  const bool absent = may_be_absent && shape.size() == 1 && shape[0] == 0;
  const std::array<Index, 1> expected{absent ? 0 : size};
  return reader.template read_weights<float>(name, expected);
}

MAA_COLD inline Normalizer read_normalizer(const SafetensorsReader& reader, const std::string& name,
                                           Index size, bool may_be_absent) {
  Normalizer normalizer;
  normalizer.offset = read_numbers(reader, name + ".offset", size, may_be_absent);
  normalizer.scale = read_numbers(reader, name + ".scale", normalizer.offset.size(), false);
  return normalizer;
}

template <class Network, class Config>
MAA_COLD GeneratorState<Network, Config> load_generator(const std::filesystem::path& path, Unread unread) {
  using State = GeneratorState<Network, Config>;
  const SafetensorsReader reader(path);
  reader.require_format("maa generator 1");
  const auto different = differences(structure_of<GeneratorModel<Network, Config>>(model_prefix),
                                     reader.metadata(), model_prefix);
  require(different.empty(), reader.path(),
          ": expected a generator of this program's type, found another: ", different);
  State state;
  state.settings = read_fields<GenerationSettings>(reader.metadata(), reader.path(), settings_prefix);
  read_parameters(reader, tensors_of<GeneratorModel<Network, Config>>(), state.parameters.span());
  const auto read = [&](const std::string& name, Index size, bool may_be_absent) {
    return read_numbers(reader, name, size, may_be_absent);
  };
  const auto normalizer = [&](const std::string& name, Index size, bool may_be_absent) {
    return read_normalizer(reader, "normalizer." + name, size, may_be_absent);
  };
  state.prompt_encoder = PromptEncoder(
      Config::prompt, normalizer("observation", Network::observation_size, false),
      normalizer("action", Network::action_size, false), static_cast<float>(state.settings.prompt_limit));
  const Index parameters = parameter_count<Network>;
  state.standardizer = WeightStandardizer<Network>(
      normalizer("policy_observation", Network::observation_size, true),
      read("standardizer.mean", parameters, false), read("standardizer.deviation", parameters, false));
  for (const float deviation : state.standardizer.deviation()) {
    require(deviation >= 0, reader.path(), ": expected standardizer.deviation from 0 on, found ", deviation);
  }
  state.latent = normalizer("latent", State::Model::latent_numbers, false);
  state.fallback_policy = read("fallback.policy", parameters, true);
  state.fallback_head = read(
      "fallback.head",
      state.fallback_policy.empty() ? Index(0) : parameter_count<typename State::Model::HeadModel>, true);
  const auto candidates = std::ssize(state.settings.guidance) + (state.fallback_policy.empty() ? 0 : 1);
  state.choice_margins = read("choice.margins", candidates, true);
  constexpr Index condition_size = State::Model::condition_size;
  const auto read_rows = [&](const std::string& name, Index size) {
    const auto& shape = reader.info(name).shape;
    return reader.template read_weights<float>(name,
                                               std::array<Index, 2>{shape.empty() ? 0 : shape[0], size});
  };
  auto known = read_rows("known.conditions", condition_size);
  state.kept_policies = read_rows("kept.policies", parameters);
  const float radius = reader.template read<float>("known.radius", {})[0];
  state.variance_scale = reader.template read<float>("head.variance_scale", {})[0];
  state.known_prompts = KnownPrompts(std::move(known), condition_size, radius);
  state.condition = normalizer("condition", State::Model::condition_size, true);
  state.interface = read_interface(reader, Network::observation_size, Network::action_size, interface_prefix);
  state.check(reader.path());
  if (unread == Unread::refuse) {
    reader.require_all_read();
  }
  const std::string prefix = "provenance.";
  for (const auto& [key, value] : reader.metadata()) {
    if (key.starts_with(prefix)) {
      state.provenance[key.substr(prefix.size())] = value;
    }
  }
  return state;
}

}  // namespace detail
MAA_NAMESPACE_END
