// Generators small enough to train in a test.
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

// The least that has all parts: thousands of files of it are read in a second.
struct TinyConfig : maa::DefaultConfig {
  static constexpr maa::Index latent_size = 8;
  static constexpr maa::Index autoencoder_hidden = 8;
  static constexpr maa::Index embedding_size = 4;
  static constexpr maa::Index embedder_hidden = 8;
  static constexpr maa::PromptShape prompt{.steps = 6, .sequence = 2, .success_states = 2};
  template <maa::Index Latent, maa::Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<4, 8>, 3, 2, 8>;
};

}  // namespace test
