// Runs all targets on seeds and regressions without a fuzzer: replay [FOLDER of TARGET/INPUT...]; or writes
// them: replay --write FOLDER (FOLDER/seeds/TARGET/NAME, FOLDER/regressions/TARGET/NAME).
#include "targets.hpp"

#include "../temporary_folder.hpp"

#include <cstdio>
#include <iostream>

namespace {

int failures = 0;
int accepted = 0;
int refused = 0;

void replay(std::string_view target, const std::string& name, const std::string& bytes) {
  std::string message = "accepted";
  bool is_accepted = false;
  try {
    is_accepted = fuzz::target(target).run(bytes, fuzz::Use::all);
    message = is_accepted ? "accepted" : "refused";
  } catch (const maa::Error& error) {
    message = error.what();
  } catch (const std::exception& error) {
    ++failures;
    std::cerr << target << ", " << name << ": a finding: " << error.what() << '\n';
    return;
  }
  ++(is_accepted ? accepted : refused);
  if (name.starts_with(is_accepted ? "refused_" : "accepted_")) {
    ++failures;
    std::cerr << target << ", " << name << ": expected otherwise, found: " << message << '\n';
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 3 && arguments[1] == std::string("--write")) {
      const auto write = [&](const char* kind) {
        return [=](std::string_view target, const std::string& name, const std::string& bytes) {
          const auto folder = std::filesystem::path(arguments[2]) / kind / target;
          std::filesystem::create_directories(folder);
          test::write_bytes(folder / name, bytes);
        };
      };
      fuzz::seeds(write("seeds"));
      fuzz::regressions(write("regressions"));
      return 0;
    }
    fuzz::seeds([](std::string_view target, const std::string& name, const std::string& bytes) {
      replay(target, "accepted_" + name, bytes);
    });
    fuzz::regressions([](std::string_view target, const std::string& name, const std::string& bytes) {
      replay(target, name, bytes);
    });
    for (int i = 1; i < count; ++i) {
      if (!std::filesystem::exists(arguments[i])) {
        continue;  // no finding was kept as a file yet
      }
      for (const auto& entry : std::filesystem::recursive_directory_iterator(arguments[i])) {
        if (entry.is_regular_file()) {
          replay(entry.path().parent_path().filename().string(), entry.path().filename().string(),
                 test::read_bytes(entry.path()));
        }
      }
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  std::cout << accepted << " inputs accepted, " << refused << " refused, " << failures << " findings\n";
  return failures == 0 ? 0 : 1;
}
