// The main function of every test program. With MAA_ISA naming a level that this machine lacks the program
// counts as skipped, for CTest registers some programs once per level.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <maa/kernels/isa.hpp>

#include "skip.hpp"

#include <tbb/global_control.h>

int main(int argc, char** argv) {
  const auto supported = maa::kernels::detect_isa();
  const char* wanted = std::getenv("MAA_ISA");
  for (const auto isa : {maa::kernels::Isa::avx2, maa::kernels::Isa::avx512}) {
    if (wanted != nullptr && maa::kernels::name(isa) == wanted && isa > supported) {
      test::skip("this machine runs at most " + std::string(maa::kernels::name(supported)));
    }
  }
  // Tests ask for more threads than a small machine has; without this oneTBB gives fewer.
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 8);
  return doctest::Context(argc, argv).run();
}
