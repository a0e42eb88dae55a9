// The loss on behaviour: its gradient is the slope of the loss, through head, decoder, denoiser and embedder.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/generator/behavior_training.hpp>

#include "random_dataset.hpp"
#include "small_config.hpp"

#include <memory>
#include <optional>
#include <set>

namespace {

using namespace maa;
using test::SmallConfig;

using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::tanh>>>;

// Decoders that start at zero have no gradient for what comes before them.
struct SlopeConfig : SmallConfig {
  static constexpr Start decoder_start = Start::random;
};
struct HeadlessConfig : SlopeConfig {
  static constexpr Index head_rank = 0;
};

// Notes the timesteps of each of the denoiser's passes.
struct WatchedBackend : cpu::Backend {
  using cpu::Backend::Backend;
  std::shared_ptr<std::vector<std::vector<Index>>> passes =
      std::make_shared<std::vector<std::vector<Index>>>();
};
void sinusoidal_embedding(const WatchedBackend& backend, std::span<const Index> timesteps,
                          MatrixView<float> y) {
  backend.passes->emplace_back(timesteps.begin(), timesteps.end());
  cpu::sinusoidal_embedding(backend, timesteps, y);
}

template <class Config, class Backend = cpu::Backend>
struct Fixture {
  using Part = typename GeneratorModel<Network, Config>::WithoutEncoders;
  using Stage = detail::BehaviorStage<Network, Config, Backend>;

  Backend backend{2};
  Dataset data = test::random_dataset<Network>(6);
  BehaviorRecipe options;
  Buffer<float> weights{parameter_count<Part>};
  GeneratorState<Network, Config> state;
  std::optional<detail::TrainingData<Network, Config>> prepared;

