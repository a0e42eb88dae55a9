// Running policies of 39-128-128-4: one observation, many observations, many policies, and the op that trains
// them. With MAA_PEER_EIGEN (and peer_policy_eigen.cpp linked) beside Eigen with sizes known at compile time.
// items_per_second counts actions. A noisy machine: run with --benchmark_enable_random_interleaving=true
// --benchmark_repetitions=20.
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/policy.hpp>

#include <benchmark/benchmark.h>

#include <vector>

#ifdef MAA_PEER_EIGEN
#include "peer_policy_eigen.hpp"
#endif

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::SequenceView;
using maa::Storage;

template <Storage storage>
using Policy = maa::MlpPolicy<maa::MetaWorldNetwork, storage>;
constexpr std::size_t observation_size = 39, action_size = 4;

std::vector<float> observations(std::size_t rows) {
  std::vector<float> values(rows * observation_size);
  maa::Rng(1).fill_normal(std::span(values));
  return values;
}

// Two observations in turn, so that nothing but the weights repeats.
template <class Act>
void one_observation(benchmark::State& state, const Act& act) {
  const auto x = observations(2);
  std::array<float, action_size> action{};
  std::size_t turn = 0;
  for (auto _ : state) {
    act(x.data() + turn * observation_size, action);
    turn = 1 - turn;
    benchmark::DoNotOptimize(action);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}

template <Storage storage>
void act(benchmark::State& state) {
  const auto policy = Policy<storage>::untrained(1);
  one_observation(state, [&](const float* x, std::span<float, action_size> action) {
    policy.act(std::span<const float, observation_size>(x, observation_size), action);
  });
}
BENCHMARK(act<Storage::fp32>);
BENCHMARK(act<Storage::bf16>);

#ifdef MAA_PEER_EIGEN
void act_eigen(benchmark::State& state) {
  const peer::EigenPolicy policy(Policy<Storage::fp32>::untrained(1).weights().data());
  one_observation(
      state, [&](const float* x, std::span<float, action_size> action) { policy.act(x, action.data()); });
}
BENCHMARK(act_eigen);
#endif

// Argument: observations.
template <Storage storage>
void act_batch(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto policy = Policy<storage>::untrained(1);
  const auto x = observations(rows);
  std::vector<float> actions(rows * action_size);
  for (auto _ : state) {
    policy.act_batch(x, actions);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(act_batch<Storage::fp32>)->Arg(8)->Arg(64)->Arg(1024);
BENCHMARK(act_batch<Storage::bf16>)->Arg(64);

// Argument: policies, with an observation each.
template <Storage storage>
void act_each(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  std::vector<Policy<storage>> policies;
  for (std::size_t i = 0; i < count; ++i) {
    policies.push_back(Policy<storage>::untrained(i));
  }
  const auto x = observations(count);
  std::vector<float> actions(count * action_size);
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) {
      policies[i].act(
          std::span<const float, observation_size>(x.data() + i * observation_size, observation_size),
          std::span<float, action_size>(actions.data() + i * action_size, action_size));
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(act_each<Storage::fp32>)->Arg(100);
BENCHMARK(act_each<Storage::bf16>)->Arg(100);

struct PolicyBatch {
  Index policies, rows;
  maa::cpu::Backend backend;
  maa::MlpLayout layout = maa::MetaWorldNetwork::layout();
  Buffer<float> weights, observations, means, dmeans, dweights;
  maa::Workspace workspace;
  maa::cpu::PolicyBatchSaved<float> saved;

  explicit PolicyBatch(const benchmark::State& state)
      : policies(state.range(0)),
        rows(state.range(1)),
        backend(static_cast<int>(state.range(2))),
        weights(policies * layout.parameter_count),
        observations(policies * rows * layout.hidden.front().in),
        means(policies * rows * layout.mean.out),
        dmeans(means.size()),
        dweights(weights.size()) {
    maa::Rng(1).fill_normal(weights.span(), 0.1);
    maa::Rng(2).fill_normal(observations.span());
    maa::Rng(3).fill_normal(dmeans.span());
  }
  MatrixView<float> rows_of(Buffer<float>& values) {
    return {values.data(), policies, values.size() / policies};
  }
  SequenceView<float> per_row(Buffer<float>& values) {
    return {values.data(), policies, rows, values.size() / (policies * rows)};
  }
  void forward() {
    workspace.reset();
    saved = maa::cpu::policy_batch_forward(backend, layout, rows_of(weights), per_row(observations),
                                           workspace, per_row(means));
  }
  void backward() {
    maa::cpu::policy_batch_backward(backend, layout, rows_of(weights), per_row(observations), saved,
                                    per_row(dmeans), {}, rows_of(dweights));
  }
};

// Arguments: policies, observations of each, threads.
void policy_batch_infer(benchmark::State& state) {
  PolicyBatch batch(state);
  for (auto _ : state) {
    maa::cpu::policy_batch_infer(batch.backend, batch.layout, batch.rows_of(batch.weights),
                                 batch.per_row(batch.observations), batch.per_row(batch.means));
    benchmark::ClobberMemory();
  }
}
void policy_batch_forward(benchmark::State& state) {
  PolicyBatch batch(state);
  for (auto _ : state) {
    batch.forward();
    benchmark::ClobberMemory();
  }
}
void policy_batch_backward(benchmark::State& state) {
  PolicyBatch batch(state);
  batch.forward();
  for (auto _ : state) {
    batch.backward();
    benchmark::ClobberMemory();
  }
}
void one_and_two_threads(benchmark::internal::Benchmark* b) {
  b->Args({24, 96, 1})->Args({24, 96, 2})->UseRealTime();
}
BENCHMARK(policy_batch_infer)
    ->Args({100, 1, 1})
    ->Args({100, 1, 2})
    ->UseRealTime()
    ->Apply(one_and_two_threads);
BENCHMARK(policy_batch_forward)->Apply(one_and_two_threads);
BENCHMARK(policy_batch_backward)->Apply(one_and_two_threads);

}  // namespace
