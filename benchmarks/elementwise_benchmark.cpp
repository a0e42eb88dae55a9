// Activations, sums and modulation. Arguments: (the activation's number,) elements, threads. 8192 elements
// fit the first-level cache, 2^20 the second or third; bytes are counted as if they came from memory.
#include "counters.hpp"

namespace {

using maa::Activation;
using maa::Buffer;
using maa::Index;
using maa::cpu::Backend;

void activation_forward(benchmark::State& state) {
  const Index size = state.range(1);
  const auto threads = static_cast<int>(state.range(2));
  const Backend backend(threads);
  const auto x = bench::normal_numbers(1, size);
  Buffer<float> y(size);
  for (auto _ : state) {
    activation_forward(backend, static_cast<Activation>(state.range(0)), x.span(), y.span());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * size);
  bench::count(state, {0, 0, 8.0 * static_cast<double>(size)}, threads);
}

void activation_backward(benchmark::State& state) {
  const Index size = state.range(1);
  const auto threads = static_cast<int>(state.range(2));
  const Backend backend(threads);
  const auto x = bench::normal_numbers(1, size), dy = bench::normal_numbers(2, size);
  Buffer<float> dx(size);
  for (auto _ : state) {
    activation_backward(backend, static_cast<Activation>(state.range(0)), x.span(), dy.span(), dx.span());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * size);
  bench::count(state, {0, 0, 12.0 * static_cast<double>(size)}, threads);
}

BENCHMARK(activation_forward)->ArgsProduct({{1, 2, 3, 4, 5}, {8192, 1 << 20}, {1, 2}})->UseRealTime();
BENCHMARK(activation_backward)->ArgsProduct({{1, 2, 3, 4, 5}, {8192, 1 << 20}, {1, 2}})->UseRealTime();

}  // namespace
