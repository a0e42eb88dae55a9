// The stages of BehaviorRecipe: embedder -> behavior. The autoencoder's encoders stay as they were
// initialised, a random projection, which is good enough to fit the latents' scale.
#pragma once

#include <maa/generator/behavior_stage.hpp>
#include <maa/generator/embedder_stage.hpp>
#include <maa/generator/fitting.hpp>
#include <maa/generator/zoo.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Generation::margins of up to 256 training prompts, spread over all. conditions [prompts, condition_size].
template <class Network, class Config, class Backend>
Buffer<float> choice_margins(Fitting<Network, Config, Backend>& fitting, const Buffer<float>& conditions) {
  using Model = GeneratorModel<Network, Config>;
  using Part = typename Model::WithoutEncoders;
  const auto& data = fitting.data();
  const auto prompts = static_cast<Index>(data.prompts.size());
  const Index count = std::min<Index>(prompts, 256);
  std::vector<Trajectory> demonstrations;
  Buffer<float> chosen(count * Model::condition_size);
  for (Index i = 0; i < count; ++i) {
    const Index position = i * prompts / count;
    demonstrations.push_back(data.trajectory(data.prompts[static_cast<std::size_t>(position)]));
    std::copy_n(conditions.data() + position * Model::condition_size, Model::condition_size,
                chosen.data() + i * Model::condition_size);
  }
  const auto constants = fitting.template constants<Part>(parameter_count<Model> - parameter_count<Part>);
  const auto session = fitting.backend().session();
  auto& workspace = session.workspace();
  const auto w = bind<Part>(constants.span());
  Generation<Network, Config, Backend> generation(fitting.backend(), fitting.state(), w, workspace);
  const auto condition = uploaded(
      fitting.backend(), MatrixView<const float>(chosen.data(), count, Model::condition_size), workspace);
  const auto margins = generation.margins(condition, generation.support(demonstrations, count, 1),
                                          sample_streams(Rng(0x6d617267u), 0, count));
  return Buffer<float>(std::span<const float>(margins));
}

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
  const auto conditions =
      embedder.conditions(fitting.template constants<Embedder>(embedder_offset).span(), state);
  state.known_prompts = KnownPrompts(conditions, Model::condition_size);
  if (Model::has_head && (recipe.guidance.size() > 1 || !state.fallback_policy.empty())) {
    state.choice_margins = choice_margins(fitting, conditions);
  }
  return true;
}

}  // namespace detail
MAA_NAMESPACE_END
