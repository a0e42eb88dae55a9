// Tensors in safetensors files: a strict reader and an atomic, deterministic writer.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/nearest_names.hpp>
#include <maa/io/atomic_file.hpp>
#include <maa/io/half.hpp>
#include <maa/io/input_file.hpp>
#include <maa/io/known_content.hpp>
#include <maa/io/npy_format.hpp>
#include <maa/io/safetensors_header.hpp>
#include <maa/io/unread.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <set>
#include <unordered_map>

MAA_NAMESPACE_BEGIN

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace detail {

// The dtype that a C++ type is written as.
template <class T>
constexpr Dtype dtype_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t> ||
                    std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint64_t> ||
                    std::is_same_v<T, std::uint8_t>,
                "tensors in files are float, double, int64, int32, uint64 or uint8");
  return std::is_same_v<T, float>           ? Dtype::F32
         : std::is_same_v<T, double>        ? Dtype::F64
         : std::is_same_v<T, std::int64_t>  ? Dtype::I64
         : std::is_same_v<T, std::int32_t>  ? Dtype::I32
         : std::is_same_v<T, std::uint64_t> ? Dtype::U64
                                            : Dtype::U8;
}

}  // namespace detail

// Opens a file and checks its whole header; tensors are read on demand, straight into their destination.
// Const members may be called from several threads. The file must not be changed in place meanwhile (files
// written by this library never are: a new one replaces them).
class SafetensorsReader {
 public:
  // Error if the file is unreadable, truncated, has trailing bytes or a malformed header: see
  // safetensors_header.hpp.
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::string& path() const noexcept { return file_.path(); }
  // In the order of their data.
  const std::vector<TensorEntry>& tensors() const noexcept { return header_.tensors; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return index_.contains(name); }
  // Error if there is no such tensor.
  const TensorEntry& info(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const noexcept { return header_.metadata; }
  // Error if the metadata tell of another format of this library's than `format`; or, if it is not
  // `optional`, of none.
  void require_format(std::string_view format, bool optional = false) const;

  // Error that lists the tensors that no call has asked for so far, but for those whose names begin with
  // `but_for`.
  void require_all_read(std::string_view but_for = {}) const;

  // T is float, double, int64, int32, uint64 or uint8. Integers are read from their own dtype (uint8 also
  // from BOOL); float and double from F16, BF16, F32 and F64, rounded to nearest where T is narrower. Errors
  // name file, tensor, expected and found.
  template <class T>
  Buffer<T> read(const std::string& name, std::span<const Index> expected_shape) const {
    const auto& tensor = checked(name, expected_shape, detail::dtype_of<T>());
    Buffer<T> values(count_of(tensor));
    fill(tensor, detail::dtype_of<T>(), std::as_writable_bytes(values.span()));
    return values;
  }
  template <class T>
  Buffer<T> read(const std::string& name, std::initializer_list<Index> expected_shape) const {
    return read<T>(name, std::span<const Index>(expected_shape.begin(), expected_shape.size()));
  }
  // Any shape; see info().
  template <class T>
  Buffer<T> read(const std::string& name) const {
    return read<T>(name, info(name).shape);
  }

  // Numbers of any type, as NpzReader reads them: float and double take every number type (rounding to
  // nearest), integer types integers that fit, and bools.
  template <class T>
  NpyArray<T> read_any(const std::string& name) const {
    const auto& tensor = info(name);
    require(dtype_info(tensor.dtype).number, label_, ", tensor ", detail::quote(name),
            ": expected BOOL, integers, F16, BF16, F32 or F64, found ", dtype_info(tensor.dtype).name);
    if constexpr (std::is_floating_point_v<T>) {
      if (is_float(tensor.dtype)) {
        return {tensor.shape, read<T>(name, tensor.shape)};
      }
    }
    Buffer<std::byte> bytes(tensor.end - tensor.begin);
    file_.read_at(data_offset_ + tensor.begin, bytes.span());
    detail::NpyHeader header;
    header.kind = tensor.dtype == Dtype::BOOL               ? 'b'
                  : is_float(tensor.dtype)                  ? 'f'
                  : dtype_info(tensor.dtype).name[0] == 'U' ? 'u'
                                                            : 'i';
    header.item_bytes = dtype_info(tensor.dtype).bytes;
    header.shape = tensor.shape;
    header.count = count_of(tensor);
    return detail::decode_npy<T>(header, bytes.data(), concatenate(label_, ", tensor ", detail::quote(name)));
  }

  // Into the caller's memory. Wrong names, shapes and dtypes leave it untouched; an error of the disk may
  // not.
  template <class T>
  void read_into(const std::string& name, std::span<const Index> expected_shape, std::span<T> values) const {
    const auto& tensor = checked(name, expected_shape, detail::dtype_of<T>());
    require(static_cast<Index>(values.size()) == count_of(tensor), label_, ", tensor ", detail::quote(name),
            ": expected room for ", count_of(tensor), " numbers, found ", values.size());
    fill(tensor, detail::dtype_of<T>(), std::as_writable_bytes(values));
  }

  // float or double, and refuses NaN and infinity.
  template <std::floating_point T>
  Buffer<T> read_weights(const std::string& name, std::span<const Index> expected_shape) const {
    auto values = read<T>(name, expected_shape);
    const auto bad = first_nonfinite(values.span());
    require(bad < 0, label_, ", tensor ", detail::quote(name), ": expected finite numbers, found ",
            bad < 0 ? T(0) : values[bad], " at index ", bad);
    return values;
  }
  // As read_weights; on any error `values` is untouched.
  template <std::floating_point T>
  void read_weights_into(const std::string& name, std::span<const Index> expected_shape,
                         std::span<T> values) const {
    const auto read = read_weights<T>(name, expected_shape);
    require(read.size() == static_cast<Index>(values.size()), label_, ", tensor ", detail::quote(name),
            ": expected room for ", read.size(), " numbers, found ", values.size());
    std::copy(read.begin(), read.end(), values.begin());
  }

 private:
  // The tensor, if its numbers can be read as `own` and its shape is the expected one.
  const TensorEntry& checked(const std::string& name, std::span<const Index> expected_shape, Dtype own) const;
  static bool is_float(Dtype dtype) {
    return dtype == Dtype::F16 || dtype == Dtype::BF16 || dtype == Dtype::F32 || dtype == Dtype::F64;
  }
  static Index count_of(const TensorEntry& tensor) {
    return (tensor.end - tensor.begin) / dtype_info(tensor.dtype).bytes;
  }

  // `values` holds the tensor's numbers as dtype `own`.
  void fill(const TensorEntry& tensor, Dtype own, std::span<std::byte> values) const;
  template <class T>
  void convert(const TensorEntry& tensor, std::span<T> values) const {
    switch (tensor.dtype) {
      case Dtype::F16:
        return convert<std::uint16_t>(tensor, values, detail::float_from_float16);
      case Dtype::BF16:
        return convert<std::uint16_t>(tensor, values, detail::float_from_bfloat16);
      case Dtype::F32:
        return convert<float>(tensor, values, [](float v) { return v; });
      default:
        return convert<double>(tensor, values, [](double v) { return v; });
    }
  }
  template <class Stored, class T, class Convert>
  void convert(const TensorEntry& tensor, std::span<T> values, Convert to_number) const {
    Buffer<Stored> chunk(std::min<Index>(static_cast<Index>(values.size()), 1 << 16));
    Index offset = data_offset_ + tensor.begin;
    while (!values.empty()) {
      const auto part = chunk.span().first(std::min(values.size(), chunk.span().size()));
      file_.read_at(offset, std::as_writable_bytes(part));
      for (std::size_t i = 0; i < part.size(); ++i) {
        values[i] = static_cast<T>(to_number(part[i]));
      }
      offset += static_cast<Index>(part.size_bytes());
      values = values.subspan(part.size());
    }
  }

  InputFile file_;
  std::string label_;
  Index data_offset_ = 0;
  detail::SafetensorsHeader header_;
  std::unordered_map<std::string, std::size_t> index_;
  mutable std::vector<std::atomic<bool>> read_;  // per tensor
};

// Collects tensors and writes them at once. The same calls give the same bytes: metadata sorted by key,
// tensors by falling element size (so that all lie aligned) and then in the order added.
class SafetensorsWriter {
 public:
  // The numbers are not copied: they must live and stay as they are until write(). Error for a name used
  // twice, a name that is not UTF-8, or a shape that does not hold values.size() numbers.
  template <class T>
  void add(std::string name, std::vector<Index> shape, std::span<T> values) {
    add(std::move(name), detail::dtype_of<std::remove_const_t<T>>(), std::move(shape), std::as_bytes(values),
        nullptr);
  }
  // Takes the numbers over.
  template <class T>
  void add_owned(std::string name, std::vector<Index> shape, Buffer<T> values) {
    auto owner = std::make_shared<Buffer<T>>(std::move(values));
    const auto bytes = std::as_bytes(owner->span());
    add(std::move(name), detail::dtype_of<T>(), std::move(shape), bytes, std::move(owner));
  }
  // One number, shape [].
  template <class T>
  void add_scalar(std::string name, T value) {
    add_owned(std::move(name), {}, Buffer<T>(std::span<const T>(&value, 1)));
  }
  // UTF-8. A later value replaces an earlier one.
  void set_metadata(const std::string& key, const std::string& value);

