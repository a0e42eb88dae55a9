#include "models.hpp"

#include <maa/generator/paper_training.hpp>

#include "hypernetwork.hpp"
#include "model_of.hpp"
#include "reacher.hpp"

namespace maa::examples::reacher {
namespace {

// The paper's are for policies of 22,000 weights and zoos of thousands: a UNet of 163 M parameters.
struct SmallPaperConfig : PaperConfig {
  static constexpr Index latent_size = 128;
  static constexpr Index autoencoder_hidden = 512;
  static constexpr Index embedder_hidden = 256;
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition, Levels<128, 256, 512>>;
};

}  // namespace

const study::ModelFactory models = study::model_factory<Policy>;
const study::ModelFactory paper_models = study::model_factory<Policy, SmallPaperConfig, &study::paper_recipe>;
const study::ModelFactory models_of_weights =
    study::model_factory<Policy, DefaultConfig, &study::weights_recipe>;
const study::ModelFactory hypernetwork_models =
    study::model_factory<Policy, study::HypernetworkConfig<Policy::Network>>;

}  // namespace maa::examples::reacher
