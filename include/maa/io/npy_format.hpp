// The format of .npy files (versions 1 to 3), without arrays of any library. Objects (pickles), structures
// and complex numbers are refused; nothing is allocated by a size that the file does not back.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/io/half.hpp>
#include <maa/io/known_content.hpp>
#include <maa/io/shape.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN

// Numbers of an array in C order.
template <class T>
struct NpyArray {
  std::vector<Index> shape;
  Buffer<T> values;
  bool flags = false;  // stored as bools
};

namespace detail {

// What the header of an .npy file says.
struct NpyHeader {
  char kind = 'f';       // f float, i integer, u unsigned, b bool, U text
  Index item_bytes = 4;  // of one element
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<Index> shape;
  Index count = 0;        // elements
  Index data_offset = 0;  // bytes before the first element
};

// A file's first bytes that parse_npy needs: no header is longer.
inline constexpr Index npy_beginning = 1 << 16;

// Checks magic, version, header and that the data has exactly the size that dtype and shape say, from the
// beginning of a file of `total` bytes.
NpyHeader parse_npy(std::span<const std::byte> beginning, Index total, const std::string& label);

template <class Stored>
Stored load_element(const std::byte* from, bool big_endian) {
  std::byte bytes[sizeof(Stored)];
  std::memcpy(bytes, from, sizeof(Stored));
  if (big_endian) {
    std::reverse(std::begin(bytes), std::end(bytes));
  }
  Stored value;
  std::memcpy(&value, bytes, sizeof(Stored));
  return value;
}

// Where element i in C order lies in the file, in elements.
inline Index npy_position(const NpyHeader& header, Index i) {
  if (!header.fortran_order) {
    return i;
  }
  Index position = 0;
  Index stride = header.count;
  for (auto d = header.shape.size(); d-- > 0;) {
    stride /= header.shape[d];
    position += i % header.shape[d] * stride;
    i /= header.shape[d];
  }
  return position;
}

// Calls write(i, number i in C order) for every element; `convert` turns a stored element into a number.
template <class Stored, class Convert, class Write>
void for_each_element(const NpyHeader& header, const std::byte* data, Convert convert, Write write) {
  constexpr auto bytes = static_cast<Index>(sizeof(Stored));
  for (Index i = 0; i < header.count; ++i) {
    write(i, convert(load_element<Stored>(data + npy_position(header, i) * bytes, header.big_endian)));
  }
}

template <class T, class Stored, class Write>
void decode_numbers(const NpyHeader& header, const std::byte* data, const std::string& label, Write write) {
  for_each_element<Stored>(
      header, data,
      [&](Stored value) {
        if constexpr (std::is_integral_v<T>) {
          require(std::in_range<T>(value), label,
                  ": expected numbers that fit the integer type asked for, found ", value);
        }
        return static_cast<T>(value);
      },
      write);
}

// An array of numbers from what follows the header of an .npy file; `label` leads error messages. float and
// double take every number type (rounding to nearest); integer types take integers that fit, and bools.
template <class T>
NpyArray<T> decode_npy(const NpyHeader& header, const std::byte* data, const std::string& label) {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>, "use std::uint8_t for flags");
  require(header.kind != 'U', label, ": expected numbers, found text");
  require(std::is_floating_point_v<T> || header.kind != 'f', label,
          ": expected integers, found floating-point numbers");
  NpyArray<T> array{header.shape, Buffer<T>(header.count), header.kind == 'b'};
  const auto write = [to = array.values.data()](Index i, T value) { to[i] = value; };
  const auto size = header.item_bytes;
  if (header.kind == 'b') {
    for_each_element<std::uint8_t>(
        header, data, [](std::uint8_t v) { return static_cast<T>(v != 0); }, write);
  } else if (header.kind == 'f') {
    if constexpr (std::is_floating_point_v<T>) {
      const auto convert = [](auto v) { return static_cast<T>(v); };
      size == 2
          ? for_each_element<std::uint16_t>(
                header, data, [](std::uint16_t v) { return static_cast<T>(float_from_float16(v)); }, write)
      : size == 4 ? for_each_element<float>(header, data, convert, write)
                  : for_each_element<double>(header, data, convert, write);
    }
  } else if (header.kind == 'i') {
    size == 1   ? decode_numbers<T, std::int8_t>(header, data, label, write)
    : size == 2 ? decode_numbers<T, std::int16_t>(header, data, label, write)
    : size == 4 ? decode_numbers<T, std::int32_t>(header, data, label, write)
                : decode_numbers<T, std::int64_t>(header, data, label, write);
  } else {
    size == 1   ? decode_numbers<T, std::uint8_t>(header, data, label, write)
    : size == 2 ? decode_numbers<T, std::uint16_t>(header, data, label, write)
    : size == 4 ? decode_numbers<T, std::uint32_t>(header, data, label, write)
                : decode_numbers<T, std::uint64_t>(header, data, label, write);
  }
  return array;
}

