// The models are one text for all backends: on the device they give the CPU's results, forward and backward.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/backend/cuda/ops.hpp>
#include <maa/generator/sampling.hpp>

#include "cuda_device.hpp"
#include "small_config.hpp"

#include <cmath>

namespace {

using namespace maa;
using cuda::Real;

const cpu::Backend host(1, kernels::Isa::scalar);

Buffer<float> random_numbers(Index count, std::uint64_t seed, double scale = 1) {
  Buffer<float> values(count);
  Rng(seed).fill_normal(values.span(), scale);
  return values;
}

// The largest difference relative to the largest number.
double distance(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, largest = 1e-12;
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(std::isfinite(a[i]));
    REQUIRE(std::isfinite(b[i]));
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
  }
  return difference / largest;
}

// One backend with a model's weights, its gradients and memory.
template <class Model, class BackendT>
struct Side {
  using Number = typename BackendT::template Element<float>;
  BackendT backend;
  typename BackendT::template Array<float> weights, gradients;
  WorkspaceOf<BackendT> workspace;

  Side(const BackendT& backend_, const Buffer<float>& values)
      : backend(backend_),
        weights(backend.template make_array<float>(values.size())),
        gradients(backend.template make_array<float>(values.size())),
        workspace(backend.make_workspace()) {
    upload(backend, values.span(), weights.span());
    upload(backend, random_numbers(values.size(), 99).span(), gradients.span());  // they accumulate
  }
  auto w() const { return bind<Model>(std::as_const(weights).span()); }
  auto g() { return bind<Model>(gradients.span()); }
  auto in(MatrixView<const float> values) {
    return MatrixView<const Number>(uploaded(backend, values, workspace));
  }
  auto in(SequenceView<const float> values) {
    return SequenceView<const Number>(uploaded(backend, values, workspace));
  }
  Buffer<float> out(std::span<const Number> values) const {
    Buffer<float> result(std::ssize(values));
    download(backend, values, result.span());
    return result;
  }
  Buffer<float> all_gradients() const { return out(std::as_const(gradients).span()); }
};

// Runs body(side) on both backends and compares the buffers that it returns.
template <class Model, class Body>
void compare(double tolerance, const Body& body, const cuda::Options& options = {.tf32 = false}) {
  Buffer<float> values(parameter_count<Model>);
  initialize<Model>(values.span(), Rng(3));
  const auto noise = random_numbers(values.size(), 4, 0.02);  // norms and biases are not 1 and 0
  for (Index i = 0; i < values.size(); ++i) {
    values[i] += noise[i];
  }
  Side<Model, cpu::Backend> here(host, values);
  const auto device = test_backend(options);
  const auto session = device.session();
  Side<Model, cuda::Backend> there(device, values);
  const std::vector<Buffer<float>> expected = body(here), found = body(there);
  REQUIRE(expected.size() == found.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(distance(expected[i].span(), found[i].span()) < tolerance);
  }
}

template <class UNet>
auto unet_pass(Index batch, Index length) {
  return [=](auto& side) {
    using Number = typename std::decay_t<decltype(side)>::Number;
    const auto x = random_numbers(batch * length * UNet::latent_channels, 5),
               condition = random_numbers(batch * UNet::condition_size, 6),
               doutput = random_numbers(x.size(), 7);
    std::vector<Index> timesteps;
    for (Index i = 0; i < batch; ++i) {
      timesteps.push_back(i * 37 % 100);
    }
    const SequenceView<const float> shape(x.data(), batch, length, UNet::latent_channels);
    const auto saved = UNet::forward(
        side.backend, side.w(), side.in(shape), timesteps,
        side.in(MatrixView<const float>(condition.data(), batch, UNet::condition_size)), side.workspace);
    const auto dcondition = side.workspace.template matrix<Number>(batch, UNet::condition_size);
    const auto dx = side.workspace.template sequence<Number>(batch, length, UNet::latent_channels);
    UNet::backward(side.backend, side.w(), saved,
                   side.in(SequenceView<const float>(doutput.data(), batch, length, UNet::latent_channels)),
                   side.g(), dcondition, dx, side.workspace);
    std::vector<Buffer<float>> results;
    results.push_back(side.out(saved.output.span()));
    results.push_back(side.out(dcondition.span()));
    results.push_back(side.out(dx.span()));
    results.push_back(side.all_gradients());
    return results;
  };
}

