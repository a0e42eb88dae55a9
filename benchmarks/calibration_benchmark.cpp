// What the machine can do: the limits that every other benchmark is compared with. Argument: threads.
#include "calibration.hpp"

#include <benchmark/benchmark.h>

namespace {

void fma_peak(benchmark::State& state) {
  double rate = 0;
  for (auto _ : state) {
    rate = std::max(rate, bench::measure_fma(maa::kernels::select_isa(), static_cast<int>(state.range(0))));
  }
  state.counters["FLOP/s"] = rate;
}

void memory(benchmark::State& state, bool write) {
  bench::Memory memory;
  double rate = 0;
  for (auto _ : state) {
    rate =
        std::max(rate, memory.measure(maa::kernels::select_isa(), static_cast<int>(state.range(0)), write));
  }
  state.counters["B/s"] = rate;
}

BENCHMARK(fma_peak)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK_CAPTURE(memory, read, false)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK_CAPTURE(memory, read_and_write, true)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
