// Steps of training and sampling allocate nothing once their memory is there: counted in operator new.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/generator/paper_training.hpp>

#include "count_allocations.hpp"
#include "errors.hpp"
#include "random_dataset.hpp"
#include "short_recipe.hpp"
#include "small_generator.hpp"

#include <tbb/global_control.h>
#include <algorithm>
#include <map>

namespace {

using namespace maa;
using test::allocations;
using test::Network;
using test::SmallConfig;
using test::SmallGenerator;
using Model = GeneratorModel<Network, SmallConfig>;

// Of every step of a fit after the first one of its stage.
template <class Recipe>
std::map<std::string, std::vector<int>> count_in_fit(Recipe recipe, const std::vector<std::string>& stages) {
  recipe.validation_every = 100;
  std::map<std::string, std::vector<int>> counted;
  for (const auto& stage : stages) {
    counted[stage].reserve(6);
  }
  int before = 0;
  SmallGenerator generator(cpu::Backend(1));
  generator.fit(test::random_dataset<Network>(12), test::shortened(recipe, 6, 4),
                [&](const TrainProgress& progress) {
                  const int now = allocations;
                  if (progress.step > 1) {
                    counted[std::string(progress.stage)].push_back(now - before);
                  }
                  before = allocations;
                  return true;
                });
  return counted;
}

TEST_CASE("a training step allocates nothing after the first") {
  for (const auto& [stage, counts] :
       count_in_fit(PaperRecipe::paper(100, 100), {"autoencoder", "embedder", "denoiser"})) {
    CAPTURE(stage);
    CHECK(counts == std::vector<int>(5, 0));
  }
  const auto counted = count_in_fit(BehaviorRecipe(), {"embedder", "behavior"});
  CHECK(counted.at("embedder") == std::vector<int>(5, 0));
  // A batch copies four demonstrations, of three arrays each, to augment them.
  CHECK(counted.at("behavior").size() == 5);
  for (const int count : counted.at("behavior")) {
    CHECK(count <= 12);
  }
}

TEST_CASE("a step of the sampler allocates nothing after the first") {
  const cpu::Backend backend(1);
  Buffer<float> weights(parameter_count<Model::DenoiserModel>);
  initialize<Model::DenoiserModel>(weights.span(), Rng(1));
  const auto w = bind<Model::DenoiserModel>(std::as_const(weights).span());
  for (const double guidance : {1.0, 0.5}) {
    CAPTURE(guidance);
    Workspace workspace;
    const auto condition = workspace.matrix<float>(3, Model::condition_size);
    std::ranges::fill(condition.span(), 0.5f);
    const auto latent = workspace.sequence<float>(3, Network::token_count, SmallConfig::latent_size);
    auto streams = sample_streams(Rng(2), 0, 3);
    std::vector<int> counted;
    counted.reserve(10);
    int before = 0;
    detail::sample_latents<Network, SmallConfig>(backend, w, DiffusionOptions(), SamplingOptions(), guidance,
                                                 condition, streams, latent, workspace,
                                                 [&](Index step, Index) {
                                                   if (step > 1) {
                                                     counted.push_back(allocations - before);
                                                   }
                                                   before = allocations;
                                                   return true;
                                                 });
    CHECK(counted == std::vector<int>(9, 0));
  }
}

TEST_CASE("sizes that overflow and memory that is not there are errors with a number") {
  const auto huge = Index{1} << 31;
  Workspace workspace;
  test::check_error("expected a size from 0 to", [] { Buffer<double>(Index{1} << 60); });
  test::check_error("expected a size from 0 to", [] { Buffer<float>(-1); });
  test::check_error("found [2147483648, 2147483648] of 4 bytes",
                    [&] { workspace.matrix<float>(huge, huge); });
  test::check_error("found [2147483648, 2147483648, 4]", [&] { workspace.sequence<float>(huge, huge, 4); });
  test::check_error("found [-1, -1] of 8 bytes", [&] { workspace.matrix<double>(-1, -1); });
  test::check_error("found [-1] of 8 bytes", [&] { workspace.span<double>(-1); });
  test::check_error("found [4611686018427387904] of 4", [&] { workspace.take<float>(Index{1} << 62); });
  test::largest_allocation = 1 << 20;
  const auto message = test::error_of([] { Buffer<float>(Index{1} << 20); });
  const auto of_workspace = test::error_of([&] { workspace.span<float>(Index{1} << 20); });
  test::largest_allocation = SIZE_MAX;
  CHECK(test::has(message, "expected memory for 4194304 bytes"));
  CHECK(test::has(of_workspace, "expected memory for 4194304 bytes"));
}

TEST_CASE("an allocation that fails on a worker's thread is the caller's exception, and all works on") {
  const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 4);
  test::is_spared = true;
  const auto data = test::random_dataset<Network>(12);
  const auto recipe = test::shortened(BehaviorRecipe(), 2, 16);
  SmallGenerator one{cpu::Backend(1)};
  REQUIRE(one.fit(data, recipe));
  int failed = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    // Threads' scratch memory is kept: each attempt needs more of it than the one before.
    const GenerateOptions options{.count = 32 * (attempt + 1)};
    SmallGenerator several{cpu::Backend(4)};
    const auto armed = [&](const auto& action) {
      test::others_left = 1 + attempt % 3;
      try {
        action();
      } catch (const Error&) {  // as a Buffer says it
        ++failed;
      }
      test::others_left = 1 << 30;
    };
    armed([&] { several.fit(data, recipe); });
    if (!several.trained()) {
      REQUIRE(several.fit(data, recipe));
    }
    armed([&] { several.generate(data.trajectories[0], options); });
    const auto found = several.generate(data.trajectories[0], options);
    const auto expected = one.generate(data.trajectories[0], options);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      REQUIRE(std::ranges::equal(found[i].weights(), expected[i].weights()));
    }
  }
  WARN(failed > 0);  // where other threads take part
}

}  // namespace
