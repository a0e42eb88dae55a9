// The loss on behaviour: its gradient is the slope of the loss, through head, decoder, denoiser and embedder.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/generator/fitting.hpp>

#include "small_config.hpp"

namespace {

using namespace maa;
using test::SmallConfig;

using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::tanh>>>;

struct HeadlessConfig : SmallConfig {
  static constexpr HeadCorrection head_correction = HeadCorrection::none;
};

Dataset dataset() {
  Dataset data(6, 2, parameter_count<Network>, {"task"});
  for (std::uint64_t i = 0; i < 6; ++i) {
    Buffer<float> weights(parameter_count<Network>);
    initialize<Network>(weights.span(), Rng(i));
    data.add_policy({0, static_cast<std::int64_t>(i), 0}, weights.span());
    Trajectory trajectory(20, 6, 2);
    Rng rng(10 + i);
    rng.fill_normal(trajectory.observations().span());
    rng.fill_uniform(trajectory.actions().span(), -0.9, 0.9);
    trajectory.success_step = 14;
    trajectory.task = "task";
    trajectory.run = -1;
    data.add_trajectory(std::move(trajectory));
  }
  return data;
}

// Central differences of a float loss along the gradient: the signal there is the largest there is, so that
// single precision is enough to see a wrong factor or a missing path in any part.
template <class Config>
void check_slope() {
  const cpu::Backend backend(2);
  const auto data = dataset();
  auto options = FitOptions::fixed();
  options.behavior.train.batch = 6;
  options.behavior.queries = 12;
  // One sampling step from almost pure noise: the first estimate, a constant for the second pass, then has no
  // weight.
  options.sampling.steps = 1;
  GeneratorState<Network, Config> state;
  const detail::TrainingData<Network, Config> prepared(data, options, state);
  state.diffusion = options.denoiser.diffusion;
  state.sampling = options.sampling;
  state.latent = Normalizer(GeneratorModel<Network, Config>::latent_numbers);
  std::fill(state.latent.scale.begin(), state.latent.scale.end(), 0.7f);
  detail::BehaviorStage<Network, Config, cpu::Backend> stage(backend, prepared, state, options.behavior);

  using Part = typename GeneratorModel<Network, Config>::WithoutEncoders;
  Buffer<float> weights(parameter_count<Part>);
  initialize<Part>(weights.span(), Rng(3));
  const auto loss = [&](const Buffer<float>& at) {
    Buffer<float> ignored(at.size());
    return stage.loss(at.span(), ignored.span(), Rng(4), 0);
  };
  Buffer<float> gradients(weights.size());
  CHECK(stage.loss(weights.span(), gradients.span(), Rng(4), 0) == loss(weights));
  for (const auto& part : {"autoencoder.", "embedder.phi.", "embedder.psi.", "denoiser.", "head."}) {
    CAPTURE(part);
    double square = 0;
    Buffer<float> direction(weights.size());
    for (const auto& tensor : tensors_of<Part>()) {
      if (tensor.name.starts_with(part)) {
        for (Index i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
          direction[i] = gradients[i];
          square += static_cast<double>(gradients[i]) * static_cast<double>(gradients[i]);
        }
      }
    }
    if (std::string_view(part) == "head." && Config::head_correction == HeadCorrection::none) {
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
    const double slope = (loss(ahead) - loss(behind)) / (2 * reach * square);
    CHECK(slope == doctest::Approx(1).epsilon(0.005));
  }
}

TEST_CASE("the behaviour loss's gradient is its slope, part by part") {
  SUBCASE("with the ridge head") {
    check_slope<SmallConfig>();
  }
  SUBCASE("without") {
    check_slope<HeadlessConfig>();
  }
}

}  // namespace
