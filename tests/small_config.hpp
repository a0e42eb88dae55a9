// A generator small enough to train in a test.
#pragma once

#include <maa/generator/config.hpp>

namespace test {

struct SmallConfig : maa::FixedConfig {
  static constexpr maa::Index latent_size = 16;
  static constexpr maa::Index autoencoder_hidden = 32;
  static constexpr maa::Index embedding_size = 8;
  static constexpr maa::Index embedder_hidden = 32;
  static constexpr maa::PromptShape prompt{.steps = 12, .sequence = 3, .success_states = 3};
  using UNetLevels = maa::Levels<16, 32>;
  static constexpr maa::Index groups = 4;
  static constexpr maa::Index time_size = 16;
};

}  // namespace test
