// Named arrays in .npz files: zip archives of .npy arrays, stored or deflated. Needs libzip.
#pragma once

#include <maa/core/nearest_names.hpp>
#include <maa/io/atomic_file.hpp>
#include <maa/io/known_content.hpp>
#include <maa/io/npy_format.hpp>

#include <zip.h>
#include <map>
#include <memory>

namespace xt {
template <class Derived>
class xexpression;
}

MAA_NAMESPACE_BEGIN

namespace detail {

struct ZipDiscard {
  void operator()(zip_t* archive) const noexcept { zip_discard(archive); }
};
struct ZipSourceFree {
  void operator()(zip_source_t* source) const noexcept { zip_source_free(source); }
};
struct ZipFileClose {
  void operator()(zip_file_t* file) const noexcept { zip_fclose(file); }
};
using ZipArchive = std::unique_ptr<zip_t, ZipDiscard>;
using ZipSource = std::unique_ptr<zip_source_t, ZipSourceFree>;

struct ZipError {
  zip_error_t error;
  ZipError() { zip_error_init(&error); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
  ~ZipError() { zip_error_fini(&error); }
  std::string text() { return zip_error_strerror(&error); }
};

// Text (dtype U, one element) as UTF-8.
std::string decode_npy_text(const NpyHeader& header, const std::byte* data, const std::string& label);

// The .npy bytes of one UTF-8 text.
std::string encode_npy_text(std::string_view text);

}  // namespace detail

// Arrays are read on demand. Const members may be called from several threads. The file must not be changed
// in place meanwhile (files written by this library never are: a new one replaces them).
class NpzReader {
 public:
  // No array may take more memory than this, or than so many times its compressed bytes, whichever is more: a
  // small file cannot ask for gigabytes.
  static constexpr Index always_allowed = Index{64} << 20;
  static constexpr Index most_per_compressed = 100;

  explicit NpzReader(const std::filesystem::path& path);

  // Sorted, without ".npy".
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.contains(name); }

  // T as for load_npy.
  template <class T>
  NpyArray<T> read_any(const std::string& name) const {
    const auto entry = extract(name);
    return detail::decode_npy<T>(entry.header, entry.data.data(), where(name));
  }
  // The same as xt::xarray<T>; defined in io/npz.hpp.
  template <class T>
  auto load(const std::string& name) const;
  // One text (a 0-dimensional array of dtype U), as UTF-8.
  std::string load_text(const std::string& name) const;

 private:
  std::string where(const std::string& name) const {
    return concatenate(label_, ", array ", detail::quote(name));
  }

  detail::ZipArchive open() const;

  struct Entry {
    detail::NpyHeader header;
    Buffer<std::byte> data;
  };
  Entry extract(const std::string& name) const;

  InputFile file_;
  std::string label_;
  std::map<std::string, zip_uint64_t> entries_;
};

// Collects arrays and writes them at once, stored without compression, as np.savez does.
class NpzWriter {
 public:
  // Copies the numbers, in C order. Error for a name used twice.
  template <class T>
  void add(const std::string& name, std::span<const Index> shape, std::span<const T> values) {
    insert(name, detail::encode_npy(detail::npy_descr<T>(), shape, std::as_bytes(values)));
  }
  // The values of an xtensor expression; defined in io/npz.hpp.
  template <class Expression>
  void add(const std::string& name, const xt::xexpression<Expression>& values);
  void add_text(const std::string& name, std::string_view text) {
    insert(name, detail::encode_npy_text(text));
  }

  // Replaces `path` atomically; on Error the old file is untouched.
  void write(const std::filesystem::path& path) const { write_file_atomically(path, archive_bytes()); }

 private:
  void insert(const std::string& name, std::string bytes);

  std::string archive_bytes() const;
  static std::string read_back(zip_source_t* source);

  std::map<std::string, std::string> arrays_;
};

#if MAA_BODIES

MAA_COLD MAA_INLINE std::string detail::decode_npy_text(const NpyHeader& header, const std::byte* data,
                                                        const std::string& label) {
  require(header.kind == 'U' && header.shape.empty(), label, ": expected one text, found another array");
  std::string text;
  for (Index i = 0; i < header.item_bytes / 4; ++i) {
    const auto code = load_element<std::uint32_t>(data + 4 * i, header.big_endian);
    require(code < 0x110000 && (code < 0xd800 || code > 0xdfff), label, ": expected Unicode, found the code ",
            code);
    const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xc0 | code >> 6);
      tail(0);
    } else if (code < 0x10000) {
      text += static_cast<char>(0xe0 | code >> 12);
      tail(6), tail(0);
    } else {
      text += static_cast<char>(0xf0 | code >> 18);
      tail(12), tail(6), tail(0);
    }
  }
  text.resize(text.find_last_not_of('\0') + 1);  // NumPy pads with zeros
  return text;
}