// The dtype of T, little-endian: "<f4"; "|b1" for bool.
template <class T>
std::string npy_descr() {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  const char kind = std::is_same_v<T, bool>       ? 'b'
                    : std::is_floating_point_v<T> ? 'f'
                    : std::is_signed_v<T>         ? 'i'
                                                  : 'u';
  return concatenate(sizeof(T) == 1 ? '|' : '<', kind, sizeof(T));
}

// The bytes of an .npy file in C order.
std::string encode_npy(const std::string& descr, std::span<const Index> shape,
                       std::span<const std::byte> numbers);

}  // namespace detail

#if MAA_BODIES

namespace detail {

// Parses the Python dictionary in the header, e.g. {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4),
// }.
class NpyHeaderParser {
 public:
  NpyHeaderParser(std::string_view text, const std::string& label) : text_(text), label_(label) {}

  MAA_COLD NpyHeader parse() {
    NpyHeader header;
    bool seen[3] = {};
    expect('{');
    while (!accept('}')) {
      const auto key = string();
      const int field = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      require(field >= 0 && !seen[field], label_,
              ": expected the keys descr, fortran_order and shape once, found ", quote(key));
      seen[field] = true;
      expect(':');
      switch (field) {
        case 0:
          descr(header);
          break;
        case 1:
          header.fortran_order = boolean();
          break;
        default:
          header.shape = shape();
          break;
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    require(text_.empty(), label_, ": expected the end of the header, found ", quote(text_));
    require(seen[0] && seen[1] && seen[2], label_,
            ": expected the keys descr, fortran_order and shape, found fewer");
    return header;
  }

 private:
  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t' || text_[0] == '\r')) {
      text_.remove_prefix(1);
    }
  }
  bool accept(char wanted) {
    skip_space();
    if (text_.empty() || text_[0] != wanted) {
      return false;
    }
    text_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) {
    require(accept(wanted), label_, ": expected ", wanted, " in the header, found ", quote(text_));
  }
  std::string_view string() {
    skip_space();
    require(!text_.empty() && (text_[0] == '\'' || text_[0] == '"'), label_,
            ": expected a text in the header, found ", quote(text_));
    const auto end = text_.find(text_[0], 1);
    require(end != text_.npos, label_, ": expected a closing quote in the header");
    const auto result = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return result;
  }
  bool boolean() {
    skip_space();
    for (const auto word : {std::string_view("True"), std::string_view("False")}) {
      if (text_.starts_with(word)) {
        text_.remove_prefix(word.size());
        return word == "True";
      }
    }
    fail(label_, ": expected True or False in the header, found ", quote(text_));
  }
  MAA_COLD std::vector<Index> shape() {
    std::vector<Index> sizes;
    expect('(');
    while (!accept(')')) {
      skip_space();
      Index size = -1;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      require(error == std::errc() && size >= 0 && sizes.size() < 64, label_,
              ": expected up to 64 sizes of at least 0 in the shape, found ", quote(text_));
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      text_.remove_prefix(text_.starts_with('L') ? 1 : 0);  // a long of Python 2
      sizes.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }
  MAA_COLD void descr(NpyHeader& header) {
    skip_space();
    require(text_.empty() || text_[0] != '[', label_, ": expected plain numbers, found structures");
    const auto code = string();
    // An order of bytes, or none for this machine's; a kind; its bytes, but for "?", another name of b1.
    const bool ordered = !code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos;
    auto rest = code.substr(ordered ? 1 : 0);
    require(!rest.starts_with('O'), label_, ": expected numbers, found Python objects (a pickle)");
    rest = rest == "?" ? "b1" : rest;
    Index bytes = 0;
    const bool parsed =
        rest.size() >= 2 &&
        std::from_chars(rest.data() + 1, rest.data() + rest.size(), bytes).ptr == rest.data() + rest.size();
    require(parsed, label_, ": expected a dtype like <f4, found ", quote(code));
    header.kind = rest[0];
    header.item_bytes = header.kind == 'U' ? 4 * std::clamp<Index>(bytes, 0, 1 << 20) : bytes;
    header.big_endian = code[0] == '>';
    const bool known = header.kind == 'U'   ? bytes <= 1 << 20
                       : header.kind == 'b' ? bytes == 1
                       : header.kind == 'f' ? bytes == 2 || bytes == 4 || bytes == 8
                                            : (header.kind == 'i' || header.kind == 'u') &&
                                                  (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
    require(known && bytes >= 0, label_,
            ": expected a dtype of f2, f4, f8, i1 to i8, u1 to u8, b1 or U1 to U1048576, found ",
            quote(code));
  }

  std::string_view text_;
  const std::string& label_;
};

}  // namespace detail

MAA_COLD MAA_INLINE detail::NpyHeader detail::parse_npy(std::span<const std::byte> bytes, Index total,
                                                        const std::string& label) {
  const auto byte_at = [&](std::size_t i) { return std::to_integer<std::size_t>(bytes[i]); };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (bytes.size() < 12 || !text.starts_with("\x93NUMPY")) {
    const auto content = known_content(text);
    fail(label, ": expected an .npy array, found ",
         bytes.size() < 12 ? "fewer than 12 bytes"
         : content.empty() ? "other data"
                           : content);
  }
  const auto version = byte_at(6);
  require(version >= 1 && version <= 3 && byte_at(7) == 0, label,
          ": expected format version 1.0, 2.0 or 3.0, found ", version, ".", byte_at(7));
  const std::size_t begin = version == 1 ? 10 : 12;
  std::size_t length = byte_at(8) | byte_at(9) << 8;
  if (version > 1) {
    length |= byte_at(10) << 16 | byte_at(11) << 24;
  }
  require(length <= bytes.size() - begin, label, ": expected a header of at most ", npy_beginning - 12,
          " bytes that the file has, found ", length, " bytes in a file of ", total);
  auto header = NpyHeaderParser(text.substr(begin, length), label).parse();
  header.data_offset = static_cast<Index>(begin + length);
  const auto found = total - header.data_offset;
  const auto expected = checked_bytes(header.shape, header.item_bytes);
  // Strides are formed in elements of up to 8 bytes.
  require(expected >= 0 && checked_bytes(header.shape, 8) >= 0, label, ": the size of shape ",
          shape_text(header.shape), " overflows");
  require(expected == found, label, ": expected ", expected, " bytes of data for shape ",
          shape_text(header.shape), ", found ", found, found < expected ? " (cut short?)" : "");
  header.count = header.item_bytes == 0 ? 0 : expected / header.item_bytes;
  return header;
}

MAA_COLD MAA_INLINE std::string detail::encode_npy(const std::string& descr, std::span<const Index> shape,
                                                   std::span<const std::byte> numbers) {
  auto text = concatenate("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (const auto size : shape) {
    text += concatenate(size, ", ");
  }
  text += "), }";
  // Padded so that the numbers begin at a multiple of 64.
  const std::size_t total = (10 + text.size() + 1 + 63) / 64 * 64;
  text.resize(total - 10 - 1, ' ');
  text += '\n';
  const std::size_t length = text.size();
  require(length <= 0xffff, "npy: expected a shape with fewer dimensions");
  const char start[] = {'\x93',
                        'N',
                        'U',
                        'M',
                        'P',
                        'Y',
                        1,
                        0,
                        static_cast<char>(length & 0xff),
                        static_cast<char>(length >> 8)};
  text.insert(0, start, sizeof start);
  text.append(reinterpret_cast<const char*>(numbers.data()), numbers.size());
  return text;
}

#endif

MAA_NAMESPACE_END
