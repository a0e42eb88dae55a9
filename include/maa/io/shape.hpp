// Shapes that come from files: their text and their size without overflow.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <limits>
#include <span>

MAA_NAMESPACE_BEGIN

namespace detail {

// "[2, 3]" for a message; the shape must outlive it.
inline TextPart shape_text(std::span<const Index> shape) {
  return TextPart::shape(shape);
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

// A text from a file, shortened for a message, which it must outlive.
inline TextPart quote(std::string_view text) {
  return TextPart::quoted(text);
}

}  // namespace detail

MAA_NAMESPACE_END
