// Activations on arrays that fit the cache. Arguments: the activation's number, elements.
#include <maa/backend/cpu/elementwise.hpp>
#include <maa/core/rng.hpp>

#include <benchmark/benchmark.h>

namespace {

using maa::Activation;
using maa::Buffer;

void forward(benchmark::State& state) {
  const maa::cpu::Backend backend(1);
  Buffer<float> x(state.range(1)), y(state.range(1));
  maa::Rng(1).fill_normal<float>(x.span());
  for (auto _ : state) {
    activation_forward(backend, static_cast<Activation>(state.range(0)), x.span(), y.span());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

void backward(benchmark::State& state) {
  const maa::cpu::Backend backend(1);
  Buffer<float> x(state.range(1)), dy(state.range(1)), dx(state.range(1));
  maa::Rng(1).fill_normal<float>(x.span());
  maa::Rng(2).fill_normal<float>(dy.span());
  for (auto _ : state) {
    activation_backward(backend, static_cast<Activation>(state.range(0)), x.span(), dy.span(), dx.span());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

BENCHMARK(forward)->ArgsProduct({{1, 2, 3, 4, 5}, {128, 8192}});
BENCHMARK(backward)->ArgsProduct({{1, 2, 3, 4, 5}, {128, 8192}});

}  // namespace
