// Convolutions of the UNet over latents of length 2: [batch, 2, channels] to as many channels. Arguments:
// batch, channels, threads. Arithmetic is counted as in cases.hpp: three products for kernel 3, two for
// kernel 2.
#include "counters.hpp"

namespace {

using maa::Buffer;
using maa::ConvShape;
using maa::Index;
using maa::SequenceView;
using maa::cpu::Backend;

constexpr Index length = 2;
constexpr ConvShape same{3, 1, 1}, half{2, 2, 1};

struct Arrays {
  Index batch, channels;
  int threads;
  Backend backend;
  Buffer<float> x, w, bias, y;
  explicit Arrays(const benchmark::State& state)
      : batch(state.range(0)),
        channels(state.range(1)),
        threads(static_cast<int>(state.range(2))),
        backend(threads),
        x(bench::normal_numbers(1, batch * length * channels)),
        w(bench::normal_numbers(2, 3 * channels * channels)),
        bias(bench::normal_numbers(3, channels)),
        y(batch * length * channels) {}
  SequenceView<float> inputs() { return {x.data(), batch, length, channels}; }
  SequenceView<float> outputs() { return {y.data(), batch, length, channels}; }
  void count(benchmark::State& state, Index products) const {
    const auto weights = static_cast<double>(products * channels * channels);
    bench::count(state, {2 * static_cast<double>(batch) * weights, 4 * weights, 0}, threads);
  }
};

void conv_forward(benchmark::State& state) {
  Arrays arrays(state);
  for (auto _ : state) {
    conv1d_forward(arrays.backend, same, arrays.inputs(), arrays.w.data(), arrays.bias.data(),
                   arrays.outputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state, 3);
}

void conv_backward_input(benchmark::State& state) {
  Arrays arrays(state);
  for (auto _ : state) {
    conv1d_backward_input(arrays.backend, same, arrays.outputs(), arrays.w.data(), arrays.inputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state, 3);
}

void conv_backward_weight(benchmark::State& state) {
  Arrays arrays(state);
  for (auto _ : state) {
    conv1d_backward_weight(arrays.backend, same, arrays.outputs(), arrays.inputs(), arrays.w.data(),
                           arrays.bias.data());
    benchmark::ClobberMemory();
  }
  arrays.count(state, 3);
}

void strided_forward(benchmark::State& state) {
  Arrays arrays(state);
  for (auto _ : state) {
    conv1d_forward(arrays.backend, half, arrays.inputs(), arrays.w.data(), arrays.bias.data(),
                   arrays.outputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state, 2);
}

void transposed_forward(benchmark::State& state) {
  Arrays arrays(state);
  for (auto _ : state) {
    conv_transpose1d_forward(arrays.backend, half, arrays.inputs(), arrays.w.data(), arrays.bias.data(),
                             arrays.outputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state, 2);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgsProduct({{1, 16, 100, 128}, {128, 512, 2048}, {1, 2}})->UseRealTime();
}

BENCHMARK(conv_forward)->Apply(sizes);
BENCHMARK(conv_backward_input)->Apply(sizes);
BENCHMARK(conv_backward_weight)->Apply(sizes);
BENCHMARK(strided_forward)->Apply(sizes);
BENCHMARK(transposed_forward)->Apply(sizes);

}  // namespace
