#include "models.hpp"

#include "metaworld_interface.hpp"
#include "model_of.hpp"

namespace maa::examples::tabletop {
namespace {

using Layer = Hidden<64, Activation::relu>;
using Policy =
    MlpPolicy<MlpNetwork<metaworld_observation_size, metaworld_action_size, HiddenLayers<Layer, Layer>>>;

}  // namespace

const Interface& small_policies() {
  static const Interface known{policy_type<Policy>(), metaworld_interface(true).symmetry, {}};
  return known;
}

const study::ModelFactory small_models = study::model_factory<Policy>;

}  // namespace maa::examples::tabletop