MAA_COLD MAA_INLINE std::string detail::encode_npy_text(std::string_view text) {
  require(!text.ends_with('\0'),
          "npz: expected a text that does not end in zeros, as they are padding, found ", quote(text));
  std::string data;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    std::uint32_t code = length == 1 ? lead : lead & (0xffu >> (length + 1));
    require((lead < 0x80 || lead >= 0xc2) && lead < 0xf5 && i + length <= text.size(),
            "npz: expected UTF-8, found ", quote(text));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      require((next & 0xc0) == 0x80, "npz: expected UTF-8, found ", quote(text));
      code = code << 6 | (next & 0x3fu);
    }
    for (int shift = 0; shift < 32; shift += 8) {
      data += static_cast<char>(code >> shift & 0xff);
    }
    i += length;
  }
  const auto codes = std::max<std::size_t>(data.size() / 4, 1);  // dtype U0 is not portable
  data.resize(4 * codes, '\0');
  return encode_npy(concatenate("<U", codes), {}, std::as_bytes(std::span(data)));
}

namespace detail {

// What libzip reads an archive through. Never throws.
struct ZipInput {
  const InputFile& file;
  Index at = 0;
  zip_error_t error = {};

  static zip_int64_t call(void* self, void* data, zip_uint64_t length, zip_source_cmd_t command) {
    auto& input = *static_cast<ZipInput*>(self);
    switch (command) {
      case ZIP_SOURCE_OPEN:
        input.at = 0;
        return 0;
      case ZIP_SOURCE_READ:
        return input.read(static_cast<std::byte*>(data), length);
      case ZIP_SOURCE_SEEK: {
        const auto to = zip_source_seek_compute_offset(static_cast<zip_uint64_t>(input.at),
                                                       static_cast<zip_uint64_t>(input.file.size()), data,
                                                       length, &input.error);
        input.at = to < 0 ? input.at : static_cast<Index>(to);
        return to < 0 ? -1 : 0;
      }
      case ZIP_SOURCE_TELL:
        return input.at;
      case ZIP_SOURCE_STAT: {
        auto& status = *static_cast<zip_stat_t*>(data);
        zip_stat_init(&status);
        status.size = static_cast<zip_uint64_t>(input.file.size());
        status.valid = ZIP_STAT_SIZE;
        return sizeof status;
      }
      case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&input.error, data, length);
      case ZIP_SOURCE_CLOSE:
        return 0;
      case ZIP_SOURCE_FREE:
        delete &input;
        return 0;
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_SEEK,
                                              ZIP_SOURCE_TELL, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
                                              ZIP_SOURCE_CLOSE, ZIP_SOURCE_FREE, ZIP_SOURCE_SUPPORTS, -1);
      default:
        zip_error_set(&input.error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
  }
  zip_int64_t read(std::byte* to, zip_uint64_t length) {
    const auto count = std::min(length, static_cast<zip_uint64_t>(file.size() - at));
    try {
      file.read_at(at, {to, static_cast<std::size_t>(count)});
    } catch (const std::exception&) {
      zip_error_set(&error, ZIP_ER_READ, EIO);
      return -1;
    }
    at += static_cast<Index>(count);
    return static_cast<zip_int64_t>(count);
  }
};

}  // namespace detail

MAA_COLD MAA_INLINE NpzReader::NpzReader(const std::filesystem::path& path)
    : file_(path), label_("'" + path.string() + "'") {
  const auto archive = open();
  const auto count = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* raw = zip_get_name(archive.get(), static_cast<zip_uint64_t>(i), 0);
    require(raw != nullptr, label_, ": cannot read the name of entry ", i);
    std::string_view name = raw;
    if (name.ends_with(".npy")) {
      name.remove_suffix(4);
    }
    require(entries_.emplace(name, static_cast<zip_uint64_t>(i)).second, label_,
            ": expected unique names, found ", detail::quote(name), " twice");
  }
}

MAA_COLD MAA_INLINE std::vector<std::string> NpzReader::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : entries_) {
    result.push_back(name);
  }
  return result;
}

MAA_COLD MAA_INLINE std::string NpzReader::load_text(const std::string& name) const {
  const auto entry = extract(name);
  return detail::decode_npy_text(entry.header, entry.data.data(), where(name));
}

MAA_COLD MAA_INLINE detail::ZipArchive NpzReader::open() const {
  require(file_.size() > 0, label_,
          ": expected a zip archive (.npz), found an empty file");  // libzip takes it
  detail::ZipError error;
  auto input = std::make_unique<detail::ZipInput>(detail::ZipInput{file_});
  detail::ZipSource source(zip_source_function_create(detail::ZipInput::call, input.get(), &error.error));
  require(source != nullptr, label_, ": ", error.text());
  input.release();  // the source owns it
  detail::ZipArchive archive(zip_open_from_source(source.get(), ZIP_RDONLY, &error.error));
  if (archive == nullptr) {
    const auto content = detail::known_content(file_);
    fail(label_, ": expected a zip archive (.npz), found ", content.empty() ? "other data" : content,
         content.starts_with("a zip") ? " that is damaged or cut short: " : ": ", error.text());
  }
  source.release();  // the archive owns it
  return archive;
}

