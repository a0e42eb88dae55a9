// A generator on a device: the CPU's training and policies, the same files, and an object that outlives
// failures.
#include <doctest/doctest.h>

#include <maa/backend/cuda/ops.hpp>
#include <maa/generator.hpp>
#include <maa/generator/paper_training.hpp>
#include <maa/testing/failing_device.hpp>

#include "cuda_device.hpp"
#include "larger.hpp"
#include "short_recipe.hpp"
#include "small_config.hpp"
#include "temporary_folder.hpp"

#include <map>
#include <thread>

namespace {

using namespace maa;

using Network = MlpNetwork<4, 2, HiddenLayers<Hidden<10, Activation::elu>, Hidden<8, Activation::relu>>>;
using Policy = MlpPolicy<Network>;
// Everything that a configuration may ask for, in one.
struct Config : test::SmallConfig {
  static constexpr Start decoder_start = Start::random;
  static constexpr PromptShape prompt{
      .kind = PromptKind::segments, .segments = 2, .steps = 9, .sequence = 3, .success_states = 2};
};
// The paper's: no head, one segment.
struct PlainConfig : PaperConfig {
  static constexpr Index latent_size = 8;
  static constexpr PromptShape prompt{.steps = 9, .sequence = 3, .success_states = 2};
  static constexpr Index embedding_size = 6;
  static constexpr Index embedder_hidden = 12;
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition, Levels<8, 16>, 3, 4, 8>;
};
template <class ConfigT>
using OnHost = Generator<Policy, ConfigT>;
template <class ConfigT>
using OnDevice = Generator<Policy, ConfigT, cuda::Backend>;

Trajectory demonstration(Index task, std::uint64_t seed) {
  Trajectory trajectory(20, 4, 2);
  Rng rng(seed);
  rng.fill_normal(trajectory.observations().span());
  for (Index t = 0; t < trajectory.length(); ++t) {
    const float* o = trajectory.observations().row(t);
    const float sign = task == 0 ? 1.0f : -1.0f;
    trajectory.actions()(t, 0) = std::tanh(o[0] + sign);
    trajectory.actions()(t, 1) = std::tanh(0.5f * o[2] - sign);
  }
  trajectory.success_step = 14;
  trajectory.task = task == 0 ? "plus" : "minus";
  trajectory.run = -1;
  return trajectory;
}

Dataset dataset() {
  Dataset data(4, 2, Policy::parameter_size, {"plus", "minus"});
  const auto base = Policy::untrained(1);
  Rng rng(2);
  for (Index task = 0; task < 2; ++task) {
    for (Index i = 0; i < 8; ++i) {
      Buffer<float> weights{base.weights()};
      for (float& weight : weights) {
        weight += static_cast<float>(0.05 * rng.normal() + 0.1 * static_cast<double>(task));
      }
      data.add_policy({task, i / 2, i % 2}, weights.span());
      data.add_trajectory(demonstration(task, static_cast<std::uint64_t>(100 * task + i)));
    }
  }
  return data;
}

PaperRecipe on_weights(Index steps) {
  auto result = test::shortened(PaperRecipe::paper(24, 20), steps, 6);
  result.guidance = {1, 0.5, 0};
  result.sampling.steps = 3;
  result.seed = 5;
  return result;
}
BehaviorRecipe on_behavior(Index steps) {
  auto result = test::shortened(BehaviorRecipe(), steps, 6);
  result.behavior.queries = 8;
  result.behavior.demonstrations = {1, 2};
  result.guidance = {1, 0.5, 0};
  result.sampling.steps = 3;
  result.seed = 5;
  return result;
}

using Curve = std::vector<double>;
template <class GeneratorT, class Recipe>
Curve fit(GeneratorT& generator, const Recipe& chosen) {
  Curve losses;
  CHECK(generator.fit(dataset(), chosen, [&](const TrainProgress& progress) {
    losses.push_back(progress.loss);
    losses.push_back(progress.gradient_norm);
    if (progress.validation) {
      losses.push_back(*progress.validation);
    }
    return true;
  }));
  return losses;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = test::larger(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}
template <class A, class B>
void check_alike(const A& a, const B& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(largest_difference(a[i].weights(), b[i].weights()) < tolerance);
  }
}

template <class ConfigT, class Recipe>
void check_fit(const Recipe& chosen) {
  OnHost<ConfigT> here{cpu::Backend(1)};
  OnDevice<ConfigT> there{test_backend()};
  const auto expected = fit(here, chosen), found = fit(there, chosen);
  REQUIRE(expected.size() == found.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(2e-3));
  }
  const test::TemporaryFolder folder;
  here.save(folder / "here.safetensors");
  there.save(folder / "there.safetensors");
  // Files are the same, whoever wrote them.
  const auto moved = OnDevice<ConfigT>::load(folder / "here.safetensors", test_backend());
  const auto back = OnHost<ConfigT>::load(folder / "there.safetensors", cpu::Backend(1));
  const std::vector<Trajectory> prompts = {demonstration(0, 777), demonstration(1, 778)};
  const GenerateOptions wanted{.count = 3, .seed = 1};
  check_alike(here.generate_each(prompts, wanted), moved.generate_each(prompts, wanted), 1e-3);
  check_alike(there.generate(prompts, wanted), back.generate(prompts, wanted), 1e-3);
  CHECK(largest_difference(here.embed(prompts).span(), moved.embed(prompts).span()) < 1e-4);
  const std::vector<Policy> policies = {Policy::untrained(3), Policy::untrained(4)};
  CHECK(largest_difference(here.encode(policies).span(), moved.encode(policies).span()) < 1e-3);
  if constexpr (OnHost<ConfigT>::Model::has_head) {
    check_alike(here.fit_heads(policies, prompts), moved.fit_heads(policies, prompts), 1e-3);
    CHECK(largest_difference(here.state().choice_margins.span(), there.state().choice_margins.span()) < 0.05);
    CHECK(there.state().variance_scale == doctest::Approx(here.state().variance_scale).epsilon(1e-2));
  }
}

