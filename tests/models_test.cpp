// Models: sizes the paper states, and gradients of every model in double against central differences.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/generator/config.hpp>
#include <maa/models/autoencoder.hpp>
#include <maa/models/behavior_embedder.hpp>
#include <maa/models/mlp_network.hpp>
#include <maa/models/unet1d.hpp>
#include <maa/testing/grad_check.hpp>

#include "larger.hpp"
#include "supported_isas.hpp"

#include <functional>
#include <numeric>
#include <set>

namespace {

using namespace maa;

static_assert(parameter_count<MetaWorldNetwork> == 22'664);
static_assert(MetaWorldNetwork::token_sizes == std::array<Index, 2>{5'120, 17'544});
static_assert(parameter_count<RobosuiteNetwork> == 23'952);
static_assert(RobosuiteNetwork::token_sizes == std::array<Index, 2>{5'376, 18'576});
static_assert(parameter_count<QuadrupedNetwork> == 50'956);
static_assert(QuadrupedNetwork::token_sizes == std::array<Index, 3>{32'896, 16'512, 1'548});
static_assert(parameter_count<UNet1d<1024, 256>> == 163'048'576 && tensor_count<UNet1d<1024, 256>> == 148);
static_assert(parameter_count<UNet1d<1024, 128>> == 159'378'560);
static_assert(parameter_count<Autoencoder<MetaWorldNetwork>> == 2 * 22'664 * 1024 + 4 * 1024);
template <class Config>
using AutoencoderOf = typename GeneratorModel<MetaWorldNetwork, Config>::AutoencoderModel;
static_assert(parameter_count<AutoencoderOf<ReferenceConfig>> == 46'417'920);
static_assert(parameter_count<AutoencoderOf<PaperConfig>> == 46'417'920 + 2 * 1024);

const cpu::Backend backend(2);

// A random vector whose sum of products with an output makes a scalar loss with gradient `weights`.
Buffer<double> random_values(Index size, std::uint64_t seed, double scale = 1) {
  Buffer<double> values(size);
  Rng(seed).fill_normal(values.span(), scale);
  return values;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

// Parameters away from their special initial values (ones, zeros).
template <class Model>
Buffer<double> random_parameters(std::uint64_t seed) {
  Buffer<double> values(parameter_count<Model>);
  initialize<Model>(values.span(), Rng(seed));
  Buffer<double> noise = random_values(values.size(), seed + 1, 0.1);
  for (Index i = 0; i < values.size(); ++i) {
    values[i] += noise[i];
  }
  return values;
}

void check(std::span<double> values, const Buffer<double>& gradient, const std::function<double()>& function,
           Index samples = 400) {
  const auto result = grad_check(values, gradient.span(), function, {.samples = samples});
  CAPTURE(result.index);
  CAPTURE(result.analytic);
  CAPTURE(result.numeric);
  CHECK(result.worst_error <= 1e-6);
}

using SmallNetwork = MlpNetwork<5, 2, HiddenLayers<Hidden<4, Activation::elu>, Hidden<3, Activation::relu>>>;

template <class Model>
void check_autoencoder() {
  constexpr Index batch = 3;
  constexpr Index latent_numbers = Model::token_count * Model::latent_size;
  auto parameters = random_parameters<Model>(1);
  auto x = random_values(batch * Model::parameter_size, 2);
  const auto weight = random_values(batch * Model::parameter_size, 3);
  const MatrixView<const double> input(x.data(), batch, Model::parameter_size);
  Workspace workspace;
  const auto forward = [&] {
    workspace.reset();
    const auto w = bind<Model>(std::as_const(parameters));
    const auto encoded = Model::encode(backend, w, input, workspace);
    const auto decoded = Model::decode(backend, w, SequenceView<const double>(encoded.latent), workspace);
    return std::pair(encoded, decoded);
  };
  const auto value = [&] { return dot(forward().second.parameters.span(), weight.span()); };
  const auto [encoded, decoded] = forward();
  Buffer<double> gradients(parameters.size());
  Buffer<double> dlatent(batch * latent_numbers);
  const auto w = bind<Model>(std::as_const(parameters));
  const auto g = bind<Model>(gradients);
  const SequenceView<double> dlatent_view(dlatent.data(), batch, Model::token_count, Model::latent_size);
  Model::decode_backward(backend, w, decoded,
                         MatrixView<const double>(weight.data(), batch, Model::parameter_size), g,
                         dlatent_view, workspace);
  Model::encode_backward(backend, w, encoded, SequenceView<const double>(dlatent_view), g, workspace);
  check(parameters.span(), gradients, value);
}

TEST_CASE("autoencoder gradients") {
  SUBCASE("one layer") {
    check_autoencoder<Autoencoder<SmallNetwork, 6, 7, 1, 1>>();
  }
  SUBCASE("deep") {
    check_autoencoder<Autoencoder<SmallNetwork, 6, 7, 3, 2>>();
  }
  SUBCASE("one LayerNorm for all tokens") {
    check_autoencoder<Autoencoder<SmallNetwork, 6, 7, 1, 1, Start::random, LatentNorm::shared>>();
  }
}

template <class Model>
void check_embedder(Index h_size, Index v_size) {
  constexpr Index batch = 5;
  auto parameters = random_parameters<Model>(4);
  const auto h_in = random_values(batch * h_size, 5);
  const auto v_in = random_values(batch * v_size, 6);
  const auto logit_weight = random_values(batch * batch, 7);
  const auto h_weight = random_values(batch * Model::embedding_size, 8);
  const auto v_weight = random_values(batch * Model::embedding_size, 9);
  Workspace workspace;
  const auto w = bind<Model>(std::as_const(parameters));
  const auto forward = [&] {
    workspace.reset();
    return Model::forward(backend, w, MatrixView<const double>(h_in.data(), batch, h_size),
                          MatrixView<const double>(v_in.data(), batch, v_size), workspace);
  };
  const auto value = [&] {
    const auto saved = forward();
    const auto logits = Model::contrast(backend, w, saved, workspace).logits;
    return dot(logits.span(), logit_weight.span()) + dot(saved.h().span(), h_weight.span()) +
           dot(saved.v().span(), v_weight.span());
  };
  const auto saved = forward();
  const auto contrast = Model::contrast(backend, w, saved, workspace);
  Buffer<double> gradients(parameters.size());
  const auto view = [&](const Buffer<double>& values, Index cols) {
    return MatrixView<const double>(values.data(), batch, cols);
  };
  const auto g = bind<Model>(gradients);
  const auto dh = workspace.matrix<double>(batch, Model::embedding_size);
  const auto dv = workspace.matrix<double>(batch, Model::embedding_size);
  Model::contrast_backward(backend, w, saved, contrast, view(logit_weight, batch), g, dh, dv, workspace);
  add_matrix(backend, view(h_weight, Model::embedding_size), dh);
  add_matrix(backend, view(v_weight, Model::embedding_size), dv);
  Model::backward(backend, w, saved, MatrixView<const double>(dh), MatrixView<const double>(dv), g,
                  workspace);
  check(parameters.span(), gradients, value);
}

TEST_CASE("embedder gradients, through logits and embeddings") {
  SUBCASE("paper") {
    check_embedder<BehaviorEmbedder<7, 5, 4, 6>>(7, 5);
  }
  SUBCASE("reference psi") {
    check_embedder<BehaviorEmbedder<7, 5, 4, 6, EmbedderForm::mlp, EmbedderForm::tanh_normed>>(7, 5);
  }
  SUBCASE("normed") {
    check_embedder<BehaviorEmbedder<7, 5, 4, 6, EmbedderForm::mlp_normed, EmbedderForm::mlp_normed>>(7, 5);
  }
}

template <class Model>
void check_unet(Index length) {
  constexpr Index batch = 2;
  const Index numbers = batch * length * Model::latent_channels;
  auto parameters = random_parameters<Model>(10);
  auto x = random_values(numbers, 11);
  auto condition = random_values(batch * Model::condition_size, 12);
  const auto weight = random_values(numbers, 13);
  const std::array<Index, 2> timesteps{3, 71};
  Workspace workspace;
  const auto forward = [&] {
    workspace.reset();
    return Model::forward(backend, bind<Model>(std::as_const(parameters)),
                          SequenceView<const double>(x.data(), batch, length, Model::latent_channels),
                          timesteps, MatrixView<const double>(condition.data(), batch, Model::condition_size),
                          workspace);
  };
  const auto value = [&] { return dot(forward().output.span(), weight.span()); };
  const auto saved = forward();
  CHECK(saved.output.length == length);
  Buffer<double> gradients(parameters.size());
  Buffer<double> dcondition(condition.size());
  Buffer<double> dx(x.size());
  Model::backward(backend, bind<Model>(std::as_const(parameters)), saved,
                  SequenceView<const double>(weight.data(), batch, length, Model::latent_channels),
                  bind<Model>(gradients), MatrixView<double>(dcondition.data(), batch, Model::condition_size),
                  SequenceView<double>(dx.data(), batch, length, Model::latent_channels), workspace);
  check(parameters.span(), gradients, value, 300);
  check(condition.span(), dcondition, value, 0);
  check(x.span(), dx, value, 0);
  // Without the input's gradient the parameters' gradients are the same.
  Buffer<double> without(parameters.size());
  Model::backward(backend, bind<Model>(std::as_const(parameters)), forward(),
                  SequenceView<const double>(weight.data(), batch, length, Model::latent_channels),
                  bind<Model>(without), MatrixView<double>(), SequenceView<double>(), workspace);
  CHECK(std::equal(gradients.begin(), gradients.end(), without.begin()));
}

// infer, with modulations taken out of the steps, is forward.
template <class Model, class T>
void check_inference(const cpu::Backend& on, Index batch, Index length, double tolerance) {
  Buffer<T> parameters(parameter_count<Model>), x(batch * length * Model::latent_channels),
      condition(batch * Model::condition_size);
  initialize<Model>(parameters.span(), Rng(20));
  Rng(21).fill_normal(x.span());
  Rng(22).fill_normal(condition.span());
  const auto w = bind<Model>(std::as_const(parameters));
  const SequenceView<const T> input(x.data(), batch, length, Model::latent_channels);
  const MatrixView<const T> conditions(condition.data(), batch, Model::condition_size);
  const std::array<Index, 3> visited{99, 40, 0};
  Workspace workspace;
  const auto modulation = Model::modulation(on, w, visited, conditions, workspace);
  for (const Index step : {2, 0, 1}) {
    const std::vector<Index> timesteps(static_cast<std::size_t>(batch),
                                       visited[static_cast<std::size_t>(step)]);
    const auto expected = Model::forward(on, w, input, timesteps, conditions, workspace).output;
    const auto output = Model::infer(on, w, input, modulation, step, workspace);
    double worst = 0;
    for (Index i = 0; i < output.size(); ++i) {
      worst = test::larger(worst, std::abs(double(output.data[i]) - double(expected.data[i])));
    }
    CHECK(worst < tolerance);
  }
}

TEST_CASE("unet inference with hoisted modulation equals the forward pass") {
  using Small = UNet1d<33, 5, Levels<16, 24, 40>, 3, 4, 8>;
  for (const Index batch : {1, 7, 33, 127}) {
    for (const Index length : {1, 2, 3}) {
      CAPTURE(batch);
      CAPTURE(length);
      check_inference<Small, double>(backend, batch, length, 1e-12);
      for (const auto isa : test::supported_isas()) {
        check_inference<Small, float>(cpu::Backend(2, isa), batch, length, 1e-4);
      }
    }
  }
}

TEST_CASE("unet gradients at any latent length") {
  using Small = UNet1d<3, 5, Levels<4, 8, 8>, 3, 2, 8>;
  SUBCASE("two tokens") {
    check_unet<Small>(2);
  }
  SUBCASE("three tokens") {
    check_unet<Small>(3);
  }
  SUBCASE("eight") {
    check_unet<Small>(8);
  }
  SUBCASE("one level") {
    check_unet<UNet1d<3, 5, Levels<4>, 1, 2, 8>>(2);
  }
}

TEST_CASE("the contrastive metric starts as the public code's where the configuration says so") {
  const auto metric = []<class Config>(Config) {
    using Model = typename GeneratorModel<MetaWorldNetwork, Config>::EmbedderModel;
    static Buffer<float> values(parameter_count<Model>);
    initialize<Model>(values.span(), Rng(1));
    return values.span().last(128 * 128);  // the last of the description
  };
  const auto least_largest_mean = [](std::span<const float> values) {
    double sum = 0;
    for (const float value : values) {
      sum += static_cast<double>(value);
    }
    const auto [least, largest] = std::ranges::minmax(values);
    return std::array<double, 3>{static_cast<double>(least), static_cast<double>(largest),
                                 sum / static_cast<double>(values.size())};
  };
  const auto unit = least_largest_mean(metric(ReferenceConfig()));
  CHECK(unit[0] >= 0);
  CHECK(unit[0] < 0.001);
  CHECK(unit[1] > 0.999);
  CHECK(unit[1] <= 1);
  CHECK(unit[2] == doctest::Approx(0.5).epsilon(0.02));
  const auto usual = least_largest_mean(metric(PaperConfig()));
  CHECK(usual[0] < -0.08);
  CHECK(usual[1] < 0.09);
}

// The share of rows' [.., features] variance that is outside of the space of an output layer's columns,
// weight [features, channels], after its bias is taken off.
double share_outside(std::span<const float> weight, std::span<const float> bias, Index channels,
                     std::span<const double> rows) {
  const Index features = std::ssize(bias);
  std::vector<std::vector<double>> directions;  // orthonormal
  const auto remove = [&](std::vector<double>& row) {
    for (int again = 0; again < 2; ++again) {  // the second time what rounding left
      for (const auto& direction : directions) {
        const double part = std::inner_product(row.begin(), row.end(), direction.begin(), 0.0);
        std::ranges::transform(row, direction, row.begin(), [&](double x, double d) { return x - part * d; });
      }
    }
    return std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
  };
  for (Index c = 0; c < channels; ++c) {
    std::vector<double> column;
    for (Index j = 0; j < features; ++j) {
      column.push_back(static_cast<double>(weight[static_cast<std::size_t>(j * channels + c)]));
    }
    const double length = std::sqrt(remove(column));
    std::ranges::transform(column, column.begin(), [&](double x) { return x / length; });
    directions.push_back(std::move(column));
  }
  double all = 0, outside = 0;
  for (std::size_t first = 0; first < rows.size(); first += static_cast<std::size_t>(features)) {
    std::vector<double> row;
    for (std::size_t j = 0; j < static_cast<std::size_t>(features); ++j) {
      row.push_back(rows[first + j] - static_cast<double>(bias[j]));
    }
    all += std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
    outside += remove(row);
  }
  return outside / all;
}

TEST_CASE("no network predicts more of the noise than its last layer has channels for, at any timestep") {
  using Paper = UNet1d<1024, 256>;
  const auto tensors = tensors_of<Paper>();
  const auto& layer = *(tensors.end() - 2);  // a convolution of one tap, so each position by itself
  REQUIRE(layer.name == "final_conv.1.weight");
  REQUIRE(layer.shape == std::vector<Index>{1024, 512, 1});
  std::vector<float> weight(1024 * 512), bias(1024);
  Rng(1).fill_uniform(std::span(weight), -1 / std::sqrt(512.0), 1 / std::sqrt(512.0));
  Rng(2).fill_uniform(std::span(bias), -1 / std::sqrt(512.0), 1 / std::sqrt(512.0));
  // The best that any input of the layer gives is a projection: half of the variance is left.
  const auto epsilon = random_values(2 * 32 * 1024, 3);
  CHECK(share_outside(weight, bias, 512, epsilon.span()) == doctest::Approx(0.5).epsilon(0.01));
  // Clean latents of up to as many policies as channels, or few directions, have no such bound.
  std::vector<double> latents;
  const auto coordinates = random_values(20 * 512, 4);
  for (Index i = 0; i < 20; ++i) {
    for (Index j = 0; j < 1024; ++j) {
      double sum = static_cast<double>(bias[static_cast<std::size_t>(j)]);
      for (Index c = 0; c < 512; ++c) {
        sum += static_cast<double>(weight[static_cast<std::size_t>(j * 512 + c)]) * coordinates[i * 512 + c];
      }
      latents.push_back(sum);
    }
  }
  CHECK(share_outside(weight, bias, 512, latents) < 1e-20);

  // What a network gives is in that space, whatever goes in.
  using Model = UNet1d<24, 5, Levels<8, 16>, 3, 4, 8>;
  Buffer<float> parameters(parameter_count<Model>), x(6 * 2 * 24), condition(6 * 5);
  initialize<Model>(parameters.span(), Rng(5));
  Rng(6).fill_normal(x.span());
  Rng(7).fill_normal(condition.span());
  const std::array<Index, 6> timesteps{0, 10, 30, 50, 80, 99};
  Workspace workspace;
  const auto w = bind<Model>(std::as_const(parameters));
  const auto output = Model::forward(backend, w, SequenceView<const float>(x.data(), 6, 2, 24), timesteps,
                                     MatrixView<const float>(condition.data(), 6, 5), workspace)
                          .output;
  const std::span<const float> found = output.span();
  const std::vector<double> rows(found.begin(), found.end());
  CHECK(share_outside({w.output.weight, 24 * 8}, {w.output.bias, 24}, 8, rows) < 1e-10);
  CHECK(share_outside({w.output.weight, 24 * 8}, {w.output.bias, 24}, 8, random_values(2400, 8).span()) ==
        doctest::Approx(2.0 / 3).epsilon(0.1));
}

TEST_CASE("every tensor has its own name, and binding covers the flat array without gaps") {
  using Model = UNet1d<6, 4, Levels<8, 16>, 3, 4, 8>;
  Index offset = 0;
  std::set<std::string> names;
  for (const auto& tensor : tensors_of<Model>()) {
    CHECK(tensor.offset == offset);
    offset += tensor.size;
    CHECK(names.insert(tensor.name).second);
  }
  CHECK(offset == parameter_count<Model>);
  Buffer<float> values(parameter_count<Model>);
  const auto weights = bind<Model>(values);
  CHECK(weights.time[0].weight == values.data());
  CHECK(weights.output.bias + 6 == values.end());
  CHECK_THROWS_AS(bind<Model>(values.span().first(3)), Error);
}

}  // namespace
