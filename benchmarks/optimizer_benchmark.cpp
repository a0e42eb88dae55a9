// AdamW with its moving average over arrays larger than the caches. Argument: threads.
#include <maa/backend/cpu/optimizer.hpp>
#include <maa/core/rng.hpp>

#include <benchmark/benchmark.h>

namespace {

void adamw_and_ema(benchmark::State& state) {
  constexpr maa::Index size = maa::Index{1} << 24;
  const maa::cpu::Backend backend(static_cast<int>(state.range(0)));
  maa::Buffer<float> weights(size), gradients(size), m(size), v(size), ema(size);
  maa::Rng(1).fill_normal<float>(gradients.span());
  maa::AdamWStep step{.weight_decay = 0.01, .ema_decay = 0.999};
  for (auto _ : state) {
    adamw(backend, step, weights.span(), gradients.span(), m.span(), v.span(), ema.span());
    ++step.step;
  }
  // Five arrays read, four written.
  state.SetBytesProcessed(state.iterations() * size * 9 * static_cast<maa::Index>(sizeof(float)));
}

void sum_of_squares(benchmark::State& state) {
  constexpr maa::Index size = maa::Index{1} << 24;
  const maa::cpu::Backend backend(static_cast<int>(state.range(0)));
  maa::Buffer<float> values(size);
  maa::Rng(1).fill_normal<float>(values.span());
  for (auto _ : state) {
    benchmark::DoNotOptimize(maa::cpu::sum_of_squares(backend, values.span()));
  }
  state.SetBytesProcessed(state.iterations() * size * static_cast<maa::Index>(sizeof(float)));
}

BENCHMARK(adamw_and_ema)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(sum_of_squares)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
