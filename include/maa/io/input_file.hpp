// Reading files by position, with errors that name path and reason.
#pragma once

#include <maa/core/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

MAA_NAMESPACE_BEGIN

namespace detail {

std::string errno_text(int code);

// Owns an open file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileDescriptor() { close(); }

  int get() const noexcept { return descriptor_; }
  // The result of ::close: -1 with errno where the system reports a late write error.
  int close() noexcept { return descriptor_ < 0 ? 0 : ::close(std::exchange(descriptor_, -1)); }

 private:
  int descriptor_ = -1;
};

}  // namespace detail

// A regular file opened for reading. Reads are positioned, so const members may be called from several
// threads. A file that shrinks after opening gives an Error, not a signal as a memory map would.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);

  const std::string& path() const noexcept { return path_; }
  // Bytes at the time of opening.
  Index size() const noexcept { return size_; }

  // Fills `bytes` from the file, beginning at byte `offset`.
  void read_at(Index offset, std::span<std::byte> bytes) const;

 private:
  std::string path_;
  detail::FileDescriptor file_;
  Index size_ = 0;
};

#if MAA_BODIES

MAA_COLD MAA_INLINE std::string detail::errno_text(int code) {
  return std::generic_category().message(code);
}

MAA_COLD MAA_INLINE InputFile::InputFile(const std::filesystem::path& path) : path_(path.string()) {
  // O_NONBLOCK: opening a pipe must not wait for a writer; regular files ignore it.
  file_ = detail::FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  require(file_.get() >= 0, "cannot open '", path_, "': ", detail::errno_text(errno));
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) {  // an argument of require() might be read before the call
    fail("cannot examine '", path_, "': ", detail::errno_text(errno));
  }
  require(S_ISREG(status.st_mode), "'", path_, "': expected a regular file");
  size_ = static_cast<Index>(status.st_size);
}

MAA_COLD MAA_INLINE void InputFile::read_at(Index offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto count = ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    require(count >= 0, "cannot read '", path_, "' at byte ", offset, ": ", detail::errno_text(errno));
    require(count > 0, "'", path_, "': expected ", bytes.size(), " more bytes at byte ", offset,
            ", found the end of the file");
    offset += count;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

#endif

MAA_NAMESPACE_END
