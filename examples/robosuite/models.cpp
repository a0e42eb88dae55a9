#include "models.hpp"

#include "model_of.hpp"

namespace maa::examples {
namespace {

struct WithoutHead : DefaultConfig {
  static constexpr Index head_rank = 0;
};

}  // namespace

const study::ModelFactory robosuite_models = study::model_factory<RobosuitePolicy>;
const study::ModelFactory robosuite_models_without_head = study::model_factory<RobosuitePolicy, WithoutHead>;

}  // namespace maa::examples
