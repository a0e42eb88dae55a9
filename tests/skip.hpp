// What a test program does where the machine lacks what it needs.
#pragma once

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace test {

// SKIP_RETURN_CODE in CMakeLists.txt.
inline constexpr int skipped = 77;

// Ends the program with the code that CTest reports as skipped; not through the test framework, which counts its
// summary as what happened.
[[noreturn]] inline void skip(std::string_view why) {
  std::cout << "skipped: " << why << std::endl;
  std::_Exit(skipped);
}

}  // namespace test