  // Error if no file can hold what was added, as a header beyond the format's limit.
  void check() const { static_cast<void>(header_text(ordered())); }

  // Replaces `path` atomically; on Error the old file is untouched.
  void write(const std::filesystem::path& path) const;

 private:
  struct Tensor {
    std::string name;
    Dtype dtype;
    std::vector<Index> shape;
    std::span<const std::byte> bytes;
    std::shared_ptr<void> owner;
  };

  void add(std::string name, Dtype dtype, std::vector<Index> shape, std::span<const std::byte> bytes,
           std::shared_ptr<void> owner);
  std::vector<const Tensor*> ordered() const;
  std::string header_text(std::span<const Tensor* const> ordered) const;

  std::vector<Tensor> tensors_;
  std::set<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

#if MAA_BODIES

MAA_COLD MAA_INLINE SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : file_(path), label_("'" + file_.path() + "'") {
  constexpr auto header_limit = detail::safetensors_header_limit;
  std::uint64_t length = 0;
  if (file_.size() >= 8) {
    file_.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
  }
  const auto header_size = static_cast<Index>(std::min(length, static_cast<std::uint64_t>(header_limit) + 1));
  if (header_size == 0 || header_size > header_limit || header_size > file_.size() - 8) {
    const auto content = detail::known_content(file_);
    require(content.empty() || content == detail::safetensors_content, label_,
            ": expected a safetensors file, found ", content);
    require(file_.size() >= 8, label_, ": expected at least 8 bytes, found ", file_.size());
    require(header_size <= header_limit, label_, ": expected a header of at most ", header_limit,
            " bytes, found ", length);
    require(header_size <= file_.size() - 8, label_, ": expected a header of ", header_size, " bytes, found ",
            file_.size() - 8, " (cut short?)");
  }
  std::string text(length, '\0');
  file_.read_at(8, std::as_writable_bytes(std::span(text)));
  data_offset_ = 8 + header_size;
  header_ = detail::parse_safetensors_header(text, file_.size() - data_offset_, label_);
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) {
    index_.emplace(header_.tensors[i].name, i);
  }
  read_ = std::vector<std::atomic<bool>>(header_.tensors.size());
}

MAA_COLD MAA_INLINE std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> result;
  for (const auto& tensor : header_.tensors) {
    result.push_back(tensor.name);
  }
  return result;
}

