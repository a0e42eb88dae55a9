// What a generator is made of: sizes fixed at compile time, and the composite model they give.
#pragma once

#include <maa/data/prompt_features.hpp>
#include <maa/models/autoencoder.hpp>
#include <maa/models/bayesian_head.hpp>
#include <maa/models/behavior_embedder.hpp>
#include <maa/models/mlp_network.hpp>
#include <maa/models/unet1d.hpp>

MAA_NAMESPACE_BEGIN

// Structure as in the paper's tables. A configuration is a type with these members; derive and override to
// change one. Denoiser: any model with the members of models/denoiser.hpp's concept.
struct PaperConfig {
  static constexpr Index latent_size = 1024;             // numbers of a token
  static constexpr Index autoencoder_hidden = 1024;      // units between its layers, where it has several
  static constexpr Index encoder_depth = 1;              // linear layers of each
  static constexpr Index decoder_depth = 1;              // of each
  static constexpr Start decoder_start = Start::random;  // what decoders give before training
  static constexpr LatentNorm latent_norm = LatentNorm::per_token;   // behind the encoders
  static constexpr PromptShape prompt{};                             // what is read of a trajectory
  static constexpr ConditionParts condition = ConditionParts::both;  // what of it the denoiser sees
  static constexpr Index embedding_size = 128;                       // numbers of h, and of v
  static constexpr Index embedder_hidden = 1024;                     // units of phi and psi
  static constexpr EmbedderForm phi_form = EmbedderForm::mlp;        // the network that gives h
  static constexpr EmbedderForm psi_form = EmbedderForm::mlp;        // the network that gives v
  static constexpr MetricStart metric_start = MetricStart::fan_in;   // of the contrastive loss
  // By its numbers of channels and of the condition.
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition>;
  // Directions of the prior by which generated policies' last layers are fitted to their prompt in closed
  // form (models/bayesian_head.hpp), at most the units that they read; 0: they are not.
  static constexpr Index head_rank = 0;
};

// Structure as in the public code, where it differs.
struct ReferenceConfig : PaperConfig {
  // As PaperConfig's.
  static constexpr LatentNorm latent_norm = LatentNorm::shared;
  static constexpr EmbedderForm psi_form = EmbedderForm::tanh_normed;
  static constexpr MetricStart metric_start = MetricStart::unit;
};

// The default: small enough to train in about a minute on two cores (docs/method.md), with embeddings bounded
// by a LayerNorm, so that they need no normaliser of their own.
struct DefaultConfig : PaperConfig {
  // As PaperConfig's.
  static constexpr PromptShape prompt{.from = PromptSteps::whole};
  static constexpr Index latent_size = 64;
  static constexpr Index autoencoder_hidden = 256;
  static constexpr Start decoder_start = Start::zero;
  static constexpr Index embedding_size = 64;
  static constexpr Index embedder_hidden = 256;
  static constexpr EmbedderForm phi_form = EmbedderForm::mlp_normed;
  static constexpr EmbedderForm psi_form = EmbedderForm::mlp_normed;
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition, Levels<128, 256>, 3, 8, 64>;
  static constexpr Index head_rank = 64;
};

namespace detail {
template <class Network, class Config>
constexpr Index trajectory_features() {
  return Config::prompt.trajectory_features(Network::observation_size, Network::action_size);
}
template <class Network, class Config>
constexpr Index success_features() {
  return Config::prompt.success_features(Network::observation_size);
}
template <class Network, class Config>
constexpr Index latent_numbers() {
  return Network::token_count * Config::latent_size;
}
}  // namespace detail

// The three models as one description, so that one flat array and one file hold a generator.
template <class Network, class Config>
struct GeneratorModel {
  // The numbers that the denoiser sees of a prompt: h and v, or one, of each segment.
  static constexpr Index condition_parts = Config::condition == ConditionParts::both ? 2 : 1;
  static constexpr Index condition_size = condition_parts * Config::embedding_size * Config::prompt.segments;

  // Eq. 5's, of the network's tokens.
  using AutoencoderModel =
      Autoencoder<Network, Config::latent_size, Config::autoencoder_hidden, Config::encoder_depth,
                  Config::decoder_depth, Config::decoder_start, Config::latent_norm>;
  // Numbers that the embeddings read of a segment.
  static constexpr auto trajectory_features =
      extent_of<!Network::is_fixed, &detail::trajectory_features<Network, Config>>();
  static constexpr auto success_features =
      extent_of<!Network::is_fixed, &detail::success_features<Network, Config>>();
  using EmbedderModel =
      BehaviorEmbedder<trajectory_features, success_features, Config::embedding_size, Config::embedder_hidden,
                       Config::phi_form, Config::psi_form, Config::metric_start>;
  using DenoiserModel = typename Config::template Denoiser<Config::latent_size, condition_size>;

  // What fits last layers to the prompt, if the configuration has it.
  using HeadModel = BayesianHead<Network, Config::head_rank>;
  static constexpr bool has_head = Config::head_rank > 0;

  // Of all parts.
  template <class T>
  struct Weights {
    // By part.
    typename AutoencoderModel::template Weights<T> autoencoder;
    typename EmbedderModel::template Weights<T> embedder;
    typename DenoiserModel::template Weights<T> denoiser;
    typename HeadModel::template Weights<T> head;  // unset without it
  };
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    describe_with<AutoencoderModel>(visit, w...);
  }
  // Everything that changes what a generator's numbers mean.
  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit.template type<Network>("policy");
    visit("prompt", Config::prompt);
    visit("condition", Config::condition);
    visit.template type<AutoencoderModel>("autoencoder");
    visit.template type<EmbedderModel>("embedder");
    visit.template type<DenoiserModel>("denoiser");
    visit("head_rank", has_head ? Index(HeadModel::rank) : 0);
    visit("parameters", Index(parameter_count<GeneratorModel>));
  }
  // All but the autoencoder's encoders, which generating does not use: the last part of the description.
  struct WithoutEncoders {
    // The same, encoders unset.
    template <class T>
    using Weights = GeneratorModel::Weights<T>;
    template <class Visitor, class... W>
    static constexpr void describe(Visitor& visit, W&... w) {
      describe_with<typename AutoencoderModel::DecodersOnly>(visit, w...);
    }
  };

  // Numbers of one latent: tokens times features.
  static constexpr auto latent_numbers =
      extent_of<!Network::is_fixed, &detail::latent_numbers<Network, Config>>();

 private:
  template <class AutoencoderPart, class Visitor, class... W>
  static constexpr void describe_with(Visitor& visit, W&... w) {
    visit.template child<AutoencoderPart>("autoencoder", w.autoencoder...);
    visit.template child<EmbedderModel>("embedder", w.embedder...);
    visit.template child<DenoiserModel>("denoiser", w.denoiser...);
    if constexpr (has_head) {
      visit.template child<HeadModel>("head", w.head...);
    }
  }
};

MAA_NAMESPACE_END
