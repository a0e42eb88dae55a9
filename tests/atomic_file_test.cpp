#include "temporary_folder.hpp"

#include <maa/io/atomic_file.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <algorithm>
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

TEST_CASE("atomic file: names that no file can have") {
  const test::TemporaryFolder folder;
  CHECK(has(error_of([&] { maa::AtomicFile(folder / std::string(300, 'x')); }), "File name too long"));
  CHECK(has(error_of([] { maa::AtomicFile(""); }), "expected a regular file"));
  maa::write_file_atomically(folder / "file", "");
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "file/below"); }), "Not a directory"));
  CHECK(folder.names() == std::vector<std::string>{"file"});
}

TEST_CASE(
    "atomic file: follows symbolic links, chained, relative and absolute, also where there is no file") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "other");
  for (const bool there : {true, false}) {
    const auto target = folder / (there ? "other/there" : "other/new");
    if (there) {
      maa::write_file_atomically(target, "old");
    }
    const auto name = std::string(there ? "there" : "new");
    std::filesystem::create_symlink("other/" + name, folder / (name + ".1"));
    std::filesystem::create_symlink("../" + name + ".1", folder / ("other/" + name + ".2"));
    std::filesystem::create_symlink(folder / ("other/" + name + ".2"), folder / (name + ".3"));
    const auto last = folder / (name + ".3");
    maa::write_file_atomically(last, "first");
    CHECK(test::read_bytes(target) == "first");
    maa::write_file_atomically(last, "second");
    CHECK(test::read_bytes(target) == "second");
    CHECK_FALSE(std::filesystem::is_symlink(target));
    for (const auto& link : {folder / (name + ".1"), folder / ("other/" + name + ".2"), last}) {
      CHECK(std::filesystem::is_symlink(link));
    }
  }
  std::filesystem::create_symlink("missing/file", folder / "nowhere");
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "nowhere"); }), "No such file or directory"));
  std::filesystem::create_symlink("round", folder / "circle");
  std::filesystem::create_symlink("circle", folder / "round");
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "circle"); }), "Too many levels of symbolic links"));
  std::filesystem::create_symlink("/dev/full", folder / "device");
  CHECK(has(error_of([&] { maa::AtomicFile(folder / "device"); }), "expected a regular file"));
  for (const auto* link : {"nowhere", "circle", "round", "device"}) {
    CHECK(std::filesystem::is_symlink(folder / link));
  }
}

TEST_CASE("atomic file: a replaced file's mode stays, and nobody else may read what is not yet in place") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  maa::write_file_atomically(path, "old");
  for (const mode_t mode : {0600u, 0640u, 0444u, 0755u}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    maa::AtomicFile file(path);
    for (const auto& name : folder.names()) {
      struct stat status {};
      REQUIRE(::stat((folder / name).c_str(), &status) == 0);
      CHECK((name == "file" ? status.st_mode & 0777 : status.st_mode & 0077) == (name == "file" ? mode : 0));
    }
    file.write(std::as_bytes(std::span("new", 3)));
    file.commit();
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == mode);
  }
}

// Runs `action` in a process that dies without cleaning up when it calls its argument.
template <class Action>
void in_killed_process(const Action& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    action([] { ::kill(::getpid(), SIGKILL); });
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
}

TEST_CASE("atomic file: temporaries of killed processes go with the next file, those of living ones stay") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  const auto abandon = [&](const std::filesystem::path& target) {
    in_killed_process([&](auto die) {
      maa::AtomicFile first(target), second(target), third(target);
      first.write(std::as_bytes(std::span("half", 4)));
      second.commit();  // the others' numbers have a gap now
      die();
    });
  };
  abandon(path);
  CHECK(folder.names().size() == 3);
  maa::write_file_atomically(path, "new");
  CHECK(folder.names() == std::vector<std::string>{"file"});
  CHECK(test::read_bytes(path) == "new");
  {
    // Of a killed process beside those of living writers, of this target and of another.
    maa::AtomicFile own(path), other(folder / "other");
    own.write(std::as_bytes(std::span("last", 4)));
    abandon(path);
    CHECK(folder.names().size() == 5);
    maa::write_file_atomically(path, "newest");
    CHECK(folder.names().size() == 3);
    own.commit();
    other.commit();
  }
  CHECK(test::read_bytes(path) == "last");
  CHECK(folder.names().size() == 2);
  // Also where the target is given in another way, and where there was none.
  std::filesystem::create_symlink("new", folder / "link");
  in_killed_process([&](auto die) {
    const maa::AtomicFile file(folder / "new");
    die();
  });
  CHECK(folder.names().size() == 4);
  maa::write_file_atomically(folder / "link", "");
  CHECK(folder.names().size() == 4);
  CHECK(std::filesystem::exists(folder / "new"));
}

TEST_CASE("atomic file: many writers of one file at once, all of them killed") {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  const std::string whole(10'000, 'x');
  std::vector<pid_t> writers;
  for (int i = 0; i < 4; ++i) {
    writers.push_back(::fork());
    if (writers.back() == 0) {
      try {
        for (;;) {
          maa::write_file_atomically(path, whole);
        }
      } catch (...) {
        ::_exit(1);
      }
    }
  }
  for (int i = 0; i < 200; ++i) {
    maa::write_file_atomically(path, whole);
    CHECK(test::read_bytes(path) == whole);
  }
  for (const pid_t writer : writers) {
    int status = 0;
    ::kill(writer, SIGKILL);
    CHECK(::waitpid(writer, &status, 0) == writer);
    CHECK(WIFSIGNALED(status));
  }
  maa::write_file_atomically(path, "end");
  CHECK(folder.names() == std::vector<std::string>{"file"});
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