MAA_COLD MAA_INLINE const TensorEntry& SafetensorsReader::info(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    fail(label_, ": expected a tensor ", detail::quote(name), ", found ", found_instead(name, names()));
  }
  read_[found->second].store(true, std::memory_order_relaxed);
  return header_.tensors[found->second];
}

MAA_COLD MAA_INLINE void SafetensorsReader::require_format(std::string_view format, bool optional) const {
  const auto found = metadata().find("format");
  const bool other = found != metadata().end() && (!optional || found->second.starts_with("maa"));
  require(other ? found->second == format : optional, label_, ": expected a file of format ",
          detail::quote(format), ", found ", other ? concatenate(detail::quote(found->second)) : "none");
}

MAA_COLD MAA_INLINE const TensorEntry& SafetensorsReader::checked(const std::string& name,
                                                                  std::span<const Index> expected_shape,
                                                                  Dtype own) const {
  const auto& tensor = info(name);
  const auto found = tensor.dtype;
  const bool readable = own == Dtype::F32 || own == Dtype::F64
                            ? is_float(found)
                            : found == own || (own == Dtype::U8 && found == Dtype::BOOL);
  require(readable, label_, ", tensor ", detail::quote(name), ": expected dtype ", dtype_info(own).name,
          ", found ", dtype_info(found).name);
  require(std::equal(tensor.shape.begin(), tensor.shape.end(), expected_shape.begin(), expected_shape.end()),
          label_, ", tensor ", detail::quote(name), ": expected shape ", detail::shape_text(expected_shape),
          ", found ", detail::shape_text(tensor.shape));
  return tensor;
}

