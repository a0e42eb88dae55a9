// Which instruction sets the kernels are compiled for, and which of them this machine runs.
#pragma once

#include <maa/core/error.hpp>

#include <cstdlib>
#include <string_view>

MAA_NAMESPACE_BEGIN
namespace kernels {

// Each level includes those before it. avx2: AVX2 and FMA; avx512: also F, VL, BW, DQ.
enum class Isa { scalar, avx2, avx512 };

inline std::string_view name(Isa isa) {
  constexpr std::string_view names[] = {"scalar", "avx2", "avx512"};
  return names[static_cast<int>(isa)];
}

// The highest level that processor and operating system support.
Isa detect_isa() noexcept;

// `isa`, or an Error if this machine does not support it.
Isa require_supported(Isa isa);

// The level the environment variable MAA_ISA names (scalar, avx2, avx512), or the detected one if it is not
// set. Throws Error for another name or a level this machine does not support.
Isa select_isa();

#if MAA_BODIES

MAA_INLINE Isa detect_isa() noexcept {
#if MAA_HAS_X86_KERNELS
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return Isa::scalar;
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return avx512 ? Isa::avx512 : Isa::avx2;
#else
  return Isa::scalar;
#endif
}

MAA_INLINE Isa require_supported(Isa isa) {
  require(isa <= detect_isa(), "instruction set: expected at most ", name(detect_isa()),
          " on this machine, found ", name(isa));
  return isa;
}

MAA_INLINE Isa select_isa() {
  const char* text = std::getenv("MAA_ISA");
  if (text == nullptr || *text == '\0') {
    return detect_isa();
  }
  for (const auto isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (name(isa) == text) {
      return require_supported(isa);
    }
  }
  fail("MAA_ISA: expected scalar, avx2 or avx512, found \"", std::string_view(text), "\"");
}

#endif

}  // namespace kernels
MAA_NAMESPACE_END
