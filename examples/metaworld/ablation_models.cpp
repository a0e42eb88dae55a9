#include <maa/generator/paper_training.hpp>

#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {
namespace {

struct WithoutHead : DefaultConfig {
  static constexpr Index head_rank = 0;
};
struct WithFirstSteps : DefaultConfig {
  static constexpr PromptShape prompt{.from = PromptSteps::first};
};
struct WithRandomStart : DefaultConfig {
  static constexpr Start decoder_start = Start::random;
};

}  // namespace

const study::ModelFactory models_of_weights =
    study::model_factory<MetaWorldPolicy, DefaultConfig, &study::weights_recipe>;
const study::ModelFactory models_without_head = study::model_factory<MetaWorldPolicy, WithoutHead>;
const study::ModelFactory models_of_first_steps = study::model_factory<MetaWorldPolicy, WithFirstSteps>;
const study::ModelFactory models_of_random_start = study::model_factory<MetaWorldPolicy, WithRandomStart>;

}  // namespace maa::examples
