#include "cuda_models.hpp"

#if MAA_EXAMPLES_CUDA
#include <maa/cuda.hpp>

#include "paper_factory.hpp"

namespace maa::examples {
namespace study {

template <>
cuda::Backend open_backend<cuda::Backend>(const Options&) {
  return cuda::Backend();
}

}  // namespace study

const study::ModelFactory& cuda_models(const std::string& preset) {
  static constexpr auto paper = paper_factory<PaperConfig, &PaperRecipe::paper, cuda::Backend>;
  static constexpr auto reference = paper_factory<ReferenceConfig, &PaperRecipe::reference, cuda::Backend>;
  static constexpr auto fixed = study::default_factory<cuda::Backend>;
  return preset == "paper" ? paper : preset == "reference" ? reference : fixed;
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
