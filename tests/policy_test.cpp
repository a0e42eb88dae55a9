// Policies: act and sample against a plain evaluation, scaling, errors, and no allocation.
#include <doctest/doctest.h>

#include <maa/io/policy_file.hpp>
#include <maa/models/policy.hpp>

#include "count_allocations.hpp"
#include "larger.hpp"
#include "supported_isas.hpp"
#include "temporary_folder.hpp"

#include <atomic>
#include <thread>
#include <vector>

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
      value = kernels::activate(Network::hidden_activations[i], value);
    }
  }
  return linear(log_std ? weights.log_std : weights.mean, Network::action_size);
}

// Runs `body` once per instruction set of this machine; policies made in it use that one.
template <class Body>
void for_each_isa(const Body& body) {
  const char* before = std::getenv("MAA_ISA");
  const std::string kept = before == nullptr ? "" : before;
  for (const auto isa : test::supported_isas()) {
    const std::string isa_name(kernels::name(isa));
    CAPTURE(isa_name);
    setenv("MAA_ISA", isa_name.c_str(), 1);
    body();
  }
  before == nullptr ? unsetenv("MAA_ISA") : setenv("MAA_ISA", kept.c_str(), 1);
}

template <class Policy>
std::vector<double> plain_action(const Policy& policy, std::span<const float> observation) {
  auto mean = plain_heads(policy, observation, false);
  for (double& value : mean) {
    value = Policy::Network::squash == Squash::tanh ? std::tanh(value) : value;
  }
  return mean;
}

// act and act_batch against the plain evaluation, which sees the weights in fp32.
template <class Policy>
void check_act(double tolerance) {
  constexpr auto observation_size = static_cast<std::size_t>(Policy::observation_size);
  constexpr auto action_size = static_cast<std::size_t>(Policy::action_size);
  for_each_isa([&] {
    const auto policy = Policy::untrained(5);
    for (const std::size_t rows : {1, 3, 4, 7, 33, 127}) {
      std::vector<float> observations(rows * observation_size);
      Rng(rows).fill_normal(std::span(observations));
      std::vector<float> actions(rows * action_size + 1, 77.0f);
      policy.act_batch(observations, std::span(actions).first(rows * action_size));
      CHECK(actions.back() == 77.0f);
      double worst = 0;
      double worst_batch = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        const auto observation = std::span(observations).subspan(r * observation_size, observation_size);
        std::vector<float> action(action_size);
        policy.act(observation, action);
        const auto expected = plain_action(policy, observation);
        for (std::size_t i = 0; i < action_size; ++i) {
          worst = test::larger(worst, std::abs(static_cast<double>(action[i]) - expected[i]));
          worst_batch = test::larger(
              worst_batch, std::abs(static_cast<double>(actions[r * action_size + i]) - expected[i]));
        }
      }
      CAPTURE(rows);
      CHECK(worst < tolerance);
      CHECK(worst_batch < tolerance);
    }
  });
}

// Networks whose layers are narrow and wide, of odd sizes, one to three, with all activations.
using enum Activation;
using Smallest = MlpNetwork<1, 1, HiddenLayers<Hidden<1, tanh>>>;
using OneHidden = MlpNetwork<7, 7, HiddenLayers<Hidden<33, gelu>>>;
using ThreeHidden = MlpNetwork<33, 13, HiddenLayers<Hidden<7, mish>, Hidden<127, elu>, Hidden<33, tanh>>>;
using WideHead =
    MlpNetwork<127, 33, HiddenLayers<Hidden<80, relu>, Hidden<200, identity>>, Heads::mean, Squash::none>;
using ThreeHiddenLarge =
    MlpNetwork<101, 3, HiddenLayers<Hidden<64, elu>, Hidden<192, mish>, Hidden<9, relu>>>;

template <Storage storage, class... Networks>
void check_networks(double tolerance) {
  (check_act<MlpPolicy<Networks, storage>>(tolerance), ...);
}

TEST_CASE("act and act_batch equal a plain evaluation of the network") {
  check_networks<Storage::fp32, MetaWorldNetwork, RobosuiteNetwork, QuadrupedNetwork, Smallest, OneHidden,
                 ThreeHidden, WideHead, ThreeHiddenLarge>(1e-5);
}

