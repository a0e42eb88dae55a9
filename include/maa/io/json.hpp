// JSON (RFC 8259) as the headers of safetensors files need it: read as events, without a document in memory,
// and texts written.
#pragma once

#include <maa/io/shape.hpp>
#include <maa/io/utf8.hpp>

#include <charconv>
#include <string>
#include <string_view>

MAA_NAMESPACE_BEGIN
namespace detail {

// The text with quotes and escapes. Error unless it is UTF-8.
MAA_COLD inline std::string json_text(std::string_view text) {
  std::string result = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    require(length > 0, "safetensors writer: expected UTF-8, found the bytes ", quote(text));
    constexpr std::string_view special = "\"\\\b\f\n\r\t", names = "\"\\bfnrt";
    const auto c = static_cast<unsigned char>(text[i]);
    if (const auto found = special.find(text[i]); found != special.npos) {
      result += {'\\', names[found]};
    } else if (c < 0x20) {
      constexpr std::string_view digits = "0123456789abcdef";
      result += {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    } else {
      result.append(text, i, length);
    }
    i += length;
  }
  return result + '"';
}

// Calls the handler's null(), boolean(), number_unsigned(std::uint64_t), number_integer(std::int64_t) for
// negative ones, number_other(text) for fractions and what fits neither, string(text), start_object(),
// key(text), end_object(), start_array(), end_array() in the order of the text; then it has ended.
// parse_error(byte, expected) must throw. What nests deeper than a handler refuses takes stack.
template <class Handler>
class JsonReader {
 public:
  JsonReader(std::string_view text, Handler& handler) : text_(text), handler_(handler) {}

  void read() {
    value();
    skip_space();
    expect(at_ == text_.size(), "the end");
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void expect(bool condition, const char* what) const {
    if (!condition) {
      handler_.parse_error(at_, what);
    }
  }
  void skip_space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r') {
      ++at_;
    }
  }
  bool accept_word(std::string_view word) {
    const bool found = text_.substr(at_).starts_with(word);
    at_ += found ? word.size() : 0;
    return found;
  }

  MAA_COLD void value() {
    skip_space();
    if (accept_word("{")) {
      handler_.start_object();
      members('}', [&] {
        expect(peek() == '"', "a key");
        handler_.key(string());
        skip_space();
        expect(accept_word(":"), "a colon");
        value();
      });
      handler_.end_object();
    } else if (accept_word("[")) {
      handler_.start_array();
      members(']', [&] { value(); });
      handler_.end_array();
    } else if (peek() == '"') {
      handler_.string(string());
    } else if (accept_word("null")) {
      handler_.null();
    } else if (accept_word("true") || accept_word("false")) {
      handler_.boolean();
    } else {
      number();
    }
  }
  template <class Member>
  void members(char end, const Member& member) {
    const std::string_view close(&end, 1);
    skip_space();
    if (accept_word(close)) {
      return;
    }
    do {
      skip_space();
      member();
      skip_space();
    } while (accept_word(","));
    expect(accept_word(close), "a comma or the end of the list");
  }

  void digits() {
    expect(peek() >= '0' && peek() <= '9', "a digit");
    while (peek() >= '0' && peek() <= '9') {
      ++at_;
    }
  }
  MAA_COLD void number() {
    const std::size_t first = at_;
    const bool negative = accept_word("-");
    expect(peek() >= '0' && peek() <= '9', "a value");
    if (!accept_word("0")) {
      digits();
    }
    bool integer = true;
    if (accept_word(".")) {
      integer = false;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      at_ += peek() == '+' || peek() == '-' ? 1 : 0;
      digits();
    }
    const auto text = text_.substr(first, at_ - first);
    const auto* const end = text.data() + text.size();
    std::uint64_t natural = 0;
    std::int64_t whole = 0;
    if (integer && !negative && std::from_chars(text.data(), end, natural).ec == std::errc()) {
      handler_.number_unsigned(natural);
    } else if (integer && negative && std::from_chars(text.data(), end, whole).ec == std::errc()) {
      handler_.number_integer(whole);
    } else {
      handler_.number_other(text);
    }
  }

  MAA_COLD std::string string() {
    std::string result;
    ++at_;  // the quote
    while (!accept_word("\"")) {
      expect(at_ < text_.size() && static_cast<unsigned char>(peek()) >= 0x20, "the end of a text");
      if (accept_word("\\")) {
        escape(result);
        continue;
      }
      const std::size_t length = utf8_length(text_, at_);
      expect(length > 0, "UTF-8");
      result.append(text_, at_, length);
      at_ += length;
    }
    return result;
  }
  MAA_COLD void escape(std::string& result) {
    constexpr std::string_view names = "\"\\/bfnrt", characters = "\"\\/\b\f\n\r\t";
    if (const auto found = names.find(peek()); at_ < text_.size() && found != names.npos) {
      ++at_;
      result += characters[found];
      return;
    }
    expect(accept_word("u"), "an escaped character");
    std::uint32_t code = code_unit();
    if (code >= 0xd800 && code < 0xe000) {  // the first half of a surrogate pair
      expect(code < 0xdc00 && accept_word("\\u"), "a surrogate pair");
      const std::uint32_t low = code_unit();
      expect(low >= 0xdc00 && low < 0xe000, "a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(code, result);
  }
  std::uint32_t code_unit() {
    std::uint32_t code = 0;
    const auto digits = text_.substr(at_, 4);
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16).ptr;
    expect(digits.size() == 4 && end == digits.data() + 4, "four hexadecimal digits");
    at_ += 4;
    return code;
  }

  std::string_view text_;
  Handler& handler_;
  std::size_t at_ = 0;
};

}  // namespace detail
MAA_NAMESPACE_END
