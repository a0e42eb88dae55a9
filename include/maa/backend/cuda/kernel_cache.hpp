// Compiled kernels, kept in a folder between runs. Nothing here is an error: what cannot be read is compiled
// again.
#pragma once

#include <maa/io/atomic_file.hpp>

#include <cstdlib>
#include <optional>

MAA_NAMESPACE_BEGIN
namespace cuda {

class KernelCache {
 public:
  // An empty folder: nothing is kept. The folder is made when something is first stored. It is used only if
  // it belongs to the user and nobody else can enter it, for what lies in it is run on the device.
  explicit KernelCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // $XDG_CACHE_HOME/maa or ~/.cache/maa; empty without a home folder.
  static std::filesystem::path default_folder() {
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/') {
      return std::filesystem::path(cache) / "maa";
    }
    if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
      return std::filesystem::path(home) / ".cache" / "maa";
    }
    return {};
  }

  // What was stored under `key`, which names everything that the kernels depend on; nothing if there is none,
  // or if the file is damaged.
  std::optional<std::string> load(std::string_view key) const noexcept {
    try {
      if (!usable()) {
        return std::nullopt;
      }
      const InputFile file(path(key));
      Header header;
      if (file.size() < static_cast<Index>(sizeof header)) {
        return std::nullopt;
      }
      file.read_at(0, std::as_writable_bytes(std::span(&header, 1)));
      if (header.magic != magic || header.size != file.size() - static_cast<Index>(sizeof header)) {
        return std::nullopt;
      }
      std::string data(static_cast<std::size_t>(header.size), '\0');
      file.read_at(sizeof header, std::as_writable_bytes(std::span(data)));
      if (header.key != hash(key, 1) || header.checksum != hash(data, 0)) {
        return std::nullopt;
      }
      return data;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
  void store(std::string_view key, std::string_view data) const noexcept {
    try {
      if (folder_.empty()) {
        return;
      }
      std::error_code ignored;
      std::filesystem::create_directories(folder_.parent_path(), ignored);
      ::mkdir(folder_.c_str(), 0700);  // or it is there
      if (!usable()) {
        return;
      }
      const Header header{magic, static_cast<Index>(data.size()), hash(key, 1), hash(data, 0)};
      AtomicFile file(path(key));
      file.write(std::as_bytes(std::span(&header, 1)));
      file.write(std::as_bytes(std::span(data)));
      file.commit();
    } catch (const std::exception&) {  // the next run compiles again
    }
  }

 private:
  static constexpr std::uint64_t magic = 0x31627563'2d61616d;  // "maa-cub1"

  struct Header {
    std::uint64_t magic = 0;
    Index size = 0;
    std::uint64_t key = 0;
    std::uint64_t checksum = 0;
  };

  bool usable() const {
    struct stat status {};
    return !folder_.empty() && ::lstat(folder_.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
           status.st_uid == ::geteuid() && (status.st_mode & 077) == 0;
  }
  std::filesystem::path path(std::string_view key) const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string name = "kernels-";
    for (std::uint64_t rest = hash(key, 0), i = 0; i < 16; ++i, rest >>= 4) {
      name += digits[rest & 15];
    }
    return folder_ / (name + ".bin");
  }
  // FNV-1a.
  static std::uint64_t hash(std::string_view text, std::uint64_t seed) {
    std::uint64_t result = 0xcbf29ce484222325ull ^ (seed * 0x9e3779b97f4a7c15ull);
    for (const char c : text) {
      result = (result ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    }
    return result;
  }

  std::filesystem::path folder_;
};

}  // namespace cuda
MAA_NAMESPACE_END
