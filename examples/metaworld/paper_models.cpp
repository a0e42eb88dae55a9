#include <maa/generator/paper_training.hpp>

#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {

const study::ModelFactory paper_models =
    study::model_factory<MetaWorldPolicy, PaperConfig, &study::paper_recipe>;
const study::ModelFactory reference_models =
    study::model_factory<MetaWorldPolicy, ReferenceConfig, &study::reference_recipe>;

}  // namespace maa::examples
