// The stages of PaperRecipe: autoencoder -> embedder -> denoiser.
#pragma once

#include <maa/generator/autoencoder_stage.hpp>
#include <maa/generator/denoiser_stage.hpp>
#include <maa/generator/embedder_stage.hpp>
#include <maa/generator/fitting.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// False if the callback stopped training.
template <class Network, class Config, class Backend>
bool train_stages(Fitting<Network, Config, Backend>& fitting, const PaperRecipe& recipe) {
  using Model = GeneratorModel<Network, Config>;
  const Index embedder_offset = parameter_count<typename Model::AutoencoderModel>;
  const Index denoiser_offset = embedder_offset + parameter_count<typename Model::EmbedderModel>;
  const auto& backend = fitting.backend();
  AutoencoderStage<Network, Config, Backend> autoencoder(backend, fitting.data(),
                                                         fitting.seeded(recipe.autoencoder, 0));
  if (!fitting.run().train(autoencoder, 0)) {
    return false;
  }
  EmbedderStage<Network, Config, Backend> embedder(backend, fitting.data(),
                                                   fitting.seeded(recipe.embedder, 1), recipe.raw_conditions);
  if (!fitting.run().train(embedder, embedder_offset)) {
    return false;
  }
  auto latents = zoo_latents(backend, fitting.data(),
                             fitting.template constants<typename Model::AutoencoderModel>(0).span(),
                             recipe.denoiser.latent_scaling, fitting.state());
  const auto embed = fitting.template constants<typename Model::EmbedderModel>(embedder_offset);
  if (recipe.denoiser.normalize_condition) {
    embedder.fit_condition_limits(embed.span(), fitting.state());
  }
  fitting.state().restrict_condition(recipe.condition);
  auto conditions = embedder.conditions(embed.span(), fitting.state());
  DenoiserStage<Network, Config, Backend> denoiser(backend, fitting.data(),
                                                   fitting.seeded(recipe.denoiser, 2), recipe.diffusion,
                                                   std::move(latents), std::move(conditions));
  if (!fitting.run().train(denoiser, denoiser_offset)) {
    return false;
  }
  fitting.state().known_prompts =
      KnownPrompts(embedder.conditions(embed.span(), fitting.state()), Model::condition_size);
  return true;
}

}  // namespace detail
MAA_NAMESPACE_END
