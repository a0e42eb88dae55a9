#include "models.hpp"

#if MAA_EXAMPLES_CUDA
#include <maa/cuda.hpp>
#include <maa/generator/paper_training.hpp>

#include "model_of.hpp"

namespace maa::examples {
namespace study {

template <>
cuda::Backend open_backend<cuda::Backend>(const Options&) {
  return cuda::Backend();
}

}  // namespace study

const study::ModelFactory& cuda_models(const std::string& preset) {
  static constexpr auto paper =
      study::model_factory<MetaWorldPolicy, PaperConfig, &study::paper_recipe, cuda::Backend>;
  static constexpr auto reference =
      study::model_factory<MetaWorldPolicy, ReferenceConfig, &study::reference_recipe, cuda::Backend>;
  static constexpr auto standard =
      study::model_factory<MetaWorldPolicy, DefaultConfig, &study::default_recipe, cuda::Backend>;
  return preset == "paper" ? paper : preset == "reference" ? reference : standard;
}

}  // namespace maa::examples

#else

namespace maa::examples {

const study::ModelFactory& cuda_models(const std::string&) {
  fail(
      "this program was built without CUDA: configure with the CUDA toolkit installed, or leave out --device "
      "cuda");
}

}  // namespace maa::examples

#endif