TEST_CASE("UNet: outputs and all gradients") {
  using Two = UNet1d<12, 10, Levels<16, 24>, 3, 4, 8>;
  using Three = UNet1d<8, 6, Levels<8, 16, 24>, 3, 8, 8>;
  compare<Two>(2e-5, unet_pass<Two>(5, 2));
  compare<Two>(2e-5, unet_pass<Two>(1, 2));
  compare<Two>(2e-5, unet_pass<Two>(3, 5));
  compare<Three>(2e-5, unet_pass<Three>(4, 2));
}

TEST_CASE("UNet in tensor floats stays near") {
  using UNet = UNet1d<12, 10, Levels<16, 24>, 3, 4, 8>;
  compare<UNet>(2e-2, unet_pass<UNet>(5, 2), {.tf32 = true});
}

// Sampling with packed weights.
template <class Config>
auto sampling(Index batch, double guidance, Precision precision, SamplingOptions options) {
  return [=](auto& side) {
    using Number = typename std::decay_t<decltype(side)>::Number;
    using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::tanh>>>;
    using Model = GeneratorModel<Network, Config>;
    const auto condition = random_numbers(batch * Model::condition_size, 8);
    const auto packed = side.backend.packed(std::as_const(side.weights).span(), precision);
    auto streams = sample_streams(Rng(9), 0, batch);
    const auto latent =
        side.workspace.template sequence<Number>(batch, Network::token_count, Config::latent_size);
    CHECK(detail::sample_latents<Network, Config>(
        packed, side.w(), DiffusionOptions(), options, guidance,
        side.in(MatrixView<const float>(condition.data(), batch, Model::condition_size)), streams, latent,
        side.workspace));
    std::vector<Buffer<float>> results;
    results.push_back(side.out(latent.span()));
    return results;
  };
}
using SmallNetwork =
    MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::tanh>>>;
using SmallDenoiser = GeneratorModel<SmallNetwork, test::SmallConfig>::DenoiserModel;

TEST_CASE("sampling: guidance, noise, precisions, and batches that take three products") {
  const SamplingOptions ddim{.steps = 4, .spacing = TimestepSpacing::linspace};
  SamplingOptions noisy = ddim;
  noisy.eta = 0.7;
  for (const double guidance : {0.0, 1.0, 2.0}) {
    compare<SmallDenoiser>(1e-3, sampling<test::SmallConfig>(3, guidance, Precision::fp32, ddim));
  }
  compare<SmallDenoiser>(1e-3, sampling<test::SmallConfig>(3, 1, Precision::fp32, noisy));
  compare<SmallDenoiser>(1e-3, sampling<test::SmallConfig>(257, 1, Precision::fp32, ddim));
  compare<SmallDenoiser>(8e-2, sampling<test::SmallConfig>(3, 1, Precision::bf16, ddim));
}

template <class Embedder>
auto embedder_pass(Index batch) {
  return [=](auto& side) {
    using Number = typename std::decay_t<decltype(side)>::Number;
    constexpr Index size = Embedder::embedding_size;
    const auto h_in = random_numbers(batch * Embedder::Phi::in, 10),
               v_in = random_numbers(batch * Embedder::Psi::in, 11),
               dlogits = random_numbers(batch * batch, 12), other_dh = random_numbers(batch * size, 13);
    const auto saved = Embedder::forward(
        side.backend, side.w(), side.in(MatrixView<const float>(h_in.data(), batch, Embedder::Phi::in)),
        side.in(MatrixView<const float>(v_in.data(), batch, Embedder::Psi::in)), side.workspace);
    const auto contrast = Embedder::contrast(side.backend, side.w(), saved, side.workspace);
    const auto dh = side.workspace.template matrix<Number>(batch, size);
    const auto dv = side.workspace.template matrix<Number>(batch, size);
    Embedder::contrast_backward(side.backend, side.w(), saved, contrast,
                                side.in(MatrixView<const float>(dlogits.data(), batch, batch)), side.g(), dh,
                                dv, side.workspace);
    add_matrix(side.backend, side.in(MatrixView<const float>(other_dh.data(), batch, size)), dh);
    Embedder::backward(side.backend, side.w(), saved, MatrixView<const Number>(dh),
                       MatrixView<const Number>(dv), side.g(), side.workspace);
    std::vector<Buffer<float>> results;
    results.push_back(side.out(saved.h().span()));
    results.push_back(side.out(contrast.logits.span()));
    results.push_back(side.all_gradients());
    return results;
  };
}

