// The stages of BehaviorRecipe: embedder -> behavior. The autoencoder's encoders stay as they were
// initialised, a random projection, which is good enough to fit the latents' scale.
#pragma once

#include <maa/generator/behavior_stage.hpp>
#include <maa/generator/embedder_stage.hpp>
#include <maa/generator/fitting.hpp>
#include <maa/generator/kept_policies.hpp>
#include <maa/generator/log_std.hpp>
#include <maa/generator/zoo.hpp>
#include <maa/models/head_posterior.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Generation::margins of up to 256 training prompts, spread over all. conditions [prompts, condition_size].
template <class Network, class Config, class Backend>
MAA_COLD Buffer<float> choice_margins(Fitting<Network, Config, Backend>& fitting,
                                      const Buffer<float>& conditions) {
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

// Few tasks teach nothing about the conditions of others: then those are better not looked at. Of guidance 1,
// .5 and 0 the last whose error(guidance), if there is one, is less than that of the one chosen before it, by
// a tenth at least: other runs' prompts of trained tasks count as unknown, too, and lose by it.
template <class Error>
double guidance_by_error(const Error& error) {
  double chosen = 1;
  std::optional<double> least;
  for (const double guidance : {1.0, 0.5, 0.0}) {
    const std::optional<double> found = error(guidance);
    if (found && (!least || *found < 0.9 * *least)) {
      least = found;
      chosen = guidance;
    }
  }
  return chosen;
}

// The scale of HeadPosterior's variances under which the residuals at queries are likeliest: the mean of
// their squares in units of the variances.
template <class Network, class Config, class Backend>
MAA_COLD float variance_scale(Fitting<Network, Config, Backend>& fitting, BehaviorOptions options) {
  using Model = GeneratorModel<Network, Config>;
  using Part = typename Model::WithoutEncoders;
  using Head = typename Model::HeadModel;
  constexpr Index prompts = 128;
  const auto& backend = fitting.backend();
  auto& state = fitting.state();
  const auto& tasks = fitting.data().training_tasks;
  options.augmentation = {};
  Workspace host;
  const BehaviorBatch<Network, Config> batch(
      fitting.data(), state, options, prompts, 1,
      [&](Index i, Rng&) -> const TaskTrajectories& {
        return tasks[static_cast<std::size_t>(i) % tasks.size()];
      },
      Rng(0x76617269u), host);
  const Index offset = parameter_count<Model> - parameter_count<Part>;
  const auto constants = fitting.template constants<Part>(offset);
  const auto session = backend.session();
  auto& workspace = session.workspace();
  const auto w = bind<Part>(constants.span());
  Generation<Network, Config, Backend> generation(backend, state, w, workspace);
  const auto condition =
      PromptPath<Network, Config>(state)
          .forward(backend, w.embedder, uploaded_features(backend, batch.features, workspace), prompts,
                   workspace)
          .condition;
  auto streams = sample_streams(Rng(0x76617269u), 0, prompts);
  const auto policies = downloaded(
      backend,
      MatrixView<const typename Backend::template Element<float>>(generation.fit_heads(
          generation.sample(condition, 1, streams, state.settings.sampling, {}), batch.support, w.head)),
      host);
  const cpu::Backend cpu_backend;
  const auto read = [&](SequenceView<float> observations, SequenceView<float> mean) {
    const auto features = host.template sequence<float>(prompts, observations.length, Network::last_hidden);
    policy_batch_forward(cpu_backend, Network::layout(), MatrixView<const float>(policies),
                         SequenceView<const float>(observations), host, mean, SequenceView<float>(),
                         features);
    return features.per_sample();
  };
  const auto shown =
      read(batch.support.observations,
           host.template sequence<float>(prompts, batch.support.observations.length, Network::action_size));
  const auto mean = host.template sequence<float>(prompts, options.queries, Network::action_size);
  const auto asked = read(batch.observations, mean);
  const auto head = bind<Head>(
      std::as_const(state.parameters).span().last(static_cast<std::size_t>(parameter_count<Head>)));
  const double noise = cpu::value_of(Head::noise(head, batch.support.observations.length));
  double sum = 0;
  for (Index i = 0; i < prompts; ++i) {
    const HeadPosterior<Network, Config::head_rank> posterior(head, shown.row_span(i), noise, 1);
    const auto variance = posterior.variance(asked.row_span(i));
    for (Index q = 0; q < options.queries; ++q) {
      for (Index action = 0; action < Network::action_size; ++action) {
        const Index at = (i * options.queries + q) * Network::action_size + action;
        const auto residual = static_cast<double>(
            cpu::HeadTarget<float>(Network::squash == Squash::tanh, mean.data[at], batch.actions.data[at])
                .residual);
        sum += residual * residual / variance[static_cast<std::size_t>(q)];
      }
    }
  }
  // Where all actions saturate on the right side nothing is left; huge actions must not give infinity.
  return static_cast<float>(std::min(
      1e30, std::max(1e-6, sum / static_cast<double>(prompts * options.queries * Network::action_size))));
}

// False if the callback stopped training.
template <class Network, class Config, class Backend>
MAA_COLD bool train_stages(Fitting<Network, Config, Backend>& fitting, const BehaviorRecipe& recipe) {
  using Model = GeneratorModel<Network, Config>;
  using Embedder = typename Model::EmbedderModel;
  const Index embedder_offset = parameter_count<typename Model::AutoencoderModel>;
  const auto& backend = fitting.backend();
  auto& state = fitting.state();
  const auto& augmentation = recipe.behavior.augmentation;
  require((augmentation.name != "none") == static_cast<bool>(augmentation.apply),
          "fit: expected an augmentation with a name of its own, or none, found ", quote(augmentation.name),
          augmentation.apply ? " with" : " without", " a function");
  require(!recipe.behavior.demonstrations.empty(),
          "fit: expected numbers of demonstrations per prompt, found none");
  const double width = recipe.behavior.huber_width;
  require(width == 0 || positive().allows(width), "fit: expected a behavior.huber_width of 0 or ",
          positive().text(), ", found ", width);
  state.settings.corrective = recipe.behavior.corrective;
  state.settings.corrective.check(Network::observation_size, Network::action_size, "fit");
  EmbedderStage<Network, Config, Backend> embedder(backend, fitting.data(),
                                                   fitting.seeded(recipe.embedder, 1));
  if (!fitting.run().train(embedder, embedder_offset)) {
    return false;
  }
  if (!fitting.data().dataset.policies.empty()) {  // without, there are no latents to measure
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
  if (Model::has_head && recipe.guidance.size() > 1) {
    state.choice_margins = choice_margins(fitting, conditions);
  }
  if (Model::has_head && recipe.behavior.condition_dropout > 0) {
    const auto weights = fitting.template constants<typename Model::WithoutEncoders>(
        parameter_count<Model> - parameter_count<typename Model::WithoutEncoders>);
    state.settings.unknown_guidance =
        guidance_by_error([&](double guidance) { return behavior.validation(weights.span(), guidance); });
  }
  if constexpr (Model::has_head) {
    state.variance_scale = variance_scale(fitting, recipe.behavior);
  }
  if (recipe.keep_policies) {
    state.kept_policies = kept_policies(fitting.data());
  }
  if constexpr (Network::may_have_log_std) {
    if (Network::has_log_std) {
      LogStdFit<Network, Config, Backend>(fitting).run();
    }
  }
  return true;
}

}  // namespace detail
MAA_NAMESPACE_END
