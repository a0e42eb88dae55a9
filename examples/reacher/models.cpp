#include "models.hpp"

#include "model_of.hpp"
#include "reacher.hpp"

namespace maa::examples::reacher {

const study::ModelFactory models = study::model_factory<Policy>;

}  // namespace maa::examples::reacher
