// The remaining ops, at the sizes of the paper's models. Arguments: batch, threads. Bytes are counted as if
// they came from memory.
#include "counters.hpp"
#include "policy_cases.hpp"

#include <maa/models/bayesian_head.hpp>

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::SequenceView;
using maa::cpu::Backend;

constexpr Index channels = 2048, length = 2;

void timestep_embedding(benchmark::State& state) {
  const Index batch = state.range(0);
  const auto threads = static_cast<int>(state.range(1));
  const Backend backend(threads);
  const std::vector<Index> timesteps(static_cast<std::size_t>(batch), 50);
  Buffer<float> y(batch * 128);
  for (auto _ : state) {
    sinusoidal_embedding(backend, timesteps, MatrixView<float>(y.data(), batch, 128));
    benchmark::ClobberMemory();
  }
  bench::count(state, {0, 0, 4.0 * static_cast<double>(y.size())}, threads);
}

void mse(benchmark::State& state) {
  const Index batch = state.range(0), size = length * 1024;
  const auto threads = static_cast<int>(state.range(1));
  const Backend backend(threads);
  auto prediction = bench::normal_numbers(1, batch * size), target = bench::normal_numbers(2, batch * size);
  Buffer<float> gradient(batch * size);
  for (auto _ : state) {
    benchmark::DoNotOptimize(mse_loss(backend, MatrixView<float>(prediction.data(), batch, size),
                                      MatrixView<float>(target.data(), batch, size),
                                      MatrixView<float>(gradient.data(), batch, size)));
  }
  bench::count(state, {0, 0, 12.0 * static_cast<double>(batch * size)}, threads);
}

void info_nce(benchmark::State& state) {
  const Index batch = state.range(0);
  const auto threads = static_cast<int>(state.range(1));
  const Backend backend(threads);
  auto logits = bench::normal_numbers(1, batch * batch);
  Buffer<float> targets(batch * batch), gradient(batch * batch);
  for (Index i = 0; i < batch; ++i) {
    targets[i * batch + i] = 1;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(info_nce_loss(backend, MatrixView<float>(logits.data(), batch, batch),
                                           MatrixView<float>(targets.data(), batch, batch),
                                           MatrixView<float>(gradient.data(), batch, batch)));
  }
  bench::count(state, {0, 0, 12.0 * static_cast<double>(batch * batch)}, threads);
}

// Last layers of `batch` policies refitted to 60 pairs each.
void bayesian_head(benchmark::State& state) {
  using Network = maa::MetaWorldNetwork;
  using Head = maa::BayesianHead<Network, 64>;
  constexpr Index parameters = maa::parameter_count<Network>, pairs = 60;
  const Index batch = state.range(0);
  const auto threads = static_cast<int>(state.range(1));
  const Backend backend(threads);
  const auto head = bench::initial_weights<Head>();
  auto policies = bench::policy_weights(batch);
  auto observations = bench::normal_numbers(1, batch * pairs * Network::observation_size);
  auto actions = bench::normal_numbers(2, batch * pairs * Network::action_size, 0.3);
  for (float& action : actions) {
    action = std::clamp(action, -0.9f, 0.9f);
  }
  Buffer<float> corrected(policies.size());
  maa::Workspace workspace;
  for (auto _ : state) {
    workspace.reset();
    Head::forward(backend, Network::layout(), maa::bind<Head>(head),
                  MatrixView<const float>(policies.data(), batch, parameters),
                  SequenceView<const float>(observations.data(), batch, pairs, Network::observation_size),
                  SequenceView<const float>(actions.data(), batch, pairs, Network::action_size),
                  MatrixView<float>(corrected.data(), batch, parameters), workspace);
  }
  bench::count(state, {0, 0, 8.0 * static_cast<double>(policies.size())}, threads);
}

void batches(benchmark::internal::Benchmark* b) {
  b->ArgsProduct({{1, 16, 100, 128}, {1, 2}})->UseRealTime();
}

BENCHMARK(timestep_embedding)->Apply(batches);
BENCHMARK(mse)->Apply(batches);
BENCHMARK(info_nce)->Apply(batches);
BENCHMARK(bayesian_head)->Apply(batches);

}  // namespace