  Fixture() {
    options.behavior.train.batch = 6;
    options.behavior.queries = 12;
    // One sampling step from almost pure noise: the first estimate, a constant for the second pass, then has
    // no weight.
    options.sampling.steps = 1;
    prepared.emplace(data, options, DataUse(), state);
    state.settings.diffusion = options.diffusion;
    state.settings.sampling = options.sampling;
    state.latent = Normalizer(GeneratorModel<Network, Config>::latent_numbers);
    std::fill(state.latent.scale.begin(), state.latent.scale.end(), 0.7f);
    initialize<Part>(weights.span(), Rng(3));
  }
  Stage stage(std::vector<Index> demonstrations) {
    auto chosen = options.behavior;
    chosen.demonstrations = std::move(demonstrations);
    return Stage(backend, *prepared, state, chosen);
  }
  double loss(Stage& stage, const Buffer<float>& at, Rng rng = Rng(4)) {
    Buffer<float> ignored(at.size());
    return stage.loss(at.span(), ignored.span(), rng, 0);
  }
};

// Central differences of a float loss along the gradient: the signal there is the largest there is, so that
// single precision is enough to see a wrong factor or a missing path in any part.
template <class Config>
void check_slope(Index demonstrations) {
  CAPTURE(demonstrations);
  Fixture<Config> fixture;
  auto stage = fixture.stage({demonstrations});
  const auto& weights = fixture.weights;
  Buffer<float> gradients(weights.size());
  CHECK(stage.loss(weights.span(), gradients.span(), Rng(4), 0) == fixture.loss(stage, weights));
  for (const std::string part : {"autoencoder.", "embedder.phi.", "embedder.psi.", "denoiser.", "head."}) {
    CAPTURE(part);
    double square = 0;
    Buffer<float> direction(weights.size());
    for (const auto& tensor : tensors_of<typename Fixture<Config>::Part>()) {
      if (tensor.name.starts_with(part)) {
        for (Index i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
          direction[i] = gradients[i];
          square += static_cast<double>(gradients[i]) * static_cast<double>(gradients[i]);
        }
      }
    }
    if (part == "head." && Config::head_rank == 0) {
      CHECK(square == 0);
      continue;
    }
    REQUIRE(square > 0);
    const double reach = 1e-4 / square;  // moves the loss by about 1e-4 to either side
    auto ahead = weights;
    auto behind = weights;
    for (Index i = 0; i < weights.size(); ++i) {
      ahead[i] += static_cast<float>(reach) * direction[i];
      behind[i] -= static_cast<float>(reach) * direction[i];
    }
    const double slope = (fixture.loss(stage, ahead) - fixture.loss(stage, behind)) / (2 * reach * square);
    CHECK(slope == doctest::Approx(1).epsilon(0.005));
  }
}

TEST_CASE("the behaviour loss's gradient is its slope, part by part") {
  SUBCASE("with the Bayesian head") {
    check_slope<SlopeConfig>(1);
  }
  SUBCASE("without") {
    check_slope<HeadlessConfig>(1);
  }
  SUBCASE("three demonstrations per prompt, with the Bayesian head") {
    check_slope<SlopeConfig>(3);
  }
  SUBCASE("three demonstrations per prompt, without") {
    check_slope<HeadlessConfig>(3);
  }
}

TEST_CASE("half of a step's estimates are formed from noise, half from such an estimate noised again") {
  Fixture<SmallConfig, WatchedBackend> fixture;
  fixture.state.settings.sampling.steps = 4;
  fixture.state.settings.sampling.spacing = TimestepSpacing::linspace;
  const auto visited =
      DiffusionSchedule(fixture.state.settings.diffusion).timesteps(4, TimestepSpacing::linspace);
  auto stage = fixture.stage({1});
  const auto& passes = *fixture.backend.passes;
  std::set<Index> again;
  for (std::uint64_t step = 0; step < 20; ++step) {
    fixture.backend.passes->clear();
    fixture.loss(stage, fixture.weights, Rng(step));
    REQUIRE(passes.size() == 2);
    CHECK(passes[0] == std::vector<Index>(3, visited.front()));
    REQUIRE(passes[1].size() == 6);
    again.insert(passes[1].begin(), passes[1].begin() + 3);
    CHECK(std::vector<Index>(passes[1].begin() + 3, passes[1].end()) == passes[0]);
  }
  CHECK(again == std::set<Index>(visited.begin(), visited.end()));
}

TEST_CASE("each step draws one number of demonstrations for all its prompts") {
  Fixture<SmallConfig> fixture;
  auto one = fixture.stage({1});
  auto three = fixture.stage({3});
  auto either = fixture.stage({1, 3});
  std::array<int, 2> drawn{};
  for (std::uint64_t step = 0; step < 12; ++step) {
    const auto loss = [&](auto& stage) { return fixture.loss(stage, fixture.weights, Rng(step)); };
    const double found = loss(either);
    REQUIRE(loss(one) != loss(three));
    drawn[0] += found == loss(one);
    drawn[1] += found == loss(three);
  }
  CHECK(drawn[0] + drawn[1] == 12);
  CHECK(drawn[0] > 0);
  CHECK(drawn[1] > 0);
  CHECK_THROWS_WITH_AS(fixture.stage({}), doctest::Contains("demonstrations per prompt"), Error);
}

TEST_CASE("the demonstrations of a prompt share one augmentation with its queries") {
  Fixture<SmallConfig> fixture;
  auto options = fixture.options.behavior;
  options.prompt_action_noise = 0;
  constexpr Index group = 3;
  // Marks what it saw: all rows of a sample get the same number.
  options.augmentation.apply = [](Rng rng, MatrixView<float> observations, MatrixView<float> actions) {
    const auto mark = static_cast<float>(rng.uniform());
    for (Index i = 0; i < observations.rows; ++i) {
      std::fill_n(observations.row(i), observations.cols, mark);
      std::fill_n(actions.row(i), actions.cols, mark);
    }
  };
  Workspace workspace;
  const auto& data = *fixture.prepared;
  const auto only_task = [&](Index, Rng&) -> const auto& {
    return data.training_tasks.front();
  };
  const detail::BehaviorBatch<Network, SmallConfig> batch(data, fixture.state, options, options.train.batch,
                                                          group, only_task, Rng(1), workspace);
  constexpr Index pairs = SmallConfig::prompt.pairs();
  REQUIRE(batch.support.actions.length == group * pairs);
  REQUIRE(batch.features.trajectory.rows == options.train.batch * group);
  std::set<float> marks;
  for (Index i = 0; i < options.train.batch; ++i) {
    std::set<float> seen(batch.support.actions.data + i * group * pairs * 2,
                         batch.support.actions.data + (i + 1) * group * pairs * 2);
    seen.insert(batch.actions.data + i * options.queries * 2,
                batch.actions.data + (i + 1) * options.queries * 2);
    CHECK(seen.size() == 1);
    marks.insert(*seen.begin());
  }
  CHECK(marks.size() == static_cast<std::size_t>(options.train.batch));
}

}  // namespace
