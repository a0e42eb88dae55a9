// Finiteness by bit pattern: true also in translation units that a user compiles with -ffast-math.
#pragma once

#include <maa/core/config.hpp>

#include <bit>
#include <concepts>
#include <span>
#include <type_traits>

MAA_NAMESPACE_BEGIN

template <std::floating_point T>
constexpr bool is_finite(T value) noexcept {
  if constexpr (sizeof(T) == 4) {
    return (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
  } else {
    static_assert(sizeof(T) == 8);
    return (std::bit_cast<std::uint64_t>(value) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
  }
}

// Index of the first NaN or infinity, or -1.
template <class T>
Index first_nonfinite(std::span<T> values) noexcept {
  using Number = std::remove_const_t<T>;
  constexpr std::size_t block = 64;  // of fixed length and without a branch, so that compilers vectorise it
  std::size_t i = 0;
  for (; i + block <= values.size(); i += block) {
    bool all = true;
    for (std::size_t k = 0; k < block; ++k) {
      all &= is_finite<Number>(values[i + k]);
    }
    if (!all) {
      break;
    }
  }
  for (; i < values.size(); ++i) {
    if (!is_finite<Number>(values[i])) {
      return static_cast<Index>(i);
    }
  }
  return -1;
}

MAA_NAMESPACE_END
