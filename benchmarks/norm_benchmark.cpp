// The denoiser's normalisation: group norm (8 groups) and Mish, alone, with FiLM, with a residual. Arguments:
// batch, channels, what follows (0 nothing, 1 FiLM, 2 a residual), threads. Bytes are counted as if they came
// from memory.
#include "counters.hpp"

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::SequenceView;
using maa::cpu::Backend;

constexpr Index length = 2, groups = 8;

// Arguments of both ops.
struct Setup {
  Index batch, channels;
  bool film, residual;
  int threads;
  Backend backend{threads};
  Buffer<float> x = bench::normal_numbers(1, batch*length*channels),
                gain = bench::normal_numbers(2, channels), bias = bench::normal_numbers(3, channels),
                scale_bias = bench::normal_numbers(4, film ? batch * 2 * channels : 0),
                residuals = bench::normal_numbers(5, residual ? x.size() : 0),
                dy = bench::normal_numbers(6, x.size());
  Buffer<float> y{x.size()}, statistics{batch * 2 * groups}, dx{x.size()}, dscale_bias{scale_bias.size()},
      parameters{3 * channels};  // the gradients of gain and bias, the sums of dx

  explicit Setup(const benchmark::State& state)
      : batch(state.range(0)),
        channels(state.range(1)),
        film(state.range(2) == 1),
        residual(state.range(2) == 2),
        threads(static_cast<int>(state.range(3))) {
    forward();
  }
  SequenceView<float> view(Buffer<float>& values) { return {values.data(), batch, length, channels}; }
  MatrixView<float> modulation(Buffer<float>& values) {
    return film ? MatrixView<float>(values.data(), batch, 2 * channels) : MatrixView<float>();
  }
  MatrixView<float> moments() { return {statistics.data(), batch, 2 * groups}; }
  void forward() {
    norm_mish_forward(backend, groups, 1e-5, view(x), gain.data(), bias.data(), modulation(scale_bias),
                      residual ? view(residuals).flat() : MatrixView<float>(), view(y).flat(), moments());
  }
  void backward() {
    float* const sums = parameters.data();
    norm_mish_backward(backend, groups, view(x), moments(), gain.data(), bias.data(), modulation(scale_bias),
                       view(dy).flat(), view(dx), modulation(dscale_bias), sums, sums + channels,
                       sums + 2 * channels);
  }
};

void norm_mish_forward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) {
    setup.forward();
    benchmark::ClobberMemory();
  }
  const Index moved = 2 * setup.x.size() + setup.residuals.size() + setup.scale_bias.size();
  bench::count(state, {0, 0, 4.0 * static_cast<double>(moved)}, setup.threads);
}

void norm_mish_backward(benchmark::State& state) {
  Setup setup(state);
  for (auto _ : state) {
    setup.backward();
    benchmark::ClobberMemory();
  }
  const Index moved = 3 * setup.x.size() + 2 * setup.scale_bias.size();
  bench::count(state, {0, 0, 4.0 * static_cast<double>(moved)}, setup.threads);
}

BENCHMARK(norm_mish_forward)->ArgsProduct({{100}, {2048}, {0, 1, 2}, {1, 2}})->UseRealTime();
BENCHMARK(norm_mish_forward)->ArgsProduct({{128}, {512}, {0, 1, 2}, {1, 2}})->UseRealTime();
BENCHMARK(norm_mish_backward)->ArgsProduct({{100}, {2048}, {0, 1}, {1, 2}})->UseRealTime();
BENCHMARK(norm_mish_backward)->ArgsProduct({{128}, {512}, {0, 1}, {1, 2}})->UseRealTime();

}  // namespace
