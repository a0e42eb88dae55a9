// The UNet, ten sampling steps and 100 training steps against PyTorch and diffusers.
#include "parity_fixture.hpp"

#include <maa/backend/cpu.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/generator/paper_recipe.hpp>
#include <maa/models/unet1d.hpp>
#include <maa/train/trainer.hpp>

namespace {

using maa::Index;
using maa::MatrixView;
using maa::PredictionType;
using maa::SequenceView;
using parity::check_close;
using parity::Fixture;
using parity::forward_tolerance;
using parity::gradient_tolerance;

using SmallUNet = maa::UNet1d<24, 8, maa::Levels<16, 24, 32>, 3, 8, 16>;  // latents of two tokens
using LongUNet = maa::UNet1d<12, 8, maa::Levels<8, 12, 16>, 5, 4, 16>;    // eight positions

using PaperUNet = maa::UNet1d<1024, 256>;
static_assert(maa::parameter_count<PaperUNet> == 163'048'576 && maa::tensor_count<PaperUNet> == 148);
static_assert(maa::parameter_count<maa::UNet1d<1024, 128>> == 159'378'560);

maa::DiffusionSchedule schedule_of(PredictionType type) {
  maa::DiffusionOptions options;
  options.prediction_type = type;
  return maa::DiffusionSchedule(options);
}

constexpr std::pair<const char*, PredictionType> prediction_types[] = {
    {"epsilon", PredictionType::epsilon},
    {"sample", PredictionType::sample},
    {"v_prediction", PredictionType::v_prediction}};

template <class Model, class T>
void check_unet(const std::string& name) {
  const maa::cpu::Backend backend;
  const Fixture fixture("unets");
  maa::Workspace workspace;
  const auto parameters = fixture.parameters<Model, T>(name + "weights.");
  maa::Buffer<T> gradients(parameters.size());
  const auto w = maa::bind<Model>(parameters);
  const auto g = maa::bind<Model>(gradients);
  const auto x = fixture.read<T>(name + "x"), condition = fixture.read<T>(name + "condition"),
             dy = fixture.read<T>(name + "dy");
  const auto timesteps = fixture.indices(name + "timesteps");

  const auto saved = Model::forward(backend, w, x.sequence(), std::span<const Index>(timesteps),
                                    condition.matrix(), workspace);
  check_close(fixture, name + "y", saved.output.span(), forward_tolerance<T>);
  auto dx = fixture.like<T>(name + "x"), dcondition = fixture.like<T>(name + "condition");
  Model::backward(backend, w, saved, dy.sequence(), g, dcondition.matrix(), dx.sequence(), workspace);
  check_close(fixture, name + "dx", dx, gradient_tolerance<T>);
  check_close(fixture, name + "dcondition", dcondition, gradient_tolerance<T>);
  parity::check_parameters<Model>(fixture, name + "gradients.", gradients, gradient_tolerance<T>);
}

}  // namespace

TEST_CASE_TEMPLATE("UNet on two tokens", T, float, double) {
  check_unet<SmallUNet, T>("small.");
}

TEST_CASE_TEMPLATE("UNet on a longer latent", T, float, double) {
  check_unet<LongUNet, T>("long.");
}

TEST_CASE("the forward process") {
  const maa::cpu::Backend backend(1);
  const Fixture fixture("diffusion");
  const auto schedule = schedule_of(PredictionType::v_prediction);
  const auto alpha_bar = fixture.read<double>("forward.alpha_bar");
  for (Index t = 0; t < 100; ++t) {
    check_close("alpha_bar", schedule.alpha_bar(t), alpha_bar.values[t], parity::stored_rounding);
  }
  const auto x0 = fixture.read<double>("forward.x0"), epsilon = fixture.read<double>("forward.epsilon");
  const auto timesteps = fixture.indices("forward.timesteps");
  auto noisy = fixture.like<double>("forward.noisy"), velocity = fixture.like<double>("forward.velocity");
  schedule.add_noise(backend, x0.matrix(), epsilon.matrix(), timesteps, noisy.matrix());
  schedule.target(backend, x0.matrix(), epsilon.matrix(), timesteps, velocity.matrix());
  check_close(fixture, "forward.noisy", noisy, parity::stored_rounding);
  check_close(fixture, "forward.velocity", velocity, parity::stored_rounding);
}

