#include "ablation_models.hpp"

#include <map>

#include "model_of.hpp"

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

const std::vector<std::string>& ingredients_of_models() {
  static const std::vector<std::string> names = {"head", "whole-prompts", "decoder-start"};
  return names;
}

const study::ModelFactory& models_without(const std::string& ingredient) {
  static const std::map<std::string, study::ModelFactory> factories = {
      {"head", study::fixed_factory<cpu::Backend, WithoutHead>},
      {"whole-prompts", study::fixed_factory<cpu::Backend, WithFirstSteps>},
      {"decoder-start", study::fixed_factory<cpu::Backend, WithRandomStart>}};
  const auto found = factories.find(ingredient);
  require(found != factories.end(), "metaworld: expected an ingredient of the models, found ", ingredient);
  return found->second;
}

}  // namespace maa::examples
