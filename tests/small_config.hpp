// A generator small enough to train in a test.
#pragma once

#include <maa/generator/config.hpp>

namespace test {

struct SmallConfig : maa::DefaultConfig {
  static constexpr maa::Index latent_size = 16;
  static constexpr maa::Index autoencoder_hidden = 32;
  static constexpr maa::Index embedding_size = 8;
  static constexpr maa::Index embedder_hidden = 32;
  static constexpr maa::PromptShape prompt{.steps = 12, .sequence = 3, .success_states = 3};
  template <maa::Index Latent, maa::Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<16, 32>, 3, 4, 16>;
};

}  // namespace test