TEST_CASE("bf16 storage: actions within 5e-3 of fp32, weights as given") {
  check_networks<Storage::bf16, QuadrupedNetwork, OneHidden, ThreeHidden, WideHead>(5e-3);
  using Fast = MlpPolicy<MetaWorldNetwork, Storage::bf16>;
  for_each_isa([] {
    double worst = 0;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const auto policy = MetaWorldPolicy::untrained(seed);
      const Fast fast(policy.weights(), policy.box());
      CHECK(std::ranges::equal(fast.weights(), policy.weights()));
      std::array<float, 39> observation;
      Rng(seed).fill_normal(std::span<float>(observation));
      std::array<float, 4> a;
      std::array<float, 4> b;
      policy.act(observation, a);
      fast.act(observation, b);
      for (std::size_t i = 0; i < 4; ++i) {
        worst = test::larger(worst, static_cast<double>(std::abs(a[i] - b[i])));
      }
    }
    CHECK(worst < 5e-3);
    CHECK(worst > 1e-5);  // the weights are rounded
  });
}

TEST_CASE("bf16 pairs: each number within half a unit of its last place, nothing denormal") {
  Rng rng(8);
  for (int repeat = 0; repeat < 100'000; ++repeat) {
    const auto number = [&] {
      const double size = std::exp(rng.uniform(-40.0, 40.0));
      return static_cast<float>(rng.below(20) == 0 ? 0.0 : rng.uniform() < 0.5 ? -size : size);
    };
    const float upper = number();
    const float lower = number();
    const auto word = kernels::pack_pair(upper, lower);
    const auto error = [](float a, float b) {
      return std::abs(static_cast<double>(a) - static_cast<double>(b));
    };
    const auto half_unit = [](float x) { return std::abs(static_cast<double>(x)) * 0x1p-8 + 0x1.1p-60; };
    REQUIRE(error(std::bit_cast<float>(word), upper) <= half_unit(upper));
    REQUIRE(error(std::bit_cast<float>(word << 16), lower) <= half_unit(lower));
    const auto category = std::fpclassify(std::bit_cast<float>(word));
    REQUIRE((category == FP_NORMAL || category == FP_ZERO));
  }
  constexpr float largest = std::numeric_limits<float>::max();
  CHECK(std::isfinite(std::bit_cast<float>(kernels::pack_pair(largest, -largest))));
  CHECK(std::isfinite(std::bit_cast<float>(kernels::pack_pair(largest, -largest) << 16)));
}

TEST_CASE("the same observation gives the same bits, in any row, on any thread") {
  for_each_isa([] {
    const auto policy = MetaWorldPolicy::untrained(3);
    std::array<float, 39> observation;
    Rng(1).fill_normal(std::span<float>(observation));
    std::array<float, 4> first;
    policy.act(observation, first);
    std::atomic<int> different = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int repeat = 0; repeat < 2000; ++repeat) {
          std::array<float, 4> action;
          policy.act(observation, action);
          different += action == first ? 0 : 1;
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    CHECK(different == 0);

    std::vector<float> rows(39 * 50);
    for (std::size_t r = 0; r < 50; ++r) {
      std::ranges::copy(observation, rows.begin() + static_cast<Index>(39 * r));
    }
    std::vector<float> actions(4 * 50);
    policy.act_batch(rows, actions);
    for (std::size_t i = 0; i < actions.size(); ++i) {
      CHECK(actions[i] == actions[i % 4]);
    }
  });
}

