// Checkpoints of the public code as a generator.
#pragma once

#include <maa/generator.hpp>
#include <maa/generator/paper_recipe.hpp>

MAA_NAMESPACE_BEGIN

inline constexpr std::string_view official_format = "maa official 1";

// Whether a safetensors file says that it is for load_official. Error if it is none.
MAA_COLD inline bool is_official(const std::filesystem::path& path) {
  return detail::format_of(SafetensorsReader(path)) == official_format;
}

// The public code's autoencoder, embedder and denoiser, as examples/import_official.py writes them to one
// file (docs/formats.md): GeneratorT is Generator<MetaWorldPolicy, ReferenceConfig>, or one of another policy
// type and sizes that has a ReferenceConfig's structure. It generates as the public code does: prompts as
// they are, ten steps of DDIM from t = 90 on the prediction of the clean sample. Error, which names the file,
// for another format, and for tensors that are missing or have other shapes.
template <class GeneratorT>
MAA_COLD GeneratorT load_official(const std::filesystem::path& path,
                                  typename GeneratorT::Backend backend = typename GeneratorT::Backend()) {
  using Network = typename GeneratorT::Network;
  using Config = typename GeneratorT::Config;
  using Model = typename GeneratorT::Model;
  static_assert(!Model::has_head && Config::condition == ConditionParts::both,
                "load_official: the public code has no Bayesian head, and h and v are its condition");
  const SafetensorsReader reader(path);
  require(detail::format_of(reader) == official_format, reader.path(), ": expected a file of format '",
          official_format, "', found '", detail::format_of(reader), "'");
  auto state = std::make_unique<typename GeneratorT::State>();
  read_parameters(reader, tensors_of<Model>(), state->parameters.span());
  const auto reference = PaperRecipe::reference(1, 1);
  state->settings.diffusion = reference.diffusion;
  state->settings.sampling = reference.sampling;
  state->prompt_encoder = PromptEncoder(Config::prompt, Normalizer(Network::observation_size),
                                        Normalizer(Network::action_size), 0);
  state->latent = detail::read_normalizer(reader, "normalizer.latent", Model::latent_numbers, false);
  state->condition = detail::read_normalizer(reader, "normalizer.condition", Model::condition_size, false);
  state->check(reader.path());
  reader.require_all_read();
  state->provenance = {{"origin", "checkpoints of the public code"}};
  return GeneratorT(std::move(state), std::move(backend));
}

MAA_NAMESPACE_END
