// Policies: act and sample against a plain evaluation, scaling, errors, and no allocation.
#include <doctest/doctest.h>

#include <maa/io/policy_file.hpp>
#include <maa/models/policy.hpp>

#include "temporary_folder.hpp"

#include <cstdlib>
#include <new>
#include <vector>

namespace {
thread_local bool counting = false;
thread_local int allocations = 0;
}  // namespace

// Not inlined: compilers would take the pair for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations += counting ? 1 : 0;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}
// Replaced too, since a sanitizer's own would not match the operator delete below.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocations += counting ? 1 : 0;
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t align) {
  allocations += counting ? 1 : 0;
  const auto unit = static_cast<std::size_t>(align);
  if (void* memory = std::aligned_alloc(unit, (size + unit - 1) / unit * unit)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

using namespace maa;

// The network in double, layer by layer.
template <class Policy>
std::vector<double> plain_heads(const Policy& policy, std::span<const float> observation, bool log_std) {
  using Network = typename Policy::Network;
  const auto weights = bind<Network>(policy.weights());
  std::vector<double> x(observation.begin(), observation.end());
  const auto linear = [&](const WeightAndBias<const float>& layer, Index out) {
    std::vector<double> y(static_cast<std::size_t>(out));
    for (Index i = 0; i < out; ++i) {
      double sum = static_cast<double>(layer.bias[i]);
      for (std::size_t j = 0; j < x.size(); ++j) {
        sum += static_cast<double>(layer.weight[i * static_cast<Index>(x.size()) + static_cast<Index>(j)]) *
               x[j];
      }
      y[static_cast<std::size_t>(i)] = sum;
    }
    return y;
  };
  for (std::size_t i = 0; i < Network::hidden_sizes.size(); ++i) {
    x = linear(weights.layers[i], Network::hidden_sizes[i]);
    for (double& value : x) {
      const bool elu = Network::hidden_activations[i] == Activation::elu;
      value = value > 0 ? value : elu ? std::expm1(value) : 0;
    }
  }
  return linear(log_std ? weights.log_std : weights.mean, Network::action_size);
}

template <class Policy>
void check_act() {
  const auto policy = Policy::untrained(5);
  std::array<float, static_cast<std::size_t>(Policy::observation_size)> observation;
  std::array<float, static_cast<std::size_t>(Policy::action_size)> action;
  Rng rng(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    rng.fill_normal(std::span<float>(observation));
    policy.act(observation, action);
    const auto expected = plain_heads(policy, observation, false);
    for (std::size_t i = 0; i < action.size(); ++i) {
      const double squashed = Policy::Network::squash == Squash::tanh ? std::tanh(expected[i]) : expected[i];
      CHECK(static_cast<double>(action[i]) == doctest::Approx(squashed).epsilon(1e-5));
    }
  }
}

TEST_CASE("act equals a plain evaluation of the network") {
  SUBCASE("MetaWorld") {
    check_act<MetaWorldPolicy>();
  }
  SUBCASE("robosuite") {
    check_act<RobosuitePolicy>();
  }
  SUBCASE("quadruped") {
    check_act<QuadrupedPolicy>();
  }
}

TEST_CASE("sample is the squashed mean plus noise of the log_std head") {
  const auto policy = MetaWorldPolicy::untrained(6);
  std::array<float, 39> observation;
  Rng(4).fill_normal(std::span<float>(observation));
  const auto mean = plain_heads(policy, observation, false);
  const auto log_std = plain_heads(policy, observation, true);
  Rng rng(9);
  std::array<float, 4> action;
  constexpr int draws = 20'000;
  std::array<double, 4> sum{};
  std::array<double, 4> squares{};
  for (int draw = 0; draw < draws; ++draw) {
    policy.sample(observation, action, rng);
    for (std::size_t i = 0; i < 4; ++i) {
      const double raw = std::atanh(static_cast<double>(std::clamp(action[i], -0.999999f, 0.999999f)));
      sum[i] += raw;
      squares[i] += raw * raw;
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const double average = sum[i] / draws;
    const double deviation = std::sqrt(squares[i] / draws - average * average);
    CHECK(average == doctest::Approx(mean[i]).epsilon(0.05));
    CHECK(deviation == doctest::Approx(std::exp(log_std[i])).epsilon(0.05));
  }
}

TEST_CASE("actions are scaled to the box") {
  const auto plain = MetaWorldPolicy::untrained(7);
  const std::array<float, 4> low{-2, 0, -1, 5};
  const std::array<float, 4> high{2, 1, 3, 7};
  const MetaWorldPolicy scaled(plain.weights(), MetaWorldPolicy::Box::from_limits(low, high));
  std::array<float, 39> observation;
  Rng(4).fill_normal(std::span<float>(observation));
  std::array<float, 4> a;
  std::array<float, 4> b;
  plain.act(observation, a);
  scaled.act(observation, b);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(b[i] == doctest::Approx(low[i] + 0.5f * (a[i] + 1) * (high[i] - low[i])));
  }
  CHECK_THROWS_WITH_AS(MetaWorldPolicy::Box::from_limits(high, low), doctest::Contains("low < high"), Error);
}

TEST_CASE("act and sample are noexcept and do not allocate") {
  const auto policy = MetaWorldPolicy::untrained(1);
  std::array<float, 39> observation{};
  std::array<float, 4> action{};
  Rng rng(1);
  static_assert(noexcept(policy.act(observation, action)));
  static_assert(noexcept(policy.sample(observation, action, rng)));
  allocations = 0;
  counting = true;
  policy.act(observation, action);
  policy.sample(observation, action, rng);
  counting = false;
  CHECK(allocations == 0);
  counting = true;
  const MetaWorldPolicy copy(policy);
  counting = false;
  CHECK(allocations == 1);  // the counter counts
}

TEST_CASE("wrong sizes and bad numbers are errors that say what came") {
  const auto policy = MetaWorldPolicy::untrained(1);
  std::vector<float> observation(38);
  std::vector<float> action(4);
  CHECK_THROWS_WITH_AS(policy.act(observation, action), doctest::Contains("found 38 and 4"), Error);
  std::vector<float> weights(22'664);
  weights[17] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(MetaWorldPolicy{weights}, doctest::Contains("at 17"), Error);
  weights.pop_back();
  CHECK_THROWS_WITH_AS(MetaWorldPolicy{weights}, doctest::Contains("expected 22664"), Error);
}

TEST_CASE("policy files keep weights and box, and refuse other networks") {
  const test::TemporaryFolder folder;
  const auto path = folder / "policy.safetensors";
  const auto plain = MetaWorldPolicy::untrained(7);
  const std::array<float, 4> low{-2, 0, -1, 5};
  const std::array<float, 4> high{2, 1, 3, 7};
  const MetaWorldPolicy policy(plain.weights(), MetaWorldPolicy::Box::from_limits(low, high));
  save_policy(path, policy);
  const auto loaded = load_policy<MetaWorldPolicy>(path);
  CHECK(std::ranges::equal(loaded.weights(), policy.weights()));
  CHECK(loaded.box() == policy.box());
  CHECK_THROWS_WITH_AS(load_policy<RobosuitePolicy>(path), doctest::Contains("layers.0.weight"), Error);
}

}  // namespace
