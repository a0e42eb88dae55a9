// The header of a safetensors file: 8 bytes of length (little-endian), then a JSON object
//     {"__metadata__": {text: text}, tensor name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin,
//     end]}}
// padded with spaces, then the tensors' bytes, row-major, offsets counted from the end of the header. Parsing
// is strict: tensors cover the data without gap or overlap, and nothing is allocated by a size that the file
// does not back.
#pragma once

#include <maa/io/shape.hpp>

#include <map>
#include <string>
#include <vector>

#if MAA_BODIES
#pragma push_macro("Bool")  // X11's, which RapidJSON calls a function of that name
#undef Bool
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <new>
#include <set>
#endif

MAA_NAMESPACE_BEGIN

// Element types, named as in files. Those from F4 on are known by name and size only.
enum class Dtype {
  BOOL,
  U8,
  I8,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  I64,
  U64,
  F64,
  F4,
  F6_E2M3,
  F6_E3M2,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  C64
};

// A tensor in a file. `begin` and `end` are bytes from the start of the data.
struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<Index> shape;
  Index begin = 0;
  Index end = 0;
};

struct DtypeInfo {
  std::string_view name;
  Index bytes;         // of an element; 0 if several share a byte
  bool number = true;  // that C++ has a type for, or float takes
  Index bits = 8 * bytes;
};

inline DtypeInfo dtype_info(Dtype dtype) {
  constexpr DtypeInfo table[] = {{"BOOL", 1},
                                 {"U8", 1},
                                 {"I8", 1},
                                 {"I16", 2},
                                 {"U16", 2},
                                 {"F16", 2},
                                 {"BF16", 2},
                                 {"I32", 4},
                                 {"U32", 4},
                                 {"F32", 4},
                                 {"I64", 8},
                                 {"U64", 8},
                                 {"F64", 8},
                                 {"F4", 0, false, 4},
                                 {"F6_E2M3", 0, false, 6},
                                 {"F6_E3M2", 0, false, 6},
                                 {"F8_E5M2", 1, false},
                                 {"F8_E4M3", 1, false},
                                 {"F8_E8M0", 1, false},
                                 {"F8_E4M3FNUZ", 1, false},
                                 {"F8_E5M2FNUZ", 1, false},
                                 {"C64", 8, false}};
  return table[static_cast<int>(dtype)];
}

namespace detail {

inline constexpr Index safetensors_header_limit = 100'000'000;  // bytes: the format's own

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

// Parses and checks a header text; `data_size` is the number of bytes that follow it, `file` leads error
// messages.
SafetensorsHeader parse_safetensors_header(std::string_view text, Index data_size, const std::string& file);

// The text as JSON, with quotes and escapes. Error unless it is UTF-8.
std::string json_text(const std::string& text);

#if MAA_BODIES

// RapidJSON's own allocators do not notice that there is no memory: it would write to a null pointer.
struct JsonMemory {
  static constexpr bool kNeedFree = true;
  void* Malloc(std::size_t size) { return Realloc(nullptr, 0, size); }
  void* Realloc(void* memory, std::size_t, std::size_t size) {
    void* const result = std::realloc(memory, std::max<std::size_t>(size, 1));
    if (result == nullptr) {
      throw std::bad_alloc();
    }
    return result;
  }
  static void Free(void* memory) noexcept { std::free(memory); }
};

// Receives the JSON events of a header. The parser's depth is bounded by refusing everything unexpected at
// once.
class SafetensorsHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, SafetensorsHandler> {
 public:
  using Size = rapidjson::SizeType;

  explicit SafetensorsHandler(std::string file) : file_(std::move(file)) {}
  SafetensorsHeader take() { return std::move(header_); }