TEST_CASE_TEMPLATE("single steps of both samplers follow diffusers' rule", T, float, double) {
  const maa::cpu::Backend backend(1);
  const Fixture fixture("diffusion");
  for (const auto& [type_name, type] : prediction_types) {
    const auto schedule = schedule_of(type);
    const std::string prefix = std::string("step.") + type_name + ".";
    const auto prediction = fixture.read<T>(prefix + "prediction");
    for (const Index t : {90, 40, 0}) {
      const Index previous = t == 0 ? -1 : t - 10;
      for (const std::string sampler : {"ddim.t", "ddpm.t"}) {
        for (const std::string eta : {".eta0", ".eta7"}) {
          const bool ddim = sampler == "ddim.t";
          const auto name = prefix + sampler + std::to_string(t) + (ddim ? eta : "") + ".";
          const auto noise = fixture.read<T>(name + "noise");
          auto x = fixture.read<T>(prefix + "x");
          if (ddim) {
            sampler_step(
                backend,
                maa::reverse_step(schedule, maa::SamplerKind::ddim, eta == ".eta7" ? 0.7 : 0.0, t, previous),
                prediction.matrix(), noise.matrix(), x.matrix());
          } else {
            sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddpm, 0, t, previous),
                         prediction.matrix(), noise.matrix(), x.matrix());
          }
          check_close(fixture, name + "y", x, forward_tolerance<T>);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("ten DDIM steps through the UNet", T, float, double) {
  const maa::cpu::Backend backend;
  const Fixture fixture("diffusion");
  const auto parameters = Fixture("unets").parameters<SmallUNet, T>("small.weights.");
  const auto w = maa::bind<SmallUNet>(parameters);
  const auto condition = fixture.read<T>("sampling.condition");
  const double tolerance = std::is_same_v<T, float> ? 5e-6 : parity::stored_rounding;
  for (const auto& [type_name, type] : prediction_types) {
    const auto schedule = schedule_of(type);
    auto x = fixture.read<T>("sampling.x");
    const auto visited = schedule.timesteps(10, maa::TimestepSpacing::leading);
    for (std::size_t k = 0; k < visited.size(); ++k) {
      maa::Workspace workspace;
      const std::vector<Index> timesteps(static_cast<std::size_t>(x.dim(0)), visited[k]);
      const auto saved = SmallUNet::forward(backend, w, SequenceView<const T>(x.sequence()),
                                            std::span<const Index>(timesteps), condition.matrix(), workspace);
      sampler_step(backend,
                   maa::reverse_step(schedule, maa::SamplerKind::ddim, 0.0, visited[k],
                                     k + 1 < visited.size() ? visited[k + 1] : -1),
                   saved.output.per_sample(), MatrixView<const T>(), x.sequence().per_sample());
    }
    check_close(fixture, std::string("sampling.") + type_name, x, tolerance);
  }
}

// Sample i of step s is row n % 16 of x0 and condition and row n * 7 % 32 of epsilon, at timestep n * 37 %
// 100, with n = 4 s + i: see make_fixtures.py.
TEST_CASE_TEMPLATE("100 steps by the reference recipe's options", T, float, double) {
  using Backend = maa::cpu::Backend;
  const Backend backend;
  const Fixture fixture("training");
  const auto schedule = schedule_of(PredictionType::sample);
  auto options = maa::PaperRecipe::reference(1000, 1000).denoiser.train;
  CHECK(options.ema == 0);
  options.steps = 100;
  options.ema = 0.9999;  // the public code keeps one, too, and makes no use of it
  const auto initial = Fixture("unets").parameters<SmallUNet, T>("small.weights.");
  maa::Trainer<T, Backend> trainer(backend, maa::tensors_of<SmallUNet>(), options, initial.span());
  const auto x0 = fixture.read<T>("x0"), condition = fixture.read<T>("condition"),
             epsilon = fixture.read<T>("epsilon");
  const auto losses = fixture.read<double>("losses");
  const double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-6;

  constexpr Index batch = 4, length = 2, channels = 24;
  maa::Workspace workspace;
  for (Index step = 0; step < 100; ++step) {
    workspace.reset();
    const auto clean = workspace.sequence<T>(batch, length, channels);
    const auto noise = workspace.sequence<T>(batch, length, channels);
    const auto noisy = workspace.sequence<T>(batch, length, channels);
    const auto doutput = workspace.sequence<T>(batch, length, channels);
    const auto behavior = workspace.matrix<T>(batch, 8);
    std::vector<Index> timesteps;
    for (Index i = 0; i < batch; ++i) {
      const Index n = batch * step + i;
      const auto copy_row = [](auto from, Index row, auto to, Index to_row) {
        std::copy_n(from.row(row), from.cols, to.row(to_row));
      };
      copy_row(x0.sequence().per_sample(), n % 16, clean.per_sample(), i);
      copy_row(epsilon.sequence().per_sample(), n * 7 % 32, noise.per_sample(), i);
      copy_row(condition.matrix(), n % 16, behavior, i);
      timesteps.push_back(n * 37 % 100);
    }
    schedule.add_noise(backend, clean.per_sample(), noise.per_sample(), timesteps, noisy.per_sample());
    const auto progress = trainer.step([&](std::span<const T> weights, std::span<T> gradients) {
      const auto w = maa::bind<SmallUNet>(weights);
      const auto saved =
          SmallUNet::forward(backend, w, SequenceView<const T>(noisy), std::span<const Index>(timesteps),
                             MatrixView<const T>(behavior), workspace);
      const double loss = mse_loss(backend, saved.output.flat(), clean.flat(), doutput.flat());
      SmallUNet::backward(backend, w, saved, SequenceView<const T>(doutput), maa::bind<SmallUNet>(gradients),
                          MatrixView<T>(), SequenceView<T>(), workspace);
      return loss;
    });
    check_close("loss of step " + std::to_string(step), progress.loss, losses.values[step], tolerance);
  }
  parity::check_parameters<SmallUNet>(fixture, "weights.", trainer.weights(), tolerance);
  parity::check_parameters<SmallUNet>(fixture, "ema.", trainer.result(), tolerance);
}
