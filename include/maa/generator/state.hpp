// What training produces and generation needs: all parameters and the maps around the models.
#pragma once

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
  CorrectiveAugmentation corrective;
  double prompt_limit = 0;  // normalised features of prompts are clamped to [-limit, limit]; 0: not at all

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("diffusion", self.diffusion);
    visit("sampling", self.sampling);
    visit("guidance", guidance_limits, self.guidance);
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
  Normalizer latent;     // latent_numbers features; the denoiser sees normalised latents
  Normalizer condition;  // condition_size features, or none
  GenerationSettings settings;
  // BehaviorRecipe's: a policy for normalised observations and the head's parameters that go with it, or
  // none.
  Buffer<float> fallback_policy;
  Buffer<float> fallback_head;
  KnownPrompts known_prompts;    // of training
  Buffer<float> choice_margins;  // of each candidate (Generation::margins), or none
  float variance_scale = 1;      // HeadPosterior's
  std::map<std::string, std::string> provenance;

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
