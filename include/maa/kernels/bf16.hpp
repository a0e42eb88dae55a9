// Products of bfloat16 factors with sums in float, on the units that some processors have for them.
#pragma once

#include <maa/kernels/gemm_table.hpp>

#if MAA_BODIES
#include <algorithm>
#include <chrono>
#if MAA_HAS_X86_KERNELS
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#endif

MAA_NAMESPACE_BEGIN
namespace kernels {

// avx512_bf16: dot products of pairs (vdpbf16ps); amx: tiles (tdpbf16ps). Their results differ in the last
// bits.
enum class Bf16Unit { none, avx512_bf16, amx };

inline std::string_view name(Bf16Unit unit) {
  constexpr std::string_view names[] = {"none", "avx512_bf16", "amx"};
  return names[static_cast<int>(unit)];
}

// Whether processor and operating system support the unit. The first call asks for AMX on behalf of the
// process.
bool supports(Bf16Unit unit) noexcept;

// The unit that is faster than float arithmetic here. Without AMX the first call measures it.
Bf16Unit detect_bf16_unit() noexcept;

// The unit that the environment variable MAA_BF16 names (none, avx512_bf16, amx), or the detected one if it
// is not set. Throws Error for another name or a unit this machine does not support.
Bf16Unit select_bf16_unit();

// Steps of 32 numbers that a product's depth is cut into; the last is filled up with zeros.
inline constexpr Index bf16_steps(Index depth) {
  return (depth + 31) / 32;
}
// Words between the steps of packed rows: [steps][rows][16 words of pairs]. An odd number of lines, lest all
// steps share cache sets.
inline constexpr Index bf16_step_words(Index rows) {
  return 16 * (rows | 1);
}

struct Bf16Table {
  Bf16Unit unit;
  // Packs rows [0, rows) and `depth` columns of `a`, rounded to nearest even, to rows whose steps lie
  // `step_words` apart; `to` is the first row's place in the step where these columns begin. Depth is a
  // multiple of 32, or ends with the matrix.
  void (*pack_rows)(const float* a, Index a_row, Index a_col, Index rows, Index depth, std::uint32_t* to,
                    Index step_words);
  // The block c of a product: `rows` is the place of its first row in the first step, `panels` its first
  // panel (c begins at a panel's first column), c.depth the whole depth. Does not read c.a and c.b.
  void (*multiply)(const std::uint32_t* rows, Index step_words, const std::uint32_t* panels,
                   const Product<float>& c);
};

// The kernels of a unit, which supports() must have confirmed before they run: it asks the system for the
// tiles. Null for none.
const Bf16Table* bf16_table_for(Bf16Unit unit) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/bf16.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

namespace detail {

#if MAA_HAS_X86_KERNELS
inline bool has_avx512_bf16() noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return detect_isa() == Isa::avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

// The kernel must save the tiles and, on Linux, wants to be asked once per process.
inline bool has_amx() noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_avx512_bf16() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d >> 22 & 1) == 0 ||
      (d >> 24 & 1) == 0) {
    return false;
  }
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned tile_state = 3u << 17;
  if ((low & tile_state) != tile_state) {
    return false;
  }
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return true;
#endif
}

// Whether dot products of pairs do more multiplications per second than multiply-adds: on some processors
// they take four times as long. Takes a fraction of a millisecond.
inline bool dot_pays() noexcept {
  using Clock = std::chrono::steady_clock;
  const auto time = [](float (*run)(Index)) {
    const auto start = Clock::now();
    static_cast<void>(run(2000));
    return Clock::now() - start;
  };
  auto fma = Clock::duration::max(), dot = Clock::duration::max();
  for (int i = 0; i < 5; ++i) {
    fma = std::min(fma, time(avx512::repeat_fma));
    dot = std::min(dot, time(avx512::repeat_dot));
  }
  return dot * 2 < fma * 3;
}
#endif

}  // namespace detail

MAA_INLINE bool supports(Bf16Unit unit) noexcept {
#if MAA_HAS_X86_KERNELS
  static const bool dot = detail::has_avx512_bf16(), amx = detail::has_amx();
  return unit == Bf16Unit::none || (unit == Bf16Unit::amx ? amx : dot);
#else
  return unit == Bf16Unit::none;
#endif
}

MAA_INLINE Bf16Unit detect_bf16_unit() noexcept {
#if MAA_HAS_X86_KERNELS
  static const Bf16Unit unit = supports(Bf16Unit::amx)                                 ? Bf16Unit::amx
                               : supports(Bf16Unit::avx512_bf16) && detail::dot_pays() ? Bf16Unit::avx512_bf16
                                                                                       : Bf16Unit::none;
  return unit;
#else
  return Bf16Unit::none;
#endif
}

MAA_INLINE Bf16Unit select_bf16_unit() {
  const char* text = std::getenv("MAA_BF16");
  if (text == nullptr || *text == '\0') {
    return detect_bf16_unit();
  }
  for (const auto unit : {Bf16Unit::none, Bf16Unit::avx512_bf16, Bf16Unit::amx}) {
    if (name(unit) == text) {
      require(supports(unit), "MAA_BF16: this machine does not support ", name(unit));
      return unit;
    }
  }
  fail("MAA_BF16: expected none, avx512_bf16 or amx, found \"", std::string_view(text), "\"");
}

MAA_INLINE const Bf16Table* bf16_table_for(Bf16Unit unit) noexcept {
#if MAA_HAS_X86_KERNELS
  static constexpr Bf16Table dot{Bf16Unit::avx512_bf16, avx512::pack_bf16_rows, avx512::multiply_bf16_dot};
  static constexpr Bf16Table amx{Bf16Unit::amx, avx512::pack_bf16_rows, avx512::multiply_bf16_amx};
  switch (unit) {
    case Bf16Unit::amx:
      return &amx;
    case Bf16Unit::avx512_bf16:
      return &dot;
    case Bf16Unit::none:
      break;
  }
#endif
  static_cast<void>(unit);
  return nullptr;
}

#endif

}  // namespace kernels
MAA_NAMESPACE_END
