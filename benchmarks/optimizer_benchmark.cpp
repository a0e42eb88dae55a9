// AdamW with its moving average, and the norm for clipping, over arrays larger than the caches. Argument:
// threads.
#include "counters.hpp"

namespace {

constexpr maa::Index size = maa::Index{1} << 26;
constexpr double bytes = 4.0 * static_cast<double>(size);

// With average five arrays are read and four written; without, four and three.
void adamw(benchmark::State& state, bool average) {
  const auto threads = static_cast<int>(state.range(0));
  const maa::cpu::Backend backend(threads);
  maa::Buffer<float> weights(size), gradients(size), m(size), v(size), ema(average ? size : 0);
  maa::Rng(1).fill_uniform<float>(gradients.span(), -1, 1);
  maa::AdamWStep step{.weight_decay = 0.01, .ema_decay = average ? 0.999 : -1};
  for (auto _ : state) {
    maa::cpu::adamw(backend, step, weights.span(), gradients.span(), m.span(), v.span(), ema.span());
    ++step.step;
  }
  bench::count(state, {0, 0, bytes * (average ? 9 : 7)}, threads);
}

void sum_of_squares(benchmark::State& state) {
  const auto threads = static_cast<int>(state.range(0));
  const maa::cpu::Backend backend(threads);
  maa::Buffer<float> values(size);
  maa::Rng(1).fill_uniform<float>(values.span(), -1, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(maa::cpu::sum_of_squares(backend, values.span()));
  }
  bench::count(state, {0, bytes, 0}, threads);
}

BENCHMARK_CAPTURE(adamw, with_average, true)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK_CAPTURE(adamw, without_average, false)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(sum_of_squares)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