TEST_CASE("infinite observations reach only the units that read them") {
  // Padding must not turn them into NaN: elu(-inf) = -1.
  using Network = MlpNetwork<3, 2, HiddenLayers<Hidden<18, Activation::elu>>>;
  for_each_isa([] {
    std::vector<float> weights(static_cast<std::size_t>(parameter_count<Network>), -1.0f);
    const MlpPolicy<Network> policy(weights);
    std::array<float, 3> observation{std::numeric_limits<float>::infinity(), 1, 1};
    std::array<float, 2> action{};
    policy.act(observation, action);
    CHECK(action[0] == doctest::Approx(1.0));  // tanh(18 - 1)
    CHECK(action[1] == action[0]);
  });
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

TEST_CASE("observations are scaled and clipped before the network, unsquashed actions clipped after it") {
  using Clipped = MlpPolicy<
      MlpNetwork<5, 2, HiddenLayers<Hidden<24, Activation::tanh>>, Heads::mean_and_log_std, Squash::clip>>;
  auto weights = Buffer<float>(Clipped::untrained(4).weights());
  for (float& weight : weights) {
    weight *= 4;
  }
  const std::array<double, 5> mean{0.5, -1, 0, 2, 3}, variance{0.25, 4, 1, 0.01, 9};
  const auto scaling = Clipped::Scaling::from_statistics(mean, variance, 1e-8, 2.0f);
  const Clipped policy(std::as_const(weights).span(), {}, scaling), plain(std::as_const(weights).span());
  constexpr Index rows = 37;  // more than one block, and a rest
  std::array<float, rows * 5> observations, read;
  std::array<float, rows * 2> batch;
  Rng rng(1);
  for (std::size_t i = 0; i < observations.size(); ++i) {
    const std::size_t j = i % 5;
    observations[i] = static_cast<float>(mean[j] + 2 * std::sqrt(variance[j]) * rng.normal());
    read[i] = static_cast<float>(std::clamp(
        (static_cast<double>(observations[i]) - mean[j]) / std::sqrt(variance[j] + 1e-8), -2.0, 2.0));
  }
  policy.act_batch(observations, batch);
  Index clipped = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    const std::span row(observations.data() + i * 5, 5);
    std::array<float, 2> action, expected, noisy, noisy_expected;
    policy.act(row, action);
    plain.act(std::span(read.data() + i * 5, 5), expected);
    const auto outputs = plain_heads(plain, std::span(read.data() + i * 5, 5), false);
    Rng one(i), two(i);
    policy.sample(row, noisy, one);
    plain.sample(std::span(read.data() + i * 5, 5), noisy_expected, two);
    for (std::size_t j = 0; j < 2; ++j) {
      CHECK(action[j] == doctest::Approx(std::clamp(outputs[j], -1.0, 1.0)).epsilon(1e-5));
      CHECK(action[j] == doctest::Approx(expected[j]).epsilon(1e-5));
      CHECK(batch[i * 2 + j] == doctest::Approx(action[j]).epsilon(1e-5));
      CHECK(noisy[j] == doctest::Approx(noisy_expected[j]).epsilon(1e-4));
      clipped += std::abs(outputs[j]) > 1 ? 1 : 0;
    }
  }
  CHECK(clipped > 5);
  CHECK(clipped < 2 * rows - 5);

  const test::TemporaryFolder folder;
  save_policy(folder / "policy.safetensors", policy, {{"period", "0.02"}});
  const auto loaded = load_policy<Clipped>(folder / "policy.safetensors");
  CHECK(loaded.scaling() == scaling);
  CHECK(load_policy_metadata(folder / "policy.safetensors") == PolicyMetadata{{"period", "0.02"}});

  auto bad = scaling;
  bad.scale[3] = 0;
  CHECK_THROWS_WITH_AS(Clipped(std::as_const(weights).span(), {}, bad),
                       doctest::Contains("positive, finite scale, found 2 and 0 for observation 3"), Error);
  bad = scaling;
  bad.clip = -1;
  CHECK_THROWS_WITH_AS(Clipped(std::as_const(weights).span(), {}, bad),
                       doctest::Contains("positive number, found -1"), Error);
  CHECK_THROWS_AS(Clipped::Scaling::from_statistics(std::span(mean).first(4), variance, 1e-8, 2.0f), Error);
}

