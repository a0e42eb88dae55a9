// Products of the shapes models use, beside Eigen with the flags of this build. Arguments: M, N, K, threads.
// Rates count the weights as if they came from memory; smaller ones stay in a cache.
#include "counters.hpp"

#include <Eigen/Core>

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::cpu::Backend;

struct Arrays {
  Index m, n, k;
  Buffer<float> x, w, y;
  explicit Arrays(const benchmark::State& state)
      : m(state.range(0)),
        n(state.range(1)),
        k(state.range(2)),
        x(bench::normal_numbers(1, m * k)),
        w(bench::normal_numbers(2, n * k)),
        y(m * n) {}
  MatrixView<float> inputs() { return {x.data(), m, k}; }
  MatrixView<float> outputs() { return {y.data(), m, n}; }
  void count(benchmark::State& state) const {
    const auto weights = static_cast<double>(n * k);
    bench::count(state, {2 * static_cast<double>(m) * weights, 4 * weights, 0},
                 static_cast<int>(state.range(3)));
  }
};

void linear_forward(benchmark::State& state) {
  Arrays arrays(state);
  const Backend backend(static_cast<int>(state.range(3)));
  for (auto _ : state) {
    maa::cpu::linear_forward(backend, arrays.inputs(), arrays.w.data(), nullptr, arrays.outputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state);
}

void linear_backward_input(benchmark::State& state) {
  Arrays arrays(state);
  const Backend backend(static_cast<int>(state.range(3)));
  for (auto _ : state) {
    maa::cpu::linear_backward_input(backend, arrays.outputs(), arrays.w.data(), arrays.inputs());
    benchmark::ClobberMemory();
  }
  arrays.count(state);
}

void linear_backward_weight(benchmark::State& state) {
  Arrays arrays(state);
  const Backend backend(static_cast<int>(state.range(3)));
  for (auto _ : state) {
    maa::cpu::linear_backward_weight(backend, arrays.outputs(), arrays.inputs(), arrays.w.data(), nullptr);
    benchmark::ClobberMemory();
  }
  arrays.count(state);
}

void eigen_forward(benchmark::State& state) {
  using Matrix = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  Arrays arrays(state);
  Matrix x(arrays.x.data(), arrays.m, arrays.k), w(arrays.w.data(), arrays.n, arrays.k),
      y(arrays.y.data(), arrays.m, arrays.n);
  for (auto _ : state) {
    y.noalias() = x * w.transpose();
    benchmark::ClobberMemory();
  }
  arrays.count(state);
}

void sizes(benchmark::internal::Benchmark* b, int threads) {
  for (const int rows : {1, 16, 128}) {
    b->Args({rows, 1024, 1024, threads})->Args({rows, 2048, 2048, threads})->Args({rows, 256, 256, threads});
  }
  b->Args({256, 512, 512, threads})->Args({96, 128, 39, threads})->UseRealTime();
}
void one_and_two_threads(benchmark::internal::Benchmark* b) {
  sizes(b, 1);
  sizes(b, 2);
}
void one_thread(benchmark::internal::Benchmark* b) {
  sizes(b, 1);
}

BENCHMARK(linear_forward)->Apply(one_and_two_threads);
BENCHMARK(linear_backward_input)->Apply(one_and_two_threads);
BENCHMARK(linear_backward_weight)->Apply(one_and_two_threads);
BENCHMARK(eigen_forward)->Apply(one_thread);

}  // namespace
