// The generator that the examples train and load: small enough to train in about a minute on two cores.
#pragma once

#include <maa/generator.hpp>

namespace maa::examples {

struct QuickstartConfig : FixedConfig {
  static constexpr Index latent_size = 64;  // per token
  static constexpr Index autoencoder_hidden = 256;
  static constexpr Index embedding_size = 64;
  static constexpr Index embedder_hidden = 256;
  using UNetLevels = Levels<128, 256>;
  static constexpr Index time_size = 64;
};

using QuickstartGenerator = Generator<MetaWorldPolicy, QuickstartConfig>;

}  // namespace maa::examples
