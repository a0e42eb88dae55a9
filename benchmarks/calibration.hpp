// The machine's own limits, measured in the process that is compared with them: multiply-adds, memory reads,
// and memory reads with writes. A neighbour on the machine slows these as it slows the code under test.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/kernels/isa.hpp>
#include <maa/kernels/target.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

namespace bench {

using maa::Index;
using maa::kernels::Isa;

// Not the library's MAA_KERNEL_UNROLL: if that breaks, the limits must stay.
#if defined(__clang__)
#define MAA_PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MAA_PEAK_UNROLL _Pragma("GCC unroll 16")
#endif

namespace peak {
#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/vector.inl>

#include "calibration.inl"
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/vector.inl>

#include "calibration.inl"
#undef MAA_LANES
MAA_KERNEL_END
#endif
}  // namespace peak

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds that body(0 .. threads - 1) takes on as many threads.
template <class Body>
double time_threads(int threads, const Body& body) {
  const double start = now();
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) {
    others.emplace_back([&body, i] { body(i); });
  }
  body(0);
  for (auto& other : others) {
    other.join();
  }
  return now() - start;
}

// Keeps a value from being optimised away.
template <class T>
void keep(T value) {
  volatile T sink = value;
  static_cast<void>(sink);
}

// Multiply-adds per second times two, in one go of about `seconds`. 0 without vector kernels.
inline double measure_fma(Isa isa, int threads, double seconds = 0.01) {
  if (isa == Isa::scalar) {
    return 0;
  }
#if MAA_HAS_X86_KERNELS
  const bool wide = isa == Isa::avx512;
  const double lanes = wide ? 16 : 8;
  const auto rounds = static_cast<Index>(seconds * 0.5e9);  // 12 in 6 cycles of 3 GHz
  const double time = time_threads(
      threads, [&](int) { keep(wide ? peak::avx512::run_fma(rounds) : peak::avx2::run_fma(rounds)); });
  return 2 * lanes * peak::avx2::fma_chains * static_cast<double>(rounds) * threads / time;
#else
  return 0;
#endif
}

// An array that no cache holds, to read from and write to.
class Memory {
 public:
  explicit Memory(Index floats = Index{160} << 20) : values_(floats) {}

  // Bytes per second of one pass; with `write`, what is read plus what is written.
  double measure(Isa isa, int threads, bool write) {
    const Index share = values_.size() / threads / 1024 * 1024;
    const double time = time_threads(threads, [&](int i) {
      float* const part = values_.data() + i * share;
      write ? update(isa, part, share) : read(isa, part, share);
    });
    return (write ? 2.0 : 1.0) * static_cast<double>(share * threads) * sizeof(float) / time;
  }

 private:
  static void read(Isa isa, const float* x, Index count) {
#if MAA_HAS_X86_KERNELS
    if (isa != Isa::scalar) {
      return keep(isa == Isa::avx512 ? peak::avx512::run_read(x, count) : peak::avx2::run_read(x, count));
    }
#endif
    static_cast<void>(isa);
    float sums[8] = {};
    for (Index i = 0; i < count; ++i) {
      sums[i % 8] += x[i];
    }
    keep(sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7]);
  }
  static void update(Isa isa, float* x, Index count) {
#if MAA_HAS_X86_KERNELS
    if (isa != Isa::scalar) {
      return isa == Isa::avx512 ? peak::avx512::run_update(x, count) : peak::avx2::run_update(x, count);
    }
#endif
    static_cast<void>(isa);
    for (Index i = 0; i < count; ++i) {
      x[i] = -x[i];
    }
    keep(x[0]);
  }

  maa::Buffer<float> values_;
};

// Per second: floating-point operations, bytes read, and bytes read plus written in a pass that does both.
struct Limits {
  double flops = 0;
  double read = 0;
  double update = 0;
};

// The best of several measurements.
inline Limits measure_limits(Isa isa, int threads, int repetitions = 5) {
  Limits limits;
  Memory memory;
  for (int i = 0; i < repetitions; ++i) {
    limits.flops = std::max(limits.flops, measure_fma(isa, threads));
    limits.read = std::max(limits.read, memory.measure(isa, threads, false));
    limits.update = std::max(limits.update, memory.measure(isa, threads, true));
  }
  return limits;
}

// The same, measured once per process and number of threads, for the instruction set that the library uses.
inline const Limits& limits(int threads) {
  static std::map<int, Limits> known;
  const auto found = known.find(threads);
  return found != known.end()
             ? found->second
             : known.emplace(threads, measure_limits(maa::kernels::select_isa(), threads)).first->second;
}

}  // namespace bench