MAA_COLD MAA_INLINE void SafetensorsReader::require_all_read(std::string_view but_for) const {
  constexpr std::size_t listed = 8;
  std::string text;
  std::size_t count = 0;
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) {
    const auto& tensor = header_.tensors[i];
    const bool expected = !but_for.empty() && tensor.name.starts_with(but_for);
    if (!read_[i].load(std::memory_order_relaxed) && !expected && ++count <= listed) {
      text += concatenate(count > 1 ? ", " : "", detail::quote(tensor.name), " ",
                          detail::shape_text(tensor.shape));
    }
  }
  require(count == 0, label_,
          ": expected no tensors besides those that are read (Unread::allow ignores others), found ", text,
          count > listed ? concatenate(" and ", count - listed, " more") : "");
}

MAA_COLD MAA_INLINE void SafetensorsReader::fill(const TensorEntry& tensor, Dtype own,
                                                 std::span<std::byte> values) const {
  const auto numbers = [&]<class T>(T*) {
    return std::span<T>(reinterpret_cast<T*>(values.data()), values.size() / sizeof(T));
  };
  if (own == Dtype::F32 && tensor.dtype != own) {
    convert(tensor, numbers(static_cast<float*>(nullptr)));
  } else if (own == Dtype::F64 && tensor.dtype != own) {
    convert(tensor, numbers(static_cast<double*>(nullptr)));
  } else {
    file_.read_at(data_offset_ + tensor.begin, values);
  }
}

MAA_COLD MAA_INLINE void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
  detail::json_text(key);
  detail::json_text(value);
  metadata_[key] = value;
}

MAA_COLD MAA_INLINE std::vector<const SafetensorsWriter::Tensor*> SafetensorsWriter::ordered() const {
  std::vector<const Tensor*> result;
  for (const Index bytes : {8, 4, 2, 1}) {
    for (const auto& tensor : tensors_) {
      if (dtype_info(tensor.dtype).bytes == bytes) {
        result.push_back(&tensor);
      }
    }
  }
  return result;
}

MAA_COLD MAA_INLINE void SafetensorsWriter::write(const std::filesystem::path& path) const {
  const auto tensors = ordered();
  const auto text = header_text(tensors);
  const auto length = static_cast<std::uint64_t>(text.size());
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const auto* tensor : tensors) {
    file.write(tensor->bytes);
  }
  file.commit();
}

MAA_COLD MAA_INLINE void SafetensorsWriter::add(std::string name, Dtype dtype, std::vector<Index> shape,
                                                std::span<const std::byte> bytes,
                                                std::shared_ptr<void> owner) {
  const auto item = dtype_info(dtype).bytes;
  require(detail::checked_bytes(shape, item) == static_cast<Index>(bytes.size()),
          "safetensors writer, tensor ", detail::quote(name), ": expected the numbers of shape ",
          detail::shape_text(shape), ", found ", bytes.size() / static_cast<std::size_t>(item));
  detail::json_text(name);
  require(name != "__metadata__" && names_.insert(name).second,
          "safetensors writer: expected a new name, found ", detail::quote(name));
  tensors_.push_back({std::move(name), dtype, std::move(shape), bytes, std::move(owner)});
}

MAA_COLD MAA_INLINE std::string SafetensorsWriter::header_text(std::span<const Tensor* const> ordered) const {
  std::string text = "{";
  if (!metadata_.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata_) {
      text +=
          concatenate(text.back() == '{' ? "" : ",", detail::json_text(key), ":", detail::json_text(value));
    }
    text += '}';
  }
  Index offset = 0;
  for (const auto* tensor : ordered) {
    const auto end = offset + static_cast<Index>(tensor->bytes.size());
    text += concatenate(text.size() > 1 ? "," : "", detail::json_text(tensor->name), ":{\"dtype\":\"",
                        dtype_info(tensor->dtype).name, "\",\"shape\":", detail::shape_text(tensor->shape),
                        ",\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  require(static_cast<Index>(text.size()) <= detail::safetensors_header_limit,
          "safetensors writer: expected names and metadata of at most ", detail::safetensors_header_limit,
          " bytes, found ", text.size());
  return text;
}

#endif

MAA_NAMESPACE_END
