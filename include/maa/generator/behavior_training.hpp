// The stages of BehaviorRecipe: embedder -> behavior. The autoencoder's encoders stay as they were
// initialised, a random projection, which is good enough to fit the latents' scale.
#pragma once

#include <maa/generator/behavior_stage.hpp>
#include <maa/generator/embedder_stage.hpp>
#include <maa/generator/fitting.hpp>
#include <maa/generator/zoo.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// False if the callback stopped training.
template <class Network, class Config, class Backend>
bool train_stages(Fitting<Network, Config, Backend>& fitting, const BehaviorRecipe& recipe) {
  using Model = GeneratorModel<Network, Config>;
  using Embedder = typename Model::EmbedderModel;
  constexpr Index embedder_offset = parameter_count<typename Model::AutoencoderModel>;
  const auto& backend = fitting.backend();
  auto& state = fitting.state();
  const auto& augmentation = recipe.behavior.augmentation;
  require((augmentation.name != "none") == static_cast<bool>(augmentation.apply),
          "fit: expected an augmentation with a name of its own, or none, found ", quote(augmentation.name),
          augmentation.apply ? " with" : " without", " a function");
  require(!recipe.behavior.demonstrations.empty(),
          "fit: expected numbers of demonstrations per prompt, found none");
  state.settings.corrective = recipe.behavior.corrective;
  state.settings.check(Network::observation_size, Network::action_size, "fit");
  EmbedderStage<Network, Config, Backend> embedder(backend, fitting.data(),
                                                   fitting.seeded(recipe.embedder, 1));
  if (!fitting.run().train(embedder, embedder_offset)) {
    return false;
  }
  if (fitting.data().dataset.policies.empty()) {
    state.latent = Normalizer(Model::latent_numbers);  // there are none to measure
  } else {
    zoo_latents(backend, fitting.data(),
                fitting.template constants<typename Model::AutoencoderModel>(0).span(), Scaling::standard,
                state);
  }
  state.restrict_condition(recipe.condition);
  BehaviorStage<Network, Config, Backend> behavior(backend, fitting.data(), state,
                                                   fitting.seeded(recipe.behavior, 3));
  if (!fitting.run().train(behavior,
                           parameter_count<Model> - parameter_count<typename Model::WithoutEncoders>)) {
    return false;
  }
  state.known_prompts =
      KnownPrompts(embedder.conditions(fitting.template constants<Embedder>(embedder_offset).span(), state),
                   Model::condition_size);
  return true;
}

}  // namespace detail
MAA_NAMESPACE_END
