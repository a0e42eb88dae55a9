// What training produces and generation needs: all parameters and the maps around the models.
#pragma once

#include <maa/data/policy_interface.hpp>
#include <maa/generator/config.hpp>
#include <maa/generator/known_prompts.hpp>
#include <maa/generator/options.hpp>
#include <maa/generator/weight_standardizer.hpp>

#include <map>

MAA_NAMESPACE_BEGIN

// What generation takes from the options of training; part of a generator's file.
struct GenerationSettings {
  DiffusionOptions diffusion;
  SamplingOptions sampling;
  std::vector<double> guidance = {1};
  // In place of the only guidance, for prompts unlike those trained on (KnownPrompts): what did best on
  // validation tasks of 1, .5 and 0.
  double unknown_guidance = 1;
  CorrectiveAugmentation corrective;
  double prompt_limit = 0;  // normalised features of prompts are clamped to [-limit, limit]; 0: not at all

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("diffusion", self.diffusion);
    visit("sampling", self.sampling);
    visit("guidance", guidance_limits, self.guidance);
    visit("unknown_guidance", between(-100, 100), self.unknown_guidance);
    visit("corrective", self.corrective);
    visit("prompt_limit", not_negative(), self.prompt_limit);
  }
  // Error, with `where` before it, for what the description's limits do not tell.
  void check(Index observation_size, Index action_size, std::string_view where) const {
    require(!guidance.empty(), where, ": expected at least one guidance, found none");
    corrective.check(observation_size, action_size, where);
    check_sampling(sampling, diffusion, where);
  }
};

template <class Network, class Config>
struct GeneratorState {
  using Model = GeneratorModel<Network, Config>;

  Buffer<float> parameters{parameter_count<Model>};  // all models, in the order of Model's description
  PromptEncoder prompt_encoder;
  WeightStandardizer<Network> standardizer;
  Normalizer latent{Model::latent_numbers};  // the denoiser sees normalised latents
  Normalizer condition;                      // condition_size features, or none
  GenerationSettings settings;
  // BehaviorRecipe's: a policy for normalised observations and the head's parameters that go with it, or
  // none.
  Buffer<float> fallback_policy;
  Buffer<float> fallback_head;
  KnownPrompts known_prompts;    // of training
  Buffer<float> kept_policies;   // of the data set, flat [N, P]; or none
  Buffer<float> choice_margins;  // of each candidate (Generation::margins), or none
  float variance_scale = 1;      // HeadPosterior's
  std::map<std::string, std::string> provenance;
  PolicyInterface interface;  // of the policies

  // Error, with `where` before it, for numbers that no generator's file may hold. `parameters` are the
  // reader's and the trainer's to check.
  MAA_COLD void check(std::string_view where) const {
    check_fields(settings, where, "settings.");
    interface.validate(Network::observation_size, Network::action_size, where);
    settings.check(Network::observation_size, Network::action_size, where);
    const auto check_numbers = [&](const std::string& name, const Buffer<float>& values, Index size,
                                   bool may_be_absent) {
      require(values.size() == size || (may_be_absent && values.empty()), where, ": expected ", size,
              " numbers as ", name, ", found ", values.size());
      const auto bad = first_nonfinite(values.span());
      require(bad < 0, where, ": expected finite numbers in ", name, ", found ", bad < 0 ? 0.0f : values[bad],
              " at index ", bad);
    };
    const auto check_normalizer = [&](const std::string& name, const Normalizer& normalizer, Index size,
                                      bool may_be_absent) {
      check_numbers(name + ".offset", normalizer.offset, size, may_be_absent);
      check_numbers(name + ".scale", normalizer.scale, normalizer.offset.size(), false);
      for (const float scale : normalizer.scale) {
        // A condition may be restricted to some of its embeddings.
        require(scale > 0 || (scale == 0 && &normalizer == &condition), where,
                ": expected positive numbers in ", name, ".scale, found ", scale);
      }
    };
    check_normalizer("normalizer.observation", prompt_encoder.observation_normalizer(),
                     Network::observation_size, false);
    check_normalizer("normalizer.action", prompt_encoder.action_normalizer(), Network::action_size, false);
    check_normalizer("normalizer.policy_observation", standardizer.observations(), Network::observation_size,
                     true);
    check_normalizer("normalizer.latent", latent, Model::latent_numbers, false);
    check_normalizer("normalizer.condition", condition, Model::condition_size, true);
    check_numbers("standardizer.mean", standardizer.mean(), parameter_count<Network>, false);
    check_numbers("standardizer.deviation", standardizer.deviation(), parameter_count<Network>, false);
    check_numbers("fallback.policy", fallback_policy, parameter_count<Network>, true);
    check_numbers("fallback.head", fallback_head,
                  fallback_policy.empty() ? Index(0) : parameter_count<typename Model::HeadModel>, false);
    check_numbers("choice.margins", choice_margins,
                  std::ssize(settings.guidance) + (fallback_policy.empty() ? 0 : 1), true);
    const auto& known = known_prompts.conditions();
    check_numbers("known.conditions", known, known.size() / Model::condition_size * Model::condition_size,
                  false);
    check_numbers("kept.policies", kept_policies,
                  kept_policies.size() / parameter_count<Network> * parameter_count<Network>, false);
    const float radius = known_prompts.radius();
    require(radius >= 0 && is_finite(radius), where, ": expected a known.radius that is not negative, found ",
            radius);
    require(variance_scale > 0 && is_finite(variance_scale), where,
            ": expected a positive head.variance_scale, found ", variance_scale);
  }

  // The embeddings that conditions show.
  ConditionParts condition_parts() const {
    const auto hidden = [&](Index block) {  // of segment, h or v
      const auto* first = condition.scale.data() + block * Config::embedding_size;
      return std::all_of(first, first + Config::embedding_size, [](float scale) { return scale == 0; });
    };
    if (Config::condition != ConditionParts::both || condition.features() == 0) {
      return Config::condition;
    }
    return hidden(1) ? ConditionParts::h : hidden(0) ? ConditionParts::v : ConditionParts::both;
  }
  // From now on conditions have zeros in place of the embeddings that are not in `parts`. Error if none is
  // left.
  void restrict_condition(ConditionParts parts) {
    if (parts == Config::condition || parts == ConditionParts::both) {
      return;
    }
    require(Config::condition == ConditionParts::both,
            "fit: expected a condition on an embedding that the configuration has");
    if (condition.features() == 0) {
      condition = Normalizer(Model::condition_size);
    }
    constexpr Index size = Config::embedding_size;
    for (Index segment = 0; segment < Config::prompt.segments; ++segment) {  // h, then v
      const Index hidden = (2 * segment + (parts == ConditionParts::h ? 1 : 0)) * size;
      std::fill_n(condition.scale.data() + hidden, size, 0.0f);
    }
  }
};

MAA_NAMESPACE_END
