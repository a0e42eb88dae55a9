// The activation functions every backend knows.
#pragma once

#include <maa/core/config.hpp>

MAA_NAMESPACE_BEGIN

// elu: alpha = 1. gelu: x * Phi(x), the exact form. mish: x * tanh(log(1 + exp(x))).
enum class Activation { identity, relu, elu, gelu, mish, tanh };

MAA_NAMESPACE_END
