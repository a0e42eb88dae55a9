#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {

const study::ModelFactory metaworld_models = study::model_factory<MetaWorldPolicy>;

}  // namespace maa::examples
