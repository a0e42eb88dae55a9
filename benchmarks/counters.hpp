// Rates that every benchmark reports, and their share of what the machine was measured to do in the same
// process.
#pragma once

#include "case.hpp"

#include <benchmark/benchmark.h>

namespace bench {

// `work` of one iteration on `threads` threads. "of floor": the time of a machine at its limits over the time
// taken. Shares are rates to the benchmark library, which prints "/s" behind them.
inline void count(benchmark::State& state, const Work& work, int threads) {
  using benchmark::Counter;
  constexpr auto rate = Counter::kIsIterationInvariantRate;
  const auto& machine = limits(threads);
  if (work.flops > 0) {
    state.counters["FLOP/s"] = Counter(work.flops, rate);
    if (machine.flops > 0) {
      state.counters["of_FMA_peak"] = Counter(work.flops / machine.flops, rate);
    }
  }
  if (work.read > 0) {
    state.counters["B/s"] = Counter(work.read, rate);
    state.counters["of_read_peak"] = Counter(work.read / machine.read, rate);
  }
  if (work.updated > 0) {
    state.counters["updated_B/s"] = Counter(work.updated, rate);
    state.counters["of_update_peak"] = Counter(work.updated / machine.update, rate);
  }
  state.counters["of_floor"] = Counter(work.floor(machine), rate);
}

}  // namespace bench
