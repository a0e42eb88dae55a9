#include "paper_models.hpp"

#include "paper_factory.hpp"

namespace maa::examples {

const study::ModelFactory paper_models = paper_factory<PaperConfig, &PaperRecipe::paper, cpu::Backend>;
const study::ModelFactory reference_models =
    paper_factory<ReferenceConfig, &PaperRecipe::reference, cpu::Backend>;

}  // namespace maa::examples
