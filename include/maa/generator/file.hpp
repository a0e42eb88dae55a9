// A generator as one safetensors file: all parameters with PyTorch's names, the normalisers, and the options
// that generation needs as metadata.
#pragma once

#include <maa/generator/state.hpp>
#include <maa/io/parameters.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The one list of stored options: called with a writer and with a reader.
template <class Visitor, class DiffusionT, class SamplingT>
void describe_options(Visitor& visit, DiffusionT& diffusion, SamplingT& sampling) {
  visit("diffusion.steps", diffusion.steps);
  visit("diffusion.beta_schedule", diffusion.beta_schedule);
  visit("diffusion.beta_start", diffusion.beta_start);
  visit("diffusion.beta_end", diffusion.beta_end);
  visit("diffusion.prediction_type", diffusion.prediction_type);
  visit("diffusion.clip_sample", diffusion.clip_sample);
  visit("diffusion.clip_range", diffusion.clip_range);
  visit("diffusion.set_alpha_to_one", diffusion.set_alpha_to_one);
  visit("diffusion.steps_offset", diffusion.steps_offset);
  visit("sampling.sampler", sampling.sampler);
  visit("sampling.steps", sampling.steps);
  visit("sampling.spacing", sampling.spacing);
  visit("sampling.eta", sampling.eta);
}

template <class Visitor, class RestoringPairsT>
void describe_restoring_pairs(Visitor& visit, RestoringPairsT& restoring) {
  visit("restoring.earlier", restoring.earlier);
  visit("restoring.axes", restoring.axes);
  visit("restoring.action", restoring.action);
  visit("restoring.gain", restoring.gain);
  visit("restoring.deviation", restoring.deviation);
}

struct OptionWriter {
  SafetensorsWriter& writer;

  template <class T>
  void operator()(const char* key, const T& value) const {
    if constexpr (std::is_enum_v<T> || std::is_same_v<T, bool>) {
      writer.set_metadata(key, concatenate(static_cast<int>(value)));
    } else {
      writer.set_metadata(key, concatenate(value));
    }
  }
};

// How many values an option of each enumerated type has.
constexpr std::int64_t values_of(bool) {
  return 2;
}
constexpr std::int64_t values_of(BetaSchedule) {
  return 2;
}
constexpr std::int64_t values_of(PredictionType) {
  return 3;
}
constexpr std::int64_t values_of(SamplerKind) {
  return 2;
}
constexpr std::int64_t values_of(TimestepSpacing) {
  return 3;
}

struct OptionReader {
  const SafetensorsReader& reader;

  template <class T>
  void operator()(const char* key, T& value) const {
    const auto found = reader.metadata().find(key);
    require(found != reader.metadata().end(), reader.path(), ": expected the option '", key, "', found none");
    const auto& text = found->second;
    using Number = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;
    Number number{};
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    require(code == std::errc() && end == text.data() + text.size(), reader.path(),
            ": expected a number for the "
            "option '",
            key, "', found '", text, "'");
    if constexpr (std::is_enum_v<T> || std::is_same_v<T, bool>) {
      const auto last = values_of(T{}) - 1;
      require(number >= 0 && number <= last, reader.path(), ": expected 0 to ", last, " for the option '",
              key, "', found ", number);
    }
    value = static_cast<T>(number);
  }
};

// What the file must have been made for, in words.
template <class Network, class Config>
std::string generator_signature() {
  std::string hidden;
  for (const Index size : Network::hidden_sizes) {
    hidden += concatenate("-", size);
  }
  std::string levels;
  for (const Index channels : Config::UNetLevels::channels) {
    levels += concatenate(" ", channels);
  }
  return concatenate("policy ", Network::observation_size, hidden, "-", Network::action_size, " of ",
                     parameter_count<Network>, " parameters, latent ", Network::token_count, " x ",
                     Config::latent_size, ", prompt of ",
                     Config::prompt.from == PromptSteps::first ? "the first " : "the whole demonstration in ",
                     Config::prompt.steps, " steps x ", Config::prompt.segments, ", embedding ",
                     Config::embedding_size, ", unet", levels, ", ",
                     parameter_count<GeneratorModel<Network, Config>>, " parameters in all");
}

template <class Visitor>
void describe_normalizer(Visitor& visit, const std::string& name, auto& normalizer) {
  visit(name + ".offset", normalizer.offset);
  visit(name + ".scale", normalizer.scale);
}

template <class Network, class Config>
void save_generator(const std::filesystem::path& path, const GeneratorState<Network, Config>& state) {
  SafetensorsWriter writer;
  writer.set_metadata("format", "maa generator 1");
  writer.set_metadata("signature", generator_signature<Network, Config>());
  for (const auto& [key, value] : state.provenance) {
    writer.set_metadata("provenance." + key, value);
  }
  OptionWriter options{writer};
  describe_options(options, state.diffusion, state.sampling);
  options("prompt.limit", state.prompt_encoder.limit());
  writer.add("sampling.guidance", {static_cast<Index>(state.guidance.size())}, std::span(state.guidance));
  add_parameters(writer, tensors_of<GeneratorModel<Network, Config>>(), state.parameters.span());
  const auto add = [&](const std::string& name, const Buffer<float>& values) {
    writer.add(name, {values.size()}, values.span());
  };
  describe_normalizer(add, "normalizer.observation", state.prompt_encoder.observation_normalizer());
  describe_normalizer(add, "normalizer.action", state.prompt_encoder.action_normalizer());
  describe_normalizer(add, "normalizer.policy_observation", state.standardizer.observations());
  describe_normalizer(add, "normalizer.latent", state.latent);
  describe_normalizer(add, "normalizer.condition", state.condition);
  add("standardizer.mean", state.standardizer.mean());
  add("standardizer.deviation", state.standardizer.deviation());
  add("fallback.policy", state.fallback_policy);
  add("fallback.head", state.fallback_head);
  const auto& known = state.known_prompts;
  constexpr Index condition_size = GeneratorModel<Network, Config>::condition_size;
  writer.add("known.conditions", {known.conditions().size() / condition_size, condition_size},
             known.conditions().span());
  writer.add_scalar("known.radius", known.radius());
  const auto add_columns = [&](const std::string& name, const std::vector<Index>& columns) {
    const auto count = static_cast<Index>(columns.size());
    Buffer<std::int64_t> values(count);
    std::copy(columns.begin(), columns.end(), values.begin());
    writer.add_owned(name, {count}, std::move(values));
  };
  const auto& restoring = state.restoring_pairs;
  add_columns("restoring.effector", restoring.effector);
  add_columns("restoring.objects", restoring.objects);
  describe_restoring_pairs(options, restoring);
  writer.write(path);
}

