// How products treat weights that are packed for inference, for every backend.
#pragma once

#include <maa/core/config.hpp>

#include <array>
#include <string_view>

MAA_NAMESPACE_BEGIN

// bfloat16 keeps 8 significant bits of a float and its range. Sums are always in float.
enum class Precision {
  fp32,
  bf16_weights,  // weights rounded to bfloat16: half the memory and, with few samples, half the time
  bf16,  // activations too, multiplied by the processor's bfloat16 units; where it has none that are faster
         // than float arithmetic, as bf16_weights
};
constexpr std::array<std::string_view, 3> names_of(Precision) {
  return {"fp32", "bf16_weights", "bf16"};
}

MAA_NAMESPACE_END