  bool Null() {
    if (depth_ == 1 && name_ == "__metadata__") {
      return true;  // as good as none
    }
    unexpected("null");
  }
  bool Bool(bool) { unexpected("a boolean"); }
  bool RawNumber(const char* text, Size size, bool) {
    const std::string_view number(text, size);
    Index value = 0;
    const auto [end, code] = std::from_chars(text, text + size, value);
    const bool whole = code == std::errc() && end == text + size;
    if (!in_array_ || !whole || value < 0) {
      unexpected(concatenate("the number ", whole ? std::string(number) : quote(number)));
    }
    (field_ == "shape" ? tensor_.shape : offsets_).push_back(value);
    return true;
  }
  bool String(const char* text, Size size, bool) {
    const std::string_view value(text, size);
    if (depth_ == 2 && in_metadata_) {
      header_.metadata[field_] = value;
    } else if (depth_ == 2 && !in_array_ && field_ == "dtype") {
      tensor_.dtype = dtype_of_name(value);
    } else {
      unexpected(concatenate("the text ", quote(value)));
    }
    return true;
  }
  bool StartObject() {
    if (depth_ > 1 || in_array_) {
      unexpected("an object");
    }
    if (++depth_ == 2) {
      in_metadata_ = name_ == "__metadata__";
      tensor_ = {};
      tensor_.name = name_;
      offsets_.clear();
      fields_.clear();
    }
    return true;
  }
  bool Key(const char* text, Size size, bool) {
    const std::string value(text, size);
    if (depth_ == 1) {
      name_ = value;
      require(names_.insert(value).second, file_, ": expected unique tensor names, found ", quote(value),
              " twice");
      return true;
    }
    field_ = value;
    if (!fields_.insert(value).second) {  // no require(): where() would be a third of a header's time
      fail(where(), ": expected unique keys, found ", quote(value), " twice");
    }
    if (!in_metadata_ && value != "dtype" && value != "shape" && value != "data_offsets") {
      fail(where(), ": expected the keys dtype, shape and data_offsets, found ", quote(value));
    }
    return true;
  }
  bool EndObject(Size) {
    if (--depth_ == 1 && !in_metadata_) {
      if (fields_.size() != 3) {
        fail(where(), ": expected the keys dtype, shape and data_offsets, found ", fields_.size(),
             " of them");
      }
      if (offsets_.size() != 2) {
        fail(where(), ": expected 2 data_offsets, found ", offsets_.size());
      }
      tensor_.begin = offsets_[0];
      tensor_.end = offsets_[1];
      header_.tensors.push_back(std::move(tensor_));
    }
    return true;
  }
  bool StartArray() {
    if (depth_ != 2 || in_metadata_ || in_array_ || field_ == "dtype") {
      unexpected("an array");
    }
    in_array_ = true;
    return true;
  }
  bool EndArray(Size) {
    in_array_ = false;
    return true;
  }

 private:
  std::string where() const {
    return concatenate(file_, depth_ == 0 ? "" : ", tensor ", depth_ ? quote(name_) : "");
  }
  [[noreturn]] void unexpected(const std::string& found) const {
    const char* expected = depth_ == 0         ? "an object as header"
                           : depth_ == 1       ? "an object per tensor"
                           : in_metadata_      ? "texts as metadata"
                           : field_.empty()    ? "keys"
                           : field_ == "dtype" ? "a text as dtype"
                                               : "an array of integers of at least 0";
    fail(where(), ", ", depth_ == 2 ? quote(field_) : "header", ": expected ", expected, ", found ", found);
  }
  Dtype dtype_of_name(std::string_view name) const {
    for (int i = 0; i <= static_cast<int>(Dtype::C64); ++i) {
      if (dtype_info(static_cast<Dtype>(i)).name == name) {
        return static_cast<Dtype>(i);
      }
    }
    fail(where(), ": expected a known dtype (BOOL, U8 ... F64, C64), found ", quote(name));
  }

