#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {
namespace {

struct WithoutHead : FixedConfig {
  static constexpr HeadCorrection head_correction = HeadCorrection::none;
};
struct WithFirstSteps : FixedConfig {
  static constexpr PromptShape prompt{.from = PromptSteps::first};
};
struct WithRandomStart : FixedConfig {
  static constexpr Start decoder_start = Start::random;
};

}  // namespace

const study::ModelFactory models_without_head = study::model_factory<MetaWorldPolicy, WithoutHead>;
const study::ModelFactory models_of_first_steps = study::model_factory<MetaWorldPolicy, WithFirstSteps>;
const study::ModelFactory models_of_random_start = study::model_factory<MetaWorldPolicy, WithRandomStart>;

}  // namespace maa::examples