MAA_COLD MAA_INLINE NpzReader::Entry NpzReader::extract(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    fail(label_, ": expected an array ", detail::quote(name), ", found ", found_instead(name, names()));
  }
  const auto archive = open();
  zip_stat_t status;
  zip_stat_init(&status);
  require(zip_stat_index(archive.get(), found->second, 0, &status) == 0, where(name), ": ",
          zip_strerror(archive.get()));
  constexpr zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  require((status.valid & wanted) == wanted &&
              (status.comp_method == ZIP_CM_STORE || status.comp_method == ZIP_CM_DEFLATE),
          where(name), ": expected a stored or deflated entry");
  // Deflate shrinks at most 1032 times: a larger size is a lie and must not be allocated.
  const auto compressed = std::min(status.comp_size, static_cast<zip_uint64_t>(file_.size()));
  const auto most = std::min<zip_uint64_t>(
      1100 * (compressed + 1), std::max<zip_uint64_t>(always_allowed, most_per_compressed * compressed));
  require(status.comp_size == compressed && status.size <= most, where(name), ": expected at most ", most,
          " bytes out of ", compressed, " compressed ones, found a size of ", status.size);
  const std::unique_ptr<zip_file_t, detail::ZipFileClose> file(
      zip_fopen_index(archive.get(), found->second, 0));
  require(file != nullptr, where(name), ": ", zip_strerror(archive.get()));
  const auto size = static_cast<Index>(status.size);
  const auto read_some = [&](std::span<std::byte> to) {
    const auto count = zip_fread(file.get(), to.data(), to.size());
    require(count >= 0, where(name), ": ", zip_file_strerror(file.get()));
    return static_cast<Index>(count);
  };
  const auto read = [&](std::span<std::byte> to) {
    while (!to.empty()) {
      const auto count = read_some(to);
      require(count > 0, where(name), ": expected ", size, " bytes, found fewer");
      to = to.subspan(static_cast<std::size_t>(count));
    }
  };
  Buffer<std::byte> beginning(std::min(size, detail::npy_beginning));
  read(beginning.span());
  Entry entry{detail::parse_npy(beginning.span(), size, where(name)), {}};
  const auto begun =
      std::as_const(beginning).span().subspan(static_cast<std::size_t>(entry.header.data_offset));
  entry.data = Buffer<std::byte>(size - entry.header.data_offset);
  std::ranges::copy(begun, entry.data.begin());
  read(entry.data.span().subspan(begun.size()));
  std::byte extra;  // asked for, because the checksum is compared at the end
  require(read_some({&extra, 1}) == 0, where(name), ": expected ", size, " bytes, found more");
  return entry;
}

MAA_COLD MAA_INLINE void NpzWriter::insert(const std::string& name, std::string bytes) {
  require(!name.empty() && arrays_.emplace(name, std::move(bytes)).second, "npz: expected a new name, found ",
          detail::quote(name));
}

MAA_COLD MAA_INLINE std::string NpzWriter::archive_bytes() const {
  detail::ZipError error;
  detail::ZipSource target(zip_source_buffer_create(nullptr, 0, 0, &error.error));
  require(target != nullptr, "npz: ", error.text());
  zip_source_keep(target.get());  // one reference for the archive, one for reading the result
  detail::ZipArchive archive(zip_open_from_source(target.get(), ZIP_TRUNCATE, &error.error));
  if (archive == nullptr) {
    zip_source_free(target.get());
    fail("npz: ", error.text());
  }
  for (const auto& [name, bytes] : arrays_) {
    detail::ZipSource entry(zip_source_buffer(archive.get(), bytes.data(), bytes.size(), 0));
    require(entry != nullptr, "npz: ", zip_strerror(archive.get()));
    const auto index = zip_file_add(archive.get(), (name + ".npy").c_str(), entry.get(), ZIP_FL_ENC_UTF_8);
    require(index >= 0, "npz: array ", detail::quote(name), ": ", zip_strerror(archive.get()));
    entry.release();                               // the archive owns it
    constexpr std::time_t fixed_time = 315619200;  // 1980-01-02: the same arrays give the same bytes
    require(zip_set_file_compression(archive.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) == 0 &&
                zip_file_set_mtime(archive.get(), static_cast<zip_uint64_t>(index), fixed_time, 0) == 0,
            "npz: array ", detail::quote(name), ": ", zip_strerror(archive.get()));
  }
  require(zip_close(archive.get()) == 0, "npz: ", zip_strerror(archive.get()));
  archive.release();  // closed
  return read_back(target.get());
}

MAA_COLD MAA_INLINE std::string NpzWriter::read_back(zip_source_t* source) {
  zip_stat_t status;
  require(zip_source_stat(source, &status) == 0 && zip_source_open(source) == 0,
          "npz: cannot read the archive back");
  std::string bytes(status.size, '\0');
  const auto count = zip_source_read(source, bytes.data(), bytes.size());
  zip_source_close(source);
  require(count == static_cast<zip_int64_t>(bytes.size()), "npz: cannot read the archive back");
  return bytes;
}

#endif

MAA_NAMESPACE_END
