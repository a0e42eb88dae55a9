#include "model_of.hpp"
#include "models.hpp"

namespace maa::examples {

using study::Recipe;

const study::ModelFactory paper_models = study::model_factory<MetaWorldPolicy, PaperConfig, Recipe::paper>;
const study::ModelFactory reference_models =
    study::model_factory<MetaWorldPolicy, ReferenceConfig, Recipe::reference>;

}  // namespace maa::examples