  std::string file_;
  SafetensorsHeader header_;
  std::set<std::string> names_;
  std::set<std::string> fields_;
  std::string name_;
  std::string field_;
  TensorEntry tensor_;
  std::vector<Index> offsets_;
  int depth_ = 0;
  bool in_metadata_ = false;
  bool in_array_ = false;
};

MAA_COLD MAA_INLINE SafetensorsHeader parse_safetensors_header(std::string_view text, Index data_size,
                                                               const std::string& file) {
  // The parser would skip a byte order mark and take a zero byte for the end.
  const auto first = text.find_first_not_of(" \t\r\n");
  require(first != text.npos && text[first] == '{' && text.find('\0') == text.npos, file,
          ": expected a JSON object without zero bytes as header, found ", quote(text));
  SafetensorsHandler handler(file);
  rapidjson::MemoryStream stream(text.data(), text.size());
  using JsonReader = rapidjson::GenericReader<rapidjson::UTF8<>, rapidjson::UTF8<>, JsonMemory>;
  constexpr auto flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;
  const rapidjson::ParseResult result = JsonReader().Parse<flags>(stream, handler);
  require(!result.IsError(), file, ": expected a JSON header, found invalid JSON at its byte ",
          result.Offset(), ": ", rapidjson::GetParseError_En(result.Code()));
  auto header = handler.take();
  Index last = 0;
  for (const auto& tensor : header.tensors) {
    last = std::max(last, tensor.end);
  }
  require(last <= data_size, file, ": expected ", last, " bytes of data, found ", data_size, " (cut short?)");
  for (const auto& tensor : header.tensors) {
    const auto [name, bytes, number, bits] = dtype_info(tensor.dtype);
    auto expected = checked_bytes(tensor.shape, std::max<Index>(bytes, 1));
    if (bytes == 0 && expected > 0) {
      // Several to a byte, whole bytes in all.
      require(expected % 8 * bits % 8 == 0, file, ", tensor ", quote(tensor.name),
              ": expected whole bytes, found ", name, " ", shape_text(tensor.shape));
      expected = expected / 8 * bits + expected % 8 * bits / 8;
    }
    require(expected >= 0, file, ", tensor ", quote(tensor.name), ": the size of shape ",
            shape_text(tensor.shape), " overflows");
    require(tensor.begin <= tensor.end, file, ", tensor ", quote(tensor.name),
            ": expected data_offsets in order, found [", tensor.begin, ", ", tensor.end, "]");
    require(tensor.end - tensor.begin == expected, file, ", tensor ", quote(tensor.name), ": expected ",
            expected, " bytes for ", name, " ", shape_text(tensor.shape), ", found ",
            tensor.end - tensor.begin);
  }
  std::vector<std::array<Index, 3>> places;  // begin, end, number in the header
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    places.push_back({header.tensors[i].begin, header.tensors[i].end, static_cast<Index>(i)});
  }
  std::sort(places.begin(), places.end());
  std::vector<TensorEntry> ordered;
  for (const auto& place : places) {
    ordered.push_back(std::move(header.tensors[static_cast<std::size_t>(place[2])]));
  }
  header.tensors = std::move(ordered);
  Index end = 0;
  for (const auto& tensor : header.tensors) {
    require(tensor.begin == end, file, ", tensor ", quote(tensor.name), ": expected data from byte ", end,
            ", found it from byte ", tensor.begin,
            tensor.begin < end ? " (overlapping tensors)" : " (a gap)");
    end = tensor.end;
  }
  require(end == data_size, file, ": expected ", end, " bytes of data, found ", data_size,
          " (trailing bytes)");
  return header;
}

MAA_COLD MAA_INLINE std::string json_text(const std::string& text) {
  using JsonText = rapidjson::GenericStringBuffer<rapidjson::UTF8<>, JsonMemory>;
  JsonText buffer;
  rapidjson::Writer<JsonText, rapidjson::UTF8<>, rapidjson::UTF8<>, JsonMemory,
                    rapidjson::kWriteValidateEncodingFlag>
      writer(buffer);
  require(writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size())),
          "safetensors writer: expected UTF-8, found the bytes ", quote(text));
  return {buffer.GetString(), buffer.GetSize()};
}

#pragma pop_macro("Bool")
#endif

}  // namespace detail

MAA_NAMESPACE_END