TEST_CASE("embedder: all forms") {
  using Plain = BehaviorEmbedder<24, 9, 6, 14, EmbedderForm::mlp, EmbedderForm::tanh_normed>;
  using Normed = BehaviorEmbedder<24, 9, 6, 14, EmbedderForm::mlp_normed, EmbedderForm::mlp_normed>;
  compare<Plain>(2e-5, embedder_pass<Plain>(5));
  compare<Normed>(2e-5, embedder_pass<Normed>(5));
}

TEST_CASE("autoencoder") {
  using Codec = Autoencoder<SmallNetwork, 8, 10, 2, 2>;
  compare<Codec>(2e-5, [](auto& side) {
    using Number = typename std::decay_t<decltype(side)>::Number;
    constexpr Index batch = 5;
    const auto x = random_numbers(batch * Codec::parameter_size, 14), dy = random_numbers(x.size(), 15);
    const auto matrix = [&](const Buffer<float>& of) {
      return side.in(MatrixView<const float>(of.data(), batch, Codec::parameter_size));
    };
    const auto encoded = Codec::encode(side.backend, side.w(), matrix(x), side.workspace);
    const auto decoded =
        Codec::decode(side.backend, side.w(), SequenceView<const Number>(encoded.latent), side.workspace);
    const auto dlatent = side.workspace.template sequence<Number>(batch, Codec::token_count, 8);
    Codec::decode_backward(side.backend, side.w(), decoded, matrix(dy), side.g(), dlatent, side.workspace);
    Codec::encode_backward(side.backend, side.w(), encoded, SequenceView<const Number>(dlatent), side.g(),
                           side.workspace);
    std::vector<Buffer<float>> results;
    results.push_back(side.out(encoded.latent.span()));
    results.push_back(side.out(decoded.parameters.span()));
    results.push_back(side.out(dlatent.span()));
    results.push_back(side.all_gradients());
    return results;
  });
}

TEST_CASE("Bayesian head") {
  using Head = BayesianHead<SmallNetwork, 3>;
  for (const Index rows : {Index{5}, Index{20}}) {
    compare<Head>(1e-4, [=](auto& side) {
      using Number = typename std::decay_t<decltype(side)>::Number;
      constexpr Index batch = 3, size = parameter_count<SmallNetwork>;
      const auto policies = random_numbers(batch * size, 16, 0.3),
                 observations = random_numbers(batch * rows * 6, 17),
                 actions = random_numbers(batch * rows * 2, 18, 0.6),
                 dcorrected = random_numbers(batch * size, 19);
      const auto p = side.in(MatrixView<const float>(policies.data(), batch, size));
      const auto o = side.in(SequenceView<const float>(observations.data(), batch, rows, 6));
      const auto a = side.in(SequenceView<const float>(actions.data(), batch, rows, 2));
      const auto corrected = side.workspace.template matrix<Number>(batch, size);
      const auto dpolicies = side.workspace.template matrix<Number>(batch, size);
      const auto layout = SmallNetwork::layout();
      const auto saved = Head::forward(side.backend, layout, side.w(), p, o, a, corrected, side.workspace);
      Head::backward(side.backend, layout, side.w(), p, o, a, saved,
                     side.in(MatrixView<const float>(dcorrected.data(), batch, size)), side.g(), dpolicies,
                     side.workspace);
      Workspace on_host;
      std::array<double, batch> evidence;
      Head::log_evidence(side.backend, side.w(), saved, {}, evidence, on_host);
      std::vector<Buffer<float>> results;
      results.push_back(side.out(corrected.span()));
      results.push_back(side.out(dpolicies.span()));
      results.push_back(side.all_gradients());
      results.emplace_back(batch);
      std::ranges::transform(evidence, results.back().begin(),
                             [](double x) { return static_cast<float>(x); });
      return results;
    });
  }
}

}  // namespace
