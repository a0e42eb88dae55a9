// Files that a program is about to write.
#pragma once

#include <filesystem>

#include <maa/io/atomic_file.hpp>

namespace maa::examples {

// Error if the file is one of `others`.
template <class Paths>
void require_other(const std::filesystem::path& path, const Paths& others) {
  for (const std::filesystem::path& other : others) {
    std::error_code code;
    require(path != other && !std::filesystem::equivalent(path, other, code), "cannot write '", path.string(),
            "': expected another file than '", other.string(), "'");
  }
}
// An Error now rather than after long work: also unless the file can be written.
template <class Paths>
void require_output(const std::filesystem::path& path, const Paths& others) {
  require_other(path, others);
  const AtomicFile probe(path);
}

}  // namespace maa::examples
