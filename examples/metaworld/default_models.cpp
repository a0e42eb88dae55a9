#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {

using study::Recipe;

const study::ModelFactory metaworld_models = study::model_factory<MetaWorldPolicy>;
const study::ModelFactory models_of_weights =
    study::model_factory<MetaWorldPolicy, FixedConfig, Recipe::weights>;

}  // namespace maa::examples
