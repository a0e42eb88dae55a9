#include "generate_on.hpp"
#include "tool_types.hpp"

namespace maa::examples {

template <class Policy>
void generate(std::vector<Demonstration>& demonstrations, const GenerateArguments& arguments) {
  detail::generate_on(arguments, demonstrations, [&]<class Backend>(Backend backend) {
    return Generator<Policy, DefaultConfig, Backend>::load(arguments.generator, std::move(backend));
  });
}

template void generate<ToolPolicy>(std::vector<Demonstration>&, const GenerateArguments&);

}  // namespace maa::examples
