#include "models.hpp"

#include "model_of.hpp"
#include "quadruped.hpp"

namespace maa::examples::quadruped {
namespace {

// Walking has no success that a state shows: three segments, each with its last states.
struct Config : DefaultConfig {
  static constexpr PromptShape prompt{
      .kind = PromptKind::segments, .from = PromptSteps::whole, .segments = 3};
};

}  // namespace

const study::ModelFactory models = study::model_factory<Policy, Config>;

}  // namespace maa::examples::quadruped