TEST_CASE("training and generation give the CPU's results, in all stages") {
  auto mine = on_behavior(12);
  mine.validation_every = 6;
  check_fit<Config>(mine);
  mine.behavior.huber_width = 0.1;
  mine.embedder.symmetric = false;
  check_fit<PlainConfig>(mine);
  auto paper = on_weights(12);
  paper.validation_every = 6;
  paper.validation_fraction = 0.25;
  check_fit<PlainConfig>(paper);
  paper.scaling = Scaling::standard;
  paper.denoiser.latent_scaling = Scaling::standard;
  paper.autoencoder.clamp_latent = true;
  paper.denoiser.normalize_condition = false;
  paper.guidance = {2};
  for (auto* train : {&paper.autoencoder.train, &paper.denoiser.train}) {
    train->clip_norm = 0.5;
    train->weight_decay = 0.1;
    train->ema = 0.99;
  }
  check_fit<Config>(paper);
}

TEST_CASE("validation tasks and the fallback policy") {
  auto chosen = on_behavior(8);
  chosen.embedder.train.steps = 2;
  chosen.validation_every = 2;
  chosen.validation_tasks = {"minus"};
  check_fit<Config>(chosen);
}

TEST_CASE("polished policies are the CPU's") {
  OnHost<Config> here{cpu::Backend(1)};
  fit(here, on_behavior(4));
  const OnDevice<Config> there(here, test_backend());
  const std::vector<Trajectory> prompts = {demonstration(0, 777), demonstration(1, 778)};
  const auto generate = [&](const auto& generator, Index steps) {
    return generator.generate_each(
        prompts,
        {.count = 3, .seed = 1, .fit_head = false, .polish = {.steps = steps, .learning_rate = 3e-3}});
  };
  const auto expected = generate(here, 12), found = generate(there, 12), before = generate(here, 0);
  check_alike(expected, found, 1e-3);
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(largest_difference(before[i].weights(), found[i].weights()) > 5e-3);
  }
}

TEST_CASE("equal steps become graphs, and a generator repeats itself to the bit") {
  const auto backend = test_backend();
  OnDevice<PlainConfig> generator{backend};
  fit(generator, on_weights(10));
  const auto before = backend.context().graph_launches();
  CHECK(before > 15);  // of 30 steps
  const auto prompt = demonstration(0, 777);
  const GenerateOptions wanted{.count = 4, .seed = 3};
  const auto first = generator.generate(prompt, wanted);
  const auto graphs = backend.context().graph_launches();
  for (int i = 0; i < 4; ++i) {
    const auto again = generator.generate(prompt, wanted);
    check_alike(first, again, 1e-30);
  }
  CHECK(backend.context().graph_launches() > graphs);

  OnDevice<PlainConfig> other{test_backend()};
  fit(other, on_weights(10));
  CHECK(largest_difference(std::as_const(generator.state().parameters).span(),
                           std::as_const(other.state().parameters).span()) == 0);
}