TEST_CASE("no rounding leads out of the box, and limits that are none are errors") {
  using Box = ActionBox<1>;
  const auto box_of = [](float low, float high) { return Box::from_limits({&low, 1}, {&high, 1}); };
  const float largest = std::numeric_limits<float>::max();
  std::vector<std::pair<float, float>> limits{
      {-0.1f, 0.7f}, {-largest, largest}, {0, largest},    {-largest, 1e-30f}, {16777216, 16777218},
      {-1, 1e-9f},   {0, 1e-45f},         {1, 1.0000001f}, {-1e-40f, 3e-40f},  {-largest, 0.9f * largest}};
  Rng rng(3);
  for (int i = 0; i < 20'000; ++i) {
    const auto low = static_cast<float>(rng.normal() * std::pow(10.0, 4 * rng.normal()));
    const auto width = static_cast<float>(std::exp(4 * rng.normal()));
    limits.push_back({low, low + width});
  }
  // Actions that saturate: weights of 30 in place of an untrained policy's.
  using Network = MlpNetwork<3, 1, HiddenLayers<Hidden<8, Activation::elu>>>;
  Buffer<float> weights(parameter_count<Network>);
  rng.fill_normal(weights.span(), 30);
  Buffer<float> observations(3 * 16);
  rng.fill_normal(observations.span());
  const std::span<const float> seen = std::as_const(observations).span();
  bool inside = true;
  for (const auto& [low, high] : limits) {
    if (!(low < high)) {
      continue;
    }
    const auto box = box_of(low, high);
    const double lost =
        0.5 * (static_cast<double>(high) - static_cast<double>(low)) - static_cast<double>(box.half_width[0]);
    const double place = 1.2e-7 * static_cast<double>(std::max({std::abs(low), std::abs(high), 1e-37f}));
    if (lost > 2 * place) {
      FAIL(low << " to " << high << " lost " << lost);
    }
    const MlpPolicy<Network> policy(std::as_const(weights).span(), box);
    const MlpPolicy<Network, Storage::bf16> rounded(std::as_const(weights).span(), box);
    std::array<float, 16> actions;
    const auto check = [&] {
      for (const float action : actions) {
        inside = inside && action >= low && action <= high;
      }
    };
    policy.act_batch(seen, actions);
    check();
    rounded.act_batch(seen, actions);
    check();
    for (std::size_t i = 0; i < 16; i += 4) {
      policy.act(seen.subspan(3 * i).first<3>(), std::span(actions).subspan(i).first<1>());
      policy.sample(seen.subspan(3 * i).first<3>(), std::span(actions).subspan(i + 1).first<1>(), rng);
      rounded.act(seen.subspan(3 * i).first<3>(), std::span(actions).subspan(i + 2).first<1>());
    }
    check();
    if (!inside) {
      FAIL(low << " to " << high);
    }
  }
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const auto& [low, high] :
       {std::pair{-inf, inf}, {0.0f, inf}, {-inf, 0.0f}, {nan, 1.0f}, {0.0f, nan}, {1.0f, 1.0f}}) {
    CAPTURE(low);
    CAPTURE(high);
    CHECK_THROWS_WITH_AS(box_of(low, high), doctest::Contains("finite limits, low < high"), Error);
  }
  const test::TemporaryFolder folder;
  for (const auto& [centre, half_width] :
       {std::pair{0.0f, -1.0f}, {largest, largest}, {nan, 1.0f}, {0.0f, inf}}) {
    CAPTURE(centre);
    CAPTURE(half_width);
    Box box;
    box.centre[0] = centre;
    box.half_width[0] = half_width;
    CHECK_THROWS_WITH_AS(MlpPolicy<Network>(std::as_const(weights).span(), box),
                         doctest::Contains("expected an action box of finite limits"), Error);
    const auto path = folder / "policy.safetensors";
    SafetensorsWriter writer;
    add_parameters(writer, tensors_of<Network>(), std::as_const(weights).span());
    writer.add("action_centre", {1}, std::span<const float>(&centre, 1));
    writer.add("action_half_width", {1}, std::span<const float>(&half_width, 1));
    writer.write(path);
    CHECK_THROWS_WITH_AS(load_policy<MlpPolicy<Network>>(path), doctest::Contains("policy.safetensors"),
                         Error);
  }
}

TEST_CASE("act and sample are noexcept and do not allocate") {
  const auto policy = MetaWorldPolicy::untrained(1);
  std::array<float, 39> observation{};
  std::array<float, 4> action{};
  std::array<float, 39 * 50> many{};
  std::array<float, 4 * 50> many_actions{};
  Rng rng(1);
  static_assert(noexcept(policy.act(observation, action)));
  static_assert(noexcept(policy.sample(observation, action, rng)));
  const auto allocated = [&](const auto& body) {
    const int before = test::allocations;
    body();
    return test::allocations - before;
  };
  const int by_acting = allocated([&] {
    policy.act(observation, action);
    policy.act_batch(many, many_actions);
    policy.sample(observation, action, rng);
  });
  CHECK(by_acting == 0);
  const int by_copying = allocated([&] { const MetaWorldPolicy copy(policy); });
  CHECK(by_copying == 1);  // the counter counts
}

TEST_CASE("wrong sizes and bad numbers are errors that say what came") {
  const auto policy = MetaWorldPolicy::untrained(1);
  std::vector<float> observation(38);
  std::vector<float> action(4);
  CHECK_THROWS_WITH_AS(policy.act(observation, action), doctest::Contains("found 38 and 4"), Error);
  std::vector<float> two(78);
  CHECK_THROWS_WITH_AS(policy.act_batch(two, action), doctest::Contains("found 78 and 4 numbers"), Error);
  CHECK_THROWS_WITH_AS(policy.act_batch(two, std::span(action).first(3)), doctest::Contains("found 78 and 3"),
                       Error);
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
  CHECK_THROWS_WITH_AS(load_policy<RobosuitePolicy>(path), doctest::Contains("observations: expected 41"),
                       Error);
}

