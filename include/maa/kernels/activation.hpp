// The activation functions every backend knows.
#pragma once

#include <maa/core/config.hpp>

#include <array>
#include <string_view>

MAA_NAMESPACE_BEGIN

// elu: alpha = 1. gelu: x * Phi(x), the exact form. mish: x * tanh(log(1 + exp(x))).
enum class Activation { identity, relu, elu, gelu, mish, tanh };
constexpr std::array<std::string_view, 6> names_of(Activation) {
  return {"identity", "relu", "elu", "gelu", "mish", "tanh"};
}

MAA_NAMESPACE_END
