#include <maa/generator/official.hpp>

#include "generate_on.hpp"

namespace maa::examples {

void generate_by_official(std::vector<Demonstration>& demonstrations, const GenerateArguments& arguments) {
  detail::generate_on(arguments, demonstrations, [&]<class Backend>(Backend backend) {
    return load_official<Generator<MetaWorldPolicy, ReferenceConfig, Backend>>(arguments.generator,
                                                                               std::move(backend));
  });
}

}  // namespace maa::examples
