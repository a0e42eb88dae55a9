// Shapes and texts that come from files, in messages. The size of a shape: checked_bytes() of
// core/buffer.hpp.
#pragma once

#include <maa/core/buffer.hpp>

#include <span>

MAA_NAMESPACE_BEGIN

namespace detail {

// "[2, 3]" for a message; the shape must outlive it.
inline TextPart shape_text(std::span<const Index> shape) {
  return TextPart::shape(shape);
}

// A text from a file, shortened for a message, which it must outlive.
inline TextPart quote(std::string_view text) {
  return TextPart::quoted(text);
}

}  // namespace detail

MAA_NAMESPACE_END