template <class Network, class Config>
GeneratorState<Network, Config> load_generator(const std::filesystem::path& path) {
  using State = GeneratorState<Network, Config>;
  const SafetensorsReader reader(path);
  const auto metadata = [&](const char* key) {
    const auto found = reader.metadata().find(key);
    return found == reader.metadata().end() ? std::string("none") : found->second;
  };
  require(metadata("format") == "maa generator 1", reader.path(),
          ": expected a file of format 'maa generator 1', found '", metadata("format"), "'");
  const auto signature = generator_signature<Network, Config>();
  require(metadata("signature") == signature, reader.path(), ": expected a generator for ", signature,
          "; found one for ", metadata("signature"));
  State state;
  OptionReader options{reader};
  describe_options(options, state.diffusion, state.sampling);
  float limit = 0;
  options("prompt.limit", limit);
  require(limit > 0, reader.path(), ": expected a positive prompt.limit, found ", limit);
  static_cast<void>(
      DiffusionSchedule(state.diffusion).timesteps(state.sampling.steps, state.sampling.spacing));
  require(state.sampling.eta >= 0 && state.sampling.eta <= 1, reader.path(),
          ": expected a sampling.eta from 0 to 1, found ", state.sampling.eta);
  const auto guidance = reader.template read<double>("sampling.guidance");
  require(!guidance.empty() && first_nonfinite(guidance.span()) < 0, reader.path(),
          ": expected finite numbers as sampling.guidance, found ", guidance.size());
  state.guidance.assign(guidance.begin(), guidance.end());
  read_parameters(reader, tensors_of<GeneratorModel<Network, Config>>(), state.parameters.span());
  const auto read = [&](const std::string& name, Index size, bool may_be_absent) {
    const auto& shape = reader.info(name).shape;
    const bool absent = may_be_absent && shape.size() == 1 && shape[0] == 0;
    const std::array<Index, 1> expected{absent ? 0 : size};
    return reader.template read_weights<float>(name, expected);
  };
  const auto read_normalizer = [&](const std::string& name, Index size, bool may_be_absent) {
    Normalizer normalizer;
    normalizer.offset = read(name + ".offset", size, may_be_absent);
    normalizer.scale = read(name + ".scale", normalizer.offset.size(), false);
    for (const float scale : normalizer.scale) {
      // A condition may be restricted to some of its embeddings.
      require(scale > 0 || (scale == 0 && name == "normalizer.condition"), reader.path(),
              ": expected positive numbers in ", name, ".scale, found ", scale);
    }
    return normalizer;
  };
  state.prompt_encoder = PromptEncoder(
      Config::prompt, read_normalizer("normalizer.observation", Network::observation_size, false),
      read_normalizer("normalizer.action", Network::action_size, false), limit);
  constexpr Index parameters = parameter_count<Network>;
  state.standardizer = WeightStandardizer<Network>(
      read_normalizer("normalizer.policy_observation", Network::observation_size, true),
      read("standardizer.mean", parameters, false), read("standardizer.deviation", parameters, false));
  state.latent = read_normalizer("normalizer.latent", State::Model::latent_numbers, false);
  state.fallback_policy = read("fallback.policy", parameters, true);
  state.fallback_head =
      read("fallback.head",
           state.fallback_policy.empty() ? 0 : parameter_count<typename State::Model::HeadModel>, true);
  if (reader.contains("known.conditions")) {  // older files have none
    constexpr Index size = State::Model::condition_size;
    const auto& shape = reader.info("known.conditions").shape;
    const std::array<Index, 2> expected{shape.empty() ? 0 : shape[0], size};
    auto conditions = reader.template read_weights<float>("known.conditions", expected);
    const float radius = reader.template read<float>("known.radius", {})[0];
    require(radius >= 0 && std::isfinite(radius), reader.path(),
            ": expected a known.radius that is not negative, found ", radius);
    state.known_prompts = KnownPrompts(std::move(conditions), size, radius);
  }
  const auto read_columns = [&](const std::string& name) {
    const auto columns = reader.template read<std::int64_t>(name);
    return std::vector<Index>(columns.begin(), columns.end());
  };
  if (reader.contains("restoring.effector")) {  // older files have none
    state.restoring_pairs.effector = read_columns("restoring.effector");
    state.restoring_pairs.objects = read_columns("restoring.objects");
    describe_restoring_pairs(options, state.restoring_pairs);
    state.restoring_pairs.check(Network::observation_size, Network::action_size, reader.path());
  }
  state.condition = read_normalizer("normalizer.condition", State::Model::condition_size, true);
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