TEST_CASE("a stopped fit goes on from its checkpoint to the same bits, also on the other backend") {
  const test::TemporaryFolder folder;
  auto chosen = on_behavior(10);
  OnDevice<Config> straight{test_backend()};
  fit(straight, chosen);
  chosen.checkpoint = folder / "training.safetensors";
  const auto stop_in = [&](auto& generator, const char* stage) {
    Index steps = 0;
    CHECK_FALSE(generator.fit(dataset(), chosen, [&](const TrainProgress& progress) {
      return progress.stage != stage || ++steps < 5;
    }));
  };
  OnDevice<Config> resumed{test_backend()};
  stop_in(resumed, "embedder");
  CHECK(resumed.fit(dataset(), chosen));
  CHECK(largest_difference(std::as_const(straight.state().parameters).span(),
                           std::as_const(resumed.state().parameters).span()) == 0);
  std::filesystem::remove(chosen.checkpoint);
  stop_in(resumed, "behavior");
  OnHost<Config> host{cpu::Backend(1)};
  CHECK(host.fit(dataset(), chosen));
  CHECK(largest_difference(std::as_const(straight.state().parameters).span(),
                           std::as_const(host.state().parameters).span()) < 2e-3);
}

TEST_CASE("whatever call fails, the generator stays as it was and works on" * doctest::skip(on_device())) {
  auto device = std::make_unique<testing::EmulatedDevice>();
  {
    auto owned = std::make_unique<testing::FailingDevice>(*device);
    auto& failing = *owned;
    const cuda::Backend backend(std::move(owned), {.tf32 = false});
    OnDevice<Config> generator{backend};
    const auto chosen = on_behavior(2);
    fit(generator, chosen);
    const auto prompt = demonstration(1, 6);
    const auto parameters = generator.state().parameters;
    const auto expected = generator.generate(prompt, {.count = 2, .seed = 4});
    // All of the first calls and some of the others.
    const auto fail_in_turn = [&](Index step, const auto& action) {
      Index failures = 0;
      for (Index call = 0;; call += call < 30 ? 1 : step) {
        failing.fail_at(call);
        CAPTURE(call);
        const auto error = test::error_of(action);
        if (!failing.has_failed()) {
          CHECK(error == "no error");
          break;
        }
        CHECK(test::has(error, "fails on purpose"));
        failing.fail_at(-1);
        CHECK(largest_difference(parameters.span(), generator.state().parameters.span()) == 0);
        if (++failures % 10 == 0) {
          check_alike(expected, generator.generate(prompt, {.count = 2, .seed = 4}), 1e-30);
        }
      }
      CHECK(failures > 40);
    };
    fail_in_turn(7, [&] { generator.generate(prompt, {.count = 5}); });
    // Where the device does not come back, the CPU goes on.
    failing.fail_at(0);
    CHECK_THROWS_AS(generator.generate(prompt), Error);
    failing.fail_at(0);
    const OnHost<Config> copy(generator, cpu::Backend(1));
    check_alike(expected, copy.generate(prompt, {.count = 2, .seed = 4}), 1e-3);
    failing.fail_at(-1);
    auto other = chosen;
    other.seed = 6;
    fail_in_turn(23, [&] { generator.fit(dataset(), other); });
    // The last calls of a fit, whose number differs from run to run: what fails there is told by that fit,
    // too.
    for (Index before_last = 0; before_last < 12; ++before_last) {
      CAPTURE(before_last);
      failing.fail_at(Index{1} << 30);
      CHECK(generator.fit(dataset(), other));
      failing.fail_at(failing.calls() - 1 - before_last);
      const auto error = test::error_of([&] { generator.fit(dataset(), other); });
      CHECK(test::has(error, "fails on purpose") == failing.has_failed());
      failing.fail_at(-1);
      CHECK(generator.generate(prompt).size() == 1);
    }
    CHECK(largest_difference(parameters.span(), generator.state().parameters.span()) > 0);
  }
  CHECK(device->blocks() == 0);
}

TEST_CASE("several threads share a device") {
  const auto backend = test_backend();
  OnDevice<PlainConfig> generator{backend};
  fit(generator, on_weights(3));
  const auto expected = generator.generate(demonstration(0, 1), {.seed = 4});
  std::vector<std::vector<Policy>> found(3);
  std::vector<std::thread> threads;
  for (auto& result : found) {
    threads.emplace_back([&] { result = generator.generate(demonstration(0, 1), {.seed = 4}); });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& result : found) {
    check_alike(expected, result, 1e-30);
  }
}

}  // namespace
