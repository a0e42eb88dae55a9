// What a generator is made of: sizes fixed at compile time, and the composite model they give.
#pragma once

#include <maa/data/prompt_features.hpp>
#include <maa/models/autoencoder.hpp>
#include <maa/models/behavior_embedder.hpp>
#include <maa/models/mlp_network.hpp>
#include <maa/models/ridge_head.hpp>
#include <maa/models/unet1d.hpp>

MAA_NAMESPACE_BEGIN

// Whether generated policies are adapted to their prompt in closed form (models/ridge_head.hpp).
enum class HeadCorrection { none, ridge };

// Structure as in the paper's tables. A configuration is a type with these members; derive and override to
// change one.
struct PaperConfig {
  static constexpr Index latent_size = 1024;
  static constexpr Index autoencoder_hidden = 1024;
  static constexpr Index encoder_depth = 1;
  static constexpr Index decoder_depth = 1;
  static constexpr Start decoder_start = Start::random;
  static constexpr PromptShape prompt{};
  static constexpr ConditionParts condition = ConditionParts::both;
  static constexpr Index embedding_size = 128;
  static constexpr Index embedder_hidden = 1024;
  static constexpr EmbedderForm phi_form = EmbedderForm::mlp;
  static constexpr EmbedderForm psi_form = EmbedderForm::mlp;
  using UNetLevels = Levels<512, 1024, 2048>;
  static constexpr Index kernel = 3;
  static constexpr Index groups = 8;
  static constexpr Index time_size = 128;
  static constexpr HeadCorrection head_correction = HeadCorrection::none;
};

// Structure as in the public code, where it differs.
struct ReferenceConfig : PaperConfig {
  static constexpr EmbedderForm psi_form = EmbedderForm::tanh_normed;
};

// The default: small enough to train in about a minute on two cores (HACKING.md, "Presets"), with embeddings
// bounded by a LayerNorm, so that they need no normaliser of their own.
struct FixedConfig : PaperConfig {
  static constexpr PromptShape prompt{.from = PromptSteps::whole};
  static constexpr Index latent_size = 64;
  static constexpr Index autoencoder_hidden = 256;
  static constexpr Start decoder_start = Start::zero;
  static constexpr Index embedding_size = 64;
  static constexpr Index embedder_hidden = 256;
  static constexpr EmbedderForm phi_form = EmbedderForm::mlp_normed;
  static constexpr EmbedderForm psi_form = EmbedderForm::mlp_normed;
  using UNetLevels = Levels<128, 256>;
  static constexpr Index time_size = 64;
  static constexpr HeadCorrection head_correction = HeadCorrection::ridge;
};

// The three models as one description, so that one flat array and one file hold a generator.
template <class Network, class Config>
struct GeneratorModel {
  static constexpr Index condition_parts = Config::condition == ConditionParts::both ? 2 : 1;
  static constexpr Index condition_size = condition_parts * Config::embedding_size * Config::prompt.segments;

  using AutoencoderModel = Autoencoder<Network, Config::latent_size, Config::autoencoder_hidden,
                                       Config::encoder_depth, Config::decoder_depth, Config::decoder_start>;
  using EmbedderModel =
      BehaviorEmbedder<Config::prompt.trajectory_features(Network::observation_size, Network::action_size),
                       Config::prompt.success_features(Network::observation_size), Config::embedding_size,
                       Config::embedder_hidden, Config::phi_form, Config::psi_form>;
  using DenoiserModel = UNet1d<Config::latent_size, condition_size, typename Config::UNetLevels,
                               Config::kernel, Config::groups, Config::time_size>;

  using HeadModel = RidgeHead<Network>;
  static constexpr bool has_head = Config::head_correction == HeadCorrection::ridge;

  template <class T>
  struct Weights {
    typename AutoencoderModel::template Weights<T> autoencoder;
    typename EmbedderModel::template Weights<T> embedder;
    typename DenoiserModel::template Weights<T> denoiser;
    typename HeadModel::template Weights<T> head;  // unset without it
  };
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    describe_with<AutoencoderModel>(visit, w...);
  }
  // All but the autoencoder's encoders, which generating does not use: the last part of the description.
  struct WithoutEncoders {
    template <class T>
    using Weights = GeneratorModel::Weights<T>;
    template <class Visitor, class... W>
    static constexpr void describe(Visitor& visit, W&... w) {
      describe_with<typename AutoencoderModel::DecodersOnly>(visit, w...);
    }
  };

  // Numbers of one latent: tokens times features.
  static constexpr Index latent_numbers = Network::token_count * Config::latent_size;

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
