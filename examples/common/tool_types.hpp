// The policies that the programs fit and generate work with: of any sizes, as files say.
#pragma once

#include <tuple>

#include <maa/models/runtime_policy.hpp>

namespace maa::examples {

// What must be known as they are built. A file of CMakeLists.txt's maa_tool_types is compiled for each.
using ToolNetworks =
    std::tuple<RuntimeNetwork<1>, RuntimeNetwork<2>, RuntimeNetwork<3>,
               RuntimeNetwork<1, Heads::mean_and_log_std>, RuntimeNetwork<2, Heads::mean_and_log_std>,
               RuntimeNetwork<3, Heads::mean_and_log_std>, RuntimeNetwork<2, Heads::mean, Tokens::by_layer>>;

#ifdef MAA_TOOL_TYPE
using ToolPolicy = MlpPolicy<std::tuple_element_t<MAA_TOOL_TYPE, ToolNetworks>>;
#endif

// body.operator()<Policy>() for the type that suits such policies. Error if none does.
template <std::size_t at = 0, class Body>
auto with_tool_type(const PolicyShape& shape, const Body& body) {
  using Network = std::tuple_element_t<at, ToolNetworks>;
  if constexpr (at + 1 < std::tuple_size_v<ToolNetworks>) {
    if (!Network::suits(shape)) {
      return with_tool_type<at + 1>(shape, body);
    }
  }
  require(
      Network::suits(shape),
      "expected policies of one to three hidden layers, or by_layer tokens and two of them without a log_std "
      "head, found ",
      maa::detail::field_text(shape.hidden), ", heads ", maa::detail::name_of(shape.heads), ", tokens ",
      maa::detail::name_of(shape.tokens), ": these take a program of their own (examples/ten_lines)");
  Network::set(shape);
  return body.template operator()<MlpPolicy<Network>>();
}

}  // namespace maa::examples
