// Numbers of two bytes, as files hold them.
#pragma once

#include <maa/core/config.hpp>

#include <bit>

MAA_NAMESPACE_BEGIN

namespace detail {

inline float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// IEEE binary16, subnormals and NaN included.
inline float float_from_float16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = (std::uint32_t{bits} >> 10) & 31u;
  const std::uint32_t fraction = std::uint32_t{bits} & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wide = exponent == 31 ? 0xffu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

}  // namespace detail

MAA_NAMESPACE_END
