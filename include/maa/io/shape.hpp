// Shapes that come from files: their text and their size without overflow.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <limits>
#include <span>

MAA_NAMESPACE_BEGIN

namespace detail {

// "[2, 3]"
inline std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const auto size : shape) {
    text += concatenate(text.size() > 1 ? ", " : "", size);
  }
  return text + "]";
}

// Number of elements times `element_bytes`, or -1 if a size is negative or the product overflows. Zero sizes
// do not hide an overflow of the others: strides are formed from them.
inline Index checked_bytes(std::span<const Index> shape, Index element_bytes) {
  Index product = element_bytes;
  bool empty = false;
  for (const auto size : shape) {
    if (size < 0) {
      return -1;
    }
    empty = empty || size == 0;
    if (size > 0 && product > std::numeric_limits<Index>::max() / size) {
      return -1;
    }
    product *= std::max<Index>(size, 1);
  }
  return empty ? 0 : product;
}

// A text from a file, shortened for messages.
inline std::string quote(std::string_view text) {
  constexpr std::size_t limit = 120;
  return concatenate("'", text.substr(0, limit), text.size() > limit ? "..." : "", "'");
}

}  // namespace detail

MAA_NAMESPACE_END
