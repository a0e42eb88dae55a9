// Writing files so that a reader sees the old one or the whole new one, also after a crash or on a full disk.
#pragma once

#include <maa/io/input_file.hpp>

#include <atomic>
#include <cstdio>

MAA_NAMESPACE_BEGIN

// Bytes go to a temporary file in the target's folder; commit() flushes it to the disk, renames it over the
// target and flushes the folder. Without commit(), or when anything fails, the temporary is removed and an
// existing target stays untouched. Error names path and reason. A target that exists must be a regular file
// (renaming over a device or pipe would destroy it); if it is a symbolic link, the file that it points to is
// replaced.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() { discard(); }

  void write(std::span<const std::byte> bytes);

  // Makes the new file visible and durable. If only the last step fails, flushing the folder, the new file is
  // already in place and the Error says so.
  void commit();

 private:
  static std::filesystem::path resolve(const std::filesystem::path& path);
  [[noreturn]] void give_up(int code);
  void discard() noexcept;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  detail::FileDescriptor folder_;
  detail::FileDescriptor file_;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view text);

#if MAA_BODIES

MAA_COLD MAA_INLINE AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(resolve(path)) {
  struct stat status {};
  require(::stat(path_.c_str(), &status) != 0 || S_ISREG(status.st_mode), "cannot write '", path_.string(),
          "': expected a regular file or none");
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  folder_ = detail::FileDescriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  require(folder_.get() >= 0, "cannot write '", path_.string(), "': folder: ", detail::errno_text(errno));
  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = folder / concatenate(".maa-", ::getpid(), "-", counter.fetch_add(1), ".tmp");
    file_ = detail::FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  } while (file_.get() < 0 && errno == EEXIST);
  require(file_.get() >= 0, "cannot write '", path_.string(), "': ", detail::errno_text(errno));
}

MAA_COLD MAA_INLINE void AtomicFile::write(std::span<const std::byte> bytes) {
  require(file_.get() >= 0, "cannot write '", path_.string(), "': already finished");
  while (!bytes.empty()) {
    const auto count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      give_up(errno);
    }
  }
}

MAA_COLD MAA_INLINE void AtomicFile::commit() {
  require(file_.get() >= 0, "cannot write '", path_.string(), "': already finished");
  if (::fsync(file_.get()) != 0 || file_.close() != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    give_up(errno);
  }
  temporary_.clear();
  // Some file systems cannot flush folders and say EINVAL.
  require(::fsync(folder_.get()) == 0 || errno == EINVAL, "wrote '", path_.string(),
          "' but cannot flush its folder: ", detail::errno_text(errno));
}

MAA_COLD MAA_INLINE std::filesystem::path AtomicFile::resolve(const std::filesystem::path& path) {
  std::error_code none;
  const bool is_link = std::filesystem::is_symlink(std::filesystem::symlink_status(path, none));
  auto target = is_link ? std::filesystem::weakly_canonical(path, none) : path;
  return target.empty() ? path : target;
}

MAA_COLD MAA_INLINE void AtomicFile::give_up(int code) {
  discard();
  fail("cannot write '", path_.string(), "': ", detail::errno_text(code));
}

MAA_COLD MAA_INLINE void AtomicFile::discard() noexcept {
  file_.close();
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
}

MAA_COLD MAA_INLINE void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

#endif

MAA_NAMESPACE_END
