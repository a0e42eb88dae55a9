#include "temporary_folder.hpp"

#include <maa/io/atomic_file.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <csignal>

using test::error_of;
using test::has;

namespace {

// Files of this process cannot grow beyond `bytes`, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("atomic file: writes new files and replaces old ones") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  maa::write_file_atomically(path, "first");
  CHECK(test::read_bytes(path) == "first");
  maa::write_file_atomically(path, "2");
  CHECK(test::read_bytes(path) == "2");
  CHECK(folder.names() == std::vector<std::string>{"file"});
}

TEST_CASE("atomic file: nothing changes before commit") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  maa::write_file_atomically(path, "old");
  {
    maa::AtomicFile file(path);
    file.write(std::as_bytes(std::span("new", 3)));
    CHECK(test::read_bytes(path) == "old");
  }
  CHECK(test::read_bytes(path) == "old");
  CHECK(folder.names() == std::vector<std::string>{"file"});

  maa::AtomicFile file(path);
  file.write(std::as_bytes(std::span("new", 3)));
  file.commit();
  CHECK(test::read_bytes(path) == "new");
  CHECK(has(error_of([&] { file.commit(); }), "already finished"));
  CHECK(has(error_of([&] { file.write({}); }), "already finished"));
  CHECK(test::read_bytes(path) == "new");
}

TEST_CASE("atomic file: a full disk keeps the old file and leaves nothing behind") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  maa::write_file_atomically(path, "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = error_of([&] { maa::write_file_atomically(path, std::string(5000, 'x')); });
  }
  CHECK(has(message, path.string()));
  CHECK(has(message, "File too large"));
  CHECK(test::read_bytes(path) == "old");
  CHECK(folder.names() == std::vector<std::string>{"file"});
}

TEST_CASE("atomic file: targets that cannot be replaced") {
  const test::TemporaryFolder folder;
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "missing/file"); }), "No such file or directory"));
  std::filesystem::create_directory(folder / "directory");
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "directory"); }), "expected a regular file"));
  CHECK(has(error_of([&] { maa::AtomicFile("/dev/full"); }), "expected a regular file"));
  CHECK(std::filesystem::is_character_file("/dev/full"));
  CHECK(folder.names() == std::vector<std::string>{"directory"});
}

TEST_CASE("atomic file: follows a symbolic link") {
  const test::TemporaryFolder folder;
  maa::write_file_atomically(folder / "target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  maa::write_file_atomically(folder / "link", "new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(test::read_bytes(folder / "target") == "new");
}

TEST_CASE("input file: names what it cannot read") {
  const test::TemporaryFolder folder;
  CHECK(has(error_of([&] { maa::InputFile(folder / "none"); }), "No such file or directory"));
  CHECK(has(error_of([&] { maa::InputFile(folder / ""); }), "expected a regular file"));
  maa::write_file_atomically(folder / "file", "12345");
  const maa::InputFile file(folder / "file");
  CHECK(file.size() == 5);
  char bytes[4];
  file.read_at(1, std::as_writable_bytes(std::span(bytes)));
  CHECK(std::string(bytes, 4) == "2345");
  CHECK(has(error_of([&] { file.read_at(2, std::as_writable_bytes(std::span(bytes))); }), "end of the file"));
}
