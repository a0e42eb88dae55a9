#include "generate_on.hpp"
#include "tool_policy.hpp"

namespace maa::examples {

void generate(std::vector<Demonstration>& demonstrations, const GenerateArguments& arguments) {
  detail::generate_on(arguments, demonstrations, [&]<class Backend>(Backend backend) {
    return Generator<ToolPolicy, DefaultConfig, Backend>::load(arguments.generator, std::move(backend));
  });
}

}  // namespace maa::examples
