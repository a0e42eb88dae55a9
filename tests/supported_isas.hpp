// The instruction sets that this machine runs, for tests that compare them within one program.
#pragma once

#include <maa/kernels/isa.hpp>

#include <vector>

namespace test {

inline std::vector<maa::kernels::Isa> supported_isas() {
  using maa::kernels::Isa;
  std::vector<Isa> list;
  for (const auto isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (isa <= maa::kernels::detect_isa()) {
      list.push_back(isa);
    }
  }
  return list;
}

}  // namespace test