// Writes what save_policy would of `network`, with the metadata and tensors that are added.
template <class Network>
void write_policy(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                  const std::vector<std::pair<std::string, Index>>& others = {}) {
  SafetensorsWriter writer;
  const auto policy = MlpPolicy<Network>::untrained(3);
  add_parameters(writer, tensors_of<Network>(), policy.weights());
  for (const auto& [key, value] : metadata) {
    writer.set_metadata(key, value);
  }
  for (const auto& [name, size] : others) {
    writer.add_owned(name, {size}, Buffer<float>(size));
  }
  writer.write(path);
}

using TwoLayers = HiddenLayers<Hidden<8, Activation::elu>, Hidden<8, Activation::relu>>;
using SmallNetwork = MlpNetwork<3, 2, TwoLayers>;
using Small = MlpPolicy<SmallNetwork>;

TEST_CASE("a policy file's tensors that nobody reads are an error that lists them, or allowed") {
  const test::TemporaryFolder folder;
  const auto path = folder / "policy.safetensors";
  // A third layer of a network whose heads fit the second as well.
  using Three =
      HiddenLayers<Hidden<8, Activation::elu>, Hidden<8, Activation::relu>, Hidden<8, Activation::relu>>;
  write_policy<MlpNetwork<3, 2, Three>>(path, {});
  CHECK_THROWS_WITH_AS(load_policy<Small>(path), doctest::Contains("'layers.2.weight' [8, 8]"), Error);
  load_policy<Small>(path, Unread::allow);
  // A normaliser, or CleanRL's box.
  write_policy<SmallNetwork>(path, {}, {{"action_scale", 2}, {"obs_rms.mean", 3}, {"obs_rms.var", 3}});
  CHECK_THROWS_WITH_AS(load_policy<Small>(path),
                       doctest::Contains("'action_scale' [2], 'obs_rms.mean' [3], 'obs_rms.var' [3]"), Error);
  load_policy<Small>(path, Unread::allow);
  // Files of other things say what they are.
  write_policy<SmallNetwork>(path, {{"format", "maa generator 1"}});
  CHECK_THROWS_WITH_AS(load_policy<Small>(path),
                       doctest::Contains("expected a file of format 'maa policy 1', found 'maa generator 1'"),
                       Error);
  // A head that a policy does without.
  write_policy<SmallNetwork>(path, {});
  load_policy<MlpPolicy<MlpNetwork<3, 2, TwoLayers, Heads::mean>>>(path);
  // A missing one has a type that does without.
  write_policy<MlpNetwork<3, 2, TwoLayers, Heads::mean>>(path, {});
  CHECK_THROWS_WITH_AS(load_policy<Small>(path), doctest::Contains("a policy type with Heads::mean reads it"),
                       Error);
  std::vector<std::pair<std::string, Index>> many;
  for (int i = 0; i < 20; ++i) {
    many.emplace_back(concatenate("other.", i), 1);
  }
  write_policy<SmallNetwork>(path, {}, many);
  CHECK_THROWS_WITH_AS(load_policy<Small>(path), doctest::Contains("and 12 more"), Error);
}

TEST_CASE("a policy file's structure, where it is told, is the type's") {
  const test::TemporaryFolder folder;
  const auto path = folder / "policy.safetensors";
  save_policy(path, Small::untrained(3));
  load_policy<Small>(path);
  using Relu = HiddenLayers<Hidden<8, Activation::relu>, Hidden<8, Activation::relu>>;
  CHECK_THROWS_WITH_AS((load_policy<MlpPolicy<MlpNetwork<3, 2, Relu>>>(path)),
                       doctest::Contains("activations: expected [relu, relu], found '[elu, relu]'"), Error);
  CHECK_THROWS_WITH_AS(
      (load_policy<MlpPolicy<MlpNetwork<3, 2, TwoLayers, Heads::mean_and_log_std, Squash::none>>>(path)),
      doctest::Contains("squash: expected none, found 'tanh'"), Error);
  // How a generator cuts the weights is nothing of the policy's, and a head may be left out.
  load_policy<
      MlpPolicy<MlpNetwork<3, 2, TwoLayers, Heads::mean_and_log_std, Squash::tanh, Tokens::by_layer>>>(path);
  load_policy<MlpPolicy<MlpNetwork<3, 2, TwoLayers, Heads::mean>>>(path);
  // Of a file that tells a part of it.
  write_policy<SmallNetwork>(path, {{"policy.squash", "none"}});
  CHECK_THROWS_WITH_AS(load_policy<Small>(path), doctest::Contains("squash: expected tanh"), Error);
  write_policy<SmallNetwork>(path, {{"policy.squash", "tanh"}, {"format", "pt"}});
  load_policy<Small>(path);
}

}  // namespace
