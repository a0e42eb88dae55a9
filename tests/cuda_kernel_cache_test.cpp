// The folder of compiled kernels: what lies there is used only if it is whole and belongs to the user alone.
#include <doctest/doctest.h>

#include "temporary_folder.hpp"

#include <maa/backend/cuda/kernel_cache.hpp>
#include <maa/backend/cuda/kernels_text.hpp>

using namespace maa;
using cuda::KernelCache;
namespace fs = std::filesystem;

namespace {

fs::path only_file(const fs::path& folder) {
  fs::path result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    CHECK(result.empty());
    result = entry.path();
  }
  return result;
}

}  // namespace

TEST_CASE("what was stored comes back, under its own key only") {
  const test::TemporaryFolder temporary;
  const auto folder = temporary / "new" / "maa";
  const KernelCache cache(folder);
  CHECK_FALSE(cache.load("key"));
  const std::string code(
      "\x7f"
      "ELF\0 code",
      10);
  cache.store("key", code);
  CHECK(cache.load("key") == code);
  CHECK_FALSE(cache.load("other key"));
  CHECK((fs::status(folder).permissions() & fs::perms::mask) == fs::perms::owner_all);
  cache.store("key", "newer");
  CHECK(cache.load("key") == "newer");
  cache.store("empty", "");
  CHECK(cache.load("empty") == "");
  // Under another key's name.
  const test::TemporaryFolder second;
  const KernelCache other(second / "maa");
  other.store("other key", "other");
  fs::rename(only_file(second / "maa"), second / "maa" / "kept");
  other.store("key", "value");
  fs::path name;
  for (const auto& entry : fs::directory_iterator(second / "maa")) {
    name = entry.path().filename() == "kept" ? name : entry.path();
  }
  fs::rename(second / "maa" / "kept", name);
  CHECK_FALSE(other.load("key"));
}

TEST_CASE("damaged files are none") {
  const test::TemporaryFolder temporary;
  const KernelCache cache(temporary / "maa");
  const std::string code = "some code that is long enough";
  cache.store("key", code);
  const auto file = only_file(temporary / "maa");
  const auto bytes = test::read_bytes(file);
  REQUIRE(cache.load("key") == code);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CAPTURE(i);
    auto wrong = bytes;
    wrong[i] = static_cast<char>(wrong[i] ^ 4);
    test::write_bytes(file, wrong);
    CHECK_FALSE(cache.load("key"));
    test::write_bytes(file, bytes.substr(0, i));
    CHECK_FALSE(cache.load("key"));
  }
  test::write_bytes(file, bytes + "x");
  CHECK_FALSE(cache.load("key"));
  cache.store("key", code);  // and are replaced
  CHECK(cache.load("key") == code);
  fs::remove(file);
  fs::create_directory(file);
  CHECK_FALSE(cache.load("key"));
  cache.store("key", code);
  CHECK_FALSE(cache.load("key"));
}

TEST_CASE("folders that others can enter, or that are not there, are left alone") {
  const test::TemporaryFolder temporary;
  const auto folder = temporary / "maa";
  const KernelCache cache(folder);
  cache.store("key", "code");
  REQUIRE(cache.load("key") == "code");
  for (const auto mode : {0755, 0770, 0702, 0777}) {
    CAPTURE(mode);
    fs::permissions(folder, fs::perms(mode));
    CHECK_FALSE(cache.load("key"));
    cache.store("second key", "code");
    fs::permissions(folder, fs::perms::owner_all);
    CHECK_FALSE(cache.load("second key"));
  }
  CHECK(cache.load("key") == "code");

  SUBCASE("a link to a folder") {
    fs::create_directory_symlink(folder, temporary / "link");
    CHECK_FALSE(KernelCache(temporary / "link").load("key"));
  }
  SUBCASE("a file in the folder's place") {
    test::write_bytes(temporary / "file", "text");
    const KernelCache blocked(temporary / "file");
    blocked.store("key", "code");
    CHECK_FALSE(blocked.load("key"));
    CHECK(test::read_bytes(temporary / "file") == "text");
    const KernelCache below(temporary / "file" / "maa");
    below.store("key", "code");
    CHECK_FALSE(below.load("key"));
  }
  SUBCASE("a folder that cannot be written to") {
    fs::permissions(folder, fs::perms(0500));
    cache.store("third key", "code");  // root can
    CHECK(cache.load("key") == "code");
    fs::permissions(folder, fs::perms::owner_all);
  }
  SUBCASE("somewhere where nothing can be made") {
    const KernelCache nowhere("/proc/maa/cache");
    nowhere.store("key", "code");
    CHECK_FALSE(nowhere.load("key"));
  }
  SUBCASE("no folder: nothing is kept") {
    const KernelCache off{fs::path()};
    off.store("key", "code");
    CHECK_FALSE(off.load("key"));
  }
  SUBCASE("another user's folder") {
    if (::geteuid() == 0 && ::chown(folder.c_str(), 12345, 12345) == 0) {
      CHECK_FALSE(cache.load("key"));
    }
  }
}

TEST_CASE("the default folder") {
  const char* const names[] = {"XDG_CACHE_HOME", "HOME"};
  std::optional<std::string> before[2];
  for (int i = 0; i < 2; ++i) {
    if (const char* value = std::getenv(names[i])) {
      before[i] = value;
    }
  }
  ::setenv("HOME", "/home/someone", 1);
  ::setenv("XDG_CACHE_HOME", "/caches", 1);
  CHECK(KernelCache::default_folder() == "/caches/maa");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  CHECK(KernelCache::default_folder() == "/home/someone/.cache/maa");
  ::unsetenv("XDG_CACHE_HOME");
  CHECK(KernelCache::default_folder() == "/home/someone/.cache/maa");
  ::unsetenv("HOME");
  CHECK(KernelCache::default_folder().empty());
  for (int i = 0; i < 2; ++i) {
    before[i] ? ::setenv(names[i], before[i]->c_str(), 1) : ::unsetenv(names[i]);
  }
}

TEST_CASE("the kernels' text comes in pieces that every compiler takes") {
  std::size_t size = 0;
  for (const auto piece : cuda::kernels_text_pieces) {
    CHECK(piece.size() < 60'000);
    size += piece.size();
  }
  CHECK(size > 1000);
}
