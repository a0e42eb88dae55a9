// The one exception type of the library, and the checks that throw it.
#pragma once

#include <maa/core/config.hpp>

#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

MAA_NAMESPACE_BEGIN

// Bad input, bad files, impossible requests. The message names what was expected and what was found. An
// operation that throws leaves its object as it was.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

inline void append_text(std::string& text, std::string_view part) {
  text += part;
}

template <class Number>
requires std::integral<Number> || std::floating_point<Number>
void append_text(std::string& text, Number number) {
  if constexpr (std::same_as<Number, bool>) {
    text += number ? "true" : "false";
  } else if constexpr (std::same_as<Number, char>) {
    text += number;
  } else {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    text.append(digits, end);
  }
}

}  // namespace detail

// Joins strings and numbers to one text.
template <class... Parts>
std::string concatenate(const Parts&... parts) {
  std::string text;
  (detail::append_text(text, parts), ...);
  return text;
}

// Throws Error with the joined parts as message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(concatenate(parts...));
}

// Throws Error with the joined parts unless `condition` holds. The parts are only joined on failure.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    fail(parts...);
  }
}

MAA_NAMESPACE_END
