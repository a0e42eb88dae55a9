// A folder of its own for a test that writes files, and a few lines to look into files.
#pragma once

#include "errors.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    auto pattern = (std::filesystem::temp_directory_path() / "maa_test_XXXXXX").string();
    maa::require(::mkdtemp(pattern.data()) != nullptr, "cannot create ", pattern);
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      result.push_back(entry.path().filename().string());
    }
    return result;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  maa::require(file.good(), "cannot read ", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

// Removes an old file first: some file systems flush to the disk when an existing file is truncated and
// rewritten, which costs milliseconds.
inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  maa::require(!file.fail(), "cannot write ", path.string());
}

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(MAA_TEST_DATA) / name;
}

}  // namespace test
