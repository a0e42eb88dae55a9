// Writing files so that a reader sees the old one or the whole new one, also after a crash or on a full disk.
#pragma once

#include <maa/core/content_hash.hpp>
#include <maa/io/input_file.hpp>

#include <sys/file.h>
#include <cstdio>
#include <optional>

MAA_NAMESPACE_BEGIN

// Bytes go to a temporary file in the target's folder; commit() flushes it to the disk, renames it over the
// target and flushes the folder. Without commit(), or when anything fails, the temporary is removed and an
// existing target stays untouched. Error names path and reason. A target that exists must be a regular file
// (renaming over a device or pipe would destroy it); its mode stays, and its owner if the writer may give
// files away. Symbolic links are followed to the file that they name, be it there or not. What killed
// processes left of the same target is removed.
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
  void create_temporary();
  std::filesystem::path temporary_path(int number) const;
  static void remove_abandoned(const std::filesystem::path& temporary);
  [[noreturn]] void give_up(int code);
  void discard() noexcept;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::optional<struct stat> replaced_;
  detail::FileDescriptor folder_;
  detail::FileDescriptor file_;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view text);

#if MAA_BODIES

MAA_COLD MAA_INLINE AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(resolve(path)) {
  struct stat status {};
  const int code = ::stat(path_.c_str(), &status) == 0 ? 0 : errno;
  require(code == 0 || code == ENOENT, "cannot write '", path_.string(), "': ", detail::errno_text(code));
  require(code != 0 ? path_.has_filename() : S_ISREG(status.st_mode), "cannot write '", path_.string(),
          "': expected a regular file or none");
  if (code == 0) {
    replaced_ = status;
  }
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  folder_ = detail::FileDescriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_.get() < 0) {
    fail("cannot write '", path_.string(), "': folder: ", detail::errno_text(errno));
  }
  create_temporary();
}

// A target's temporaries are numbered, so that those of killed writers are found without a look at the whole
// folder. Each is locked as long as its writer lives, on whatever machine or in whatever container that is.
MAA_COLD MAA_INLINE std::filesystem::path AtomicFile::temporary_path(int number) const {
  ContentHash hash;
  hash.add(std::string_view(path_.filename().native()));
  return path_.parent_path() / concatenate(".maa-", hash.value(), "-", number, ".tmp");
}

MAA_COLD MAA_INLINE void AtomicFile::remove_abandoned(const std::filesystem::path& temporary) {
  const detail::FileDescriptor file(
      ::open(temporary.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat opened {
  }, now{};
  if (file.get() >= 0 && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(file.get(), &opened) == 0 &&
      ::stat(temporary.c_str(), &now) == 0 && now.st_dev == opened.st_dev && now.st_ino == opened.st_ino) {
    ::unlink(temporary.c_str());  // else it got its name, or another file this one, meanwhile
  }
}

MAA_COLD MAA_INLINE void AtomicFile::create_temporary() {
  constexpr int others = 8;  // more at once than anyone has
  for (int number = 0;; ++number) {
    temporary_ = temporary_path(number);
    remove_abandoned(temporary_);
    // Nobody may read more of a file than of the one that it replaces.
    file_ = detail::FileDescriptor(
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, replaced_ ? 0600 : 0666));
    if (file_.get() < 0) {
      const int code = errno;
      require(code == EEXIST, "cannot write '", path_.string(), "': ", detail::errno_text(code));
      continue;
    }
    while (::flock(file_.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0 || status.st_nlink > 0) {
      for (int next = number + 1; next <= number + others; ++next) {
        remove_abandoned(temporary_path(next));
      }
      return;
    }  // else another writer took it for a dead one's before it was locked
  }
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
  if (replaced_) {
    // Only few may give files away, and some file systems have neither owners nor modes: no reason to fail.
    [[maybe_unused]] int ignored = ::fchown(file_.get(), replaced_->st_uid, replaced_->st_gid);
    ignored = ::fchmod(file_.get(), replaced_->st_mode & 0777);
  }
  const detail::FileDescriptor lock(::dup(file_.get()));  // until the temporary has its name
  if (::fsync(file_.get()) != 0 || file_.close() != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    give_up(errno);
  }
  temporary_.clear();
  // Some file systems cannot flush folders and say EINVAL.
  if (::fsync(folder_.get()) != 0 && errno != EINVAL) {
    fail("wrote '", path_.string(), "' but cannot flush its folder: ", detail::errno_text(errno));
  }
}

// Where a chain of symbolic links ends.
MAA_COLD MAA_INLINE std::filesystem::path AtomicFile::resolve(const std::filesystem::path& path) {
  constexpr int most = 40;  // links that the system follows
  auto target = path;
  std::error_code code;
  for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(target, code)); ++links) {
    const auto next = std::filesystem::read_symlink(target, code);
    require(!code && links < most, "cannot write '", path.string(),
            "': ", detail::errno_text(code ? code.value() : ELOOP));
    target = target.parent_path() / next;
  }
  return target;
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
