// The one exception type of the library, and the checks that throw it.
#pragma once

#include <maa/core/config.hpp>

#include <concepts>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#if MAA_BODIES
#include <charconv>
#include <cstdio>
#include <cstdlib>
#endif

MAA_NAMESPACE_BEGIN

// Bad input, bad files, impossible requests. The message names what was expected and what was found. An
// operation that throws leaves its object as it was. Under -fno-exceptions, where only policy.hpp is of use,
// the message goes to the standard error stream and the program ends.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

// A piece of a message, formatted only when the message is put together. Its type does not depend on that of
// what it stands for, so that the formatting is compiled once. A text must outlive it.
class TextPart {
 public:
  TextPart(std::string_view value) : TextPart(Kind::text, {.text = value.data()}, value.size()) {}
  TextPart(const char* value) : TextPart(std::string_view(value)) {}
  TextPart(const std::string& value) : TextPart(std::string_view(value)) {}
  template <std::same_as<bool> Flag>  // not from pointers
  TextPart(Flag value) : TextPart(value ? "true" : "false") {}
  TextPart(char value) : TextPart(Kind::character, {.character = value}) {}
  TextPart(float value) : TextPart(Kind::single, {.single = value}) {}  // other digits than as a double
  TextPart(double value) : TextPart(Kind::real, {.real = value}) {}
  template <std::signed_integral Number>
  TextPart(Number value) : TextPart(Kind::integer, {.integer = value}) {}
  template <std::unsigned_integral Number>
  requires(!std::same_as<Number, bool>) TextPart(Number value)
      : TextPart(Kind::natural, {.natural = value}) {}
  template <class Number>  // Extent, parameter_count
  requires(std::is_class_v<Number>&& std::convertible_to<const Number&, Index>) TextPart(const Number& value)
      : TextPart(static_cast<Index>(value)) {}
  // A text from a file, in quotes and shortened.
  static TextPart quoted(std::string_view value) {
    return {Kind::quoted, {.text = value.data()}, value.size()};
  }
  // "[2, 3]"
  static TextPart shape(std::span<const Index> value) {
    return {Kind::shape, {.sizes = value.data()}, value.size()};
  }

  void append_to(std::string& text) const;

 private:
  enum class Kind { text, quoted, shape, character, integer, natural, single, real };
  union Value {
    const char* text;
    const Index* sizes;
    char character;
    std::int64_t integer;
    std::uint64_t natural;
    float single;
    double real;
  };

  TextPart(Kind kind, Value value, std::size_t size = 0) : kind_(kind), size_(size), value_(value) {}

  Kind kind_;
  std::size_t size_;  // of a text or a shape
  Value value_;
};

std::string join(std::initializer_list<TextPart> parts);
[[noreturn, gnu::cold]] void throw_error(std::initializer_list<TextPart> parts);

}  // namespace detail

// Joins strings and numbers to one text.
template <class... Parts>
std::string concatenate(const Parts&... parts) {
  return detail::join({parts...});
}

// Throws Error with the joined parts as message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::throw_error({parts...});
}

// Throws Error with the joined parts unless `condition` holds. The parts are only gathered and joined on
// failure.
template <class... Parts>
[[gnu::always_inline]] inline void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    detail::throw_error({parts...});
  }
}

#if MAA_BODIES
namespace detail {

template <class Number>
void append_number(std::string& text, Number number) {
  char digits[64];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// Without control characters: a terminal would obey those that a file brings.
MAA_COLD MAA_INLINE void append_printable(std::string& text, std::string_view part, bool lines) {
  constexpr char digits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto byte = static_cast<unsigned char>(part[i]);
    const bool line = lines && (byte == '\n' || byte == '\t');
    // U+0080 to U+009F are control characters, too: 0xc2, 0x80 to 0x9f.
    const bool second =
        byte >= 0x80 && byte < 0xa0 && i > 0 && static_cast<unsigned char>(part[i - 1]) == 0xc2;
    if ((byte < 0x20 && !line) || byte == 0x7f || second) {
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      text += part[i];
    }
  }
}

MAA_COLD MAA_INLINE void TextPart::append_to(std::string& text) const {
  constexpr std::size_t limit = 120;  // of quoted texts
  switch (kind_) {
    case Kind::text:
      text.append(value_.text, size_);
      break;
    case Kind::quoted:
      text += '\'';
      append_printable(text, {value_.text, size_ < limit ? size_ : limit}, false);
      text += size_ > limit ? "...'" : "'";
      break;
    case Kind::shape:
      text += '[';
      for (std::size_t i = 0; i < size_; ++i) {
        text += i > 0 ? ", " : "";
        append_number(text, value_.sizes[i]);
      }
      text += ']';
      break;
    case Kind::character:
      text += value_.character;
      break;
    case Kind::integer:
      append_number(text, value_.integer);
      break;
    case Kind::natural:
      append_number(text, value_.natural);
      break;
    case Kind::single:
      append_number(text, value_.single);
      break;
    case Kind::real:
      append_number(text, value_.real);
  }
}

MAA_COLD MAA_INLINE std::string join(std::initializer_list<TextPart> parts) {
  std::string text;
  for (const auto& part : parts) {
    part.append_to(text);
  }
  return text;
}

[[noreturn, gnu::cold, gnu::noinline]] MAA_INLINE void throw_error(std::initializer_list<TextPart> parts) {
  constexpr std::size_t limit = 8'000;  // of a message
  const auto whole = join(parts);
  std::string text;
  append_printable(text, std::string_view(whole).substr(0, limit), true);
  text += whole.size() > limit ? "..." : "";
#if defined(__cpp_exceptions)
  throw Error(text);
#else
  std::fputs((text + '\n').c_str(), stderr);
  std::abort();
#endif
}

}  // namespace detail
#endif

MAA_NAMESPACE_END
