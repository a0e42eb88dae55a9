// The parameter autoencoder and the behaviour embedder, with all weight gradients of their losses, against
// PyTorch.
#include "parity_fixture.hpp"

#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/losses.hpp>
#include <maa/backend/cpu/matrix.hpp>
#include <maa/backend/cpu/norm.hpp>
#include <maa/models/autoencoder.hpp>
#include <maa/models/behavior_embedder.hpp>
#include <maa/models/mlp_network.hpp>

namespace {

using maa::Activation;
using maa::EmbedderForm;
using maa::Index;
using maa::MatrixView;
using parity::check_close;
using parity::Fixture;
using parity::forward_tolerance;
using parity::gradient_tolerance;

using Network =
    maa::MlpNetwork<6, 2,
                    maa::HiddenLayers<maa::Hidden<8, Activation::elu>, maa::Hidden<7, Activation::relu>>>;

template <class Model, class T>
void check_autoencoder(const std::string& name) {
  const maa::cpu::Backend backend;
  const Fixture fixture("autoencoders");
  maa::Workspace workspace;
  const auto parameters = fixture.parameters<Model, T>(name + "weights.");
  maa::Buffer<T> gradients(parameters.size());
  const auto w = maa::bind<Model>(parameters);
  const auto g = maa::bind<Model>(gradients);
  const auto x = fixture.read<T>(name + "x"), noisy_x = fixture.read<T>(name + "noisy_x"),
             latent_noise = fixture.read<T>(name + "latent_noise");

  const auto encoded = Model::encode(backend, w, noisy_x.matrix(), workspace);
  check_close(fixture, name + "latent", encoded.latent.span(), forward_tolerance<T>);
  auto noisy_latent = latent_noise;
  add_matrix(backend, encoded.latent.flat(), noisy_latent.sequence().flat());
  const auto decoded =
      Model::decode(backend, w, maa::SequenceView<const T>(noisy_latent.sequence()), workspace);
  check_close(fixture, name + "reconstruction", decoded.parameters.span(), forward_tolerance<T>);

  auto dreconstruction = fixture.like<T>(name + "reconstruction");
  auto dlatent = fixture.like<T>(name + "dlatent");
  const double loss = mse_loss(backend, decoded.parameters, x.matrix(), dreconstruction.matrix());
  check_close(name + "loss", loss, fixture.scalar(name + "loss"), forward_tolerance<T>);
  Model::decode_backward(backend, w, decoded, MatrixView<const T>(dreconstruction.matrix()), g,
                         dlatent.sequence(), workspace);
  check_close(fixture, name + "dlatent", dlatent, gradient_tolerance<T>);
  Model::encode_backward(backend, w, encoded, maa::SequenceView<const T>(dlatent.sequence()), g, workspace);
  parity::check_parameters<Model>(fixture, name + "gradients.", gradients, gradient_tolerance<T>);
}

template <class Model, class T>
void check_embedder(const std::string& name) {
  const maa::cpu::Backend backend;
  const Fixture fixture("embedders");
  maa::Workspace workspace;
  const auto parameters = fixture.parameters<Model, T>(name + "weights.");
  maa::Buffer<T> gradients(parameters.size());
  const auto w = maa::bind<Model>(parameters);
  const auto g = maa::bind<Model>(gradients);
  const auto trajectory = fixture.read<T>(name + "trajectory"), success = fixture.read<T>(name + "success");

  const auto saved = Model::forward(backend, w, trajectory.matrix(), success.matrix(), workspace);
  check_close(fixture, name + "h", saved.h().span(), forward_tolerance<T>);
  check_close(fixture, name + "v", saved.v().span(), forward_tolerance<T>);
  const auto contrast = Model::contrast(backend, w, saved, workspace);
  check_close(fixture, name + "logits", contrast.logits.span(), forward_tolerance<T>);

  auto targets = fixture.like<T>(name + "logits"), dlogits = fixture.like<T>(name + "logits");
  for (Index i = 0; i < targets.dim(0); ++i) {
    targets.matrix()(i, i) = 1;
  }
  const double loss = info_nce_loss(backend, contrast.logits, targets.matrix(), dlogits.matrix());
  check_close(name + "loss", loss, fixture.scalar(name + "loss"), forward_tolerance<T>);
  check_close(fixture, name + "dlogits", dlogits, gradient_tolerance<T>);
  const auto dh = workspace.matrix<T>(saved.h().rows, Model::embedding_size);
  const auto dv = workspace.matrix<T>(saved.h().rows, Model::embedding_size);
  Model::contrast_backward(backend, w, saved, contrast, MatrixView<const T>(dlogits.matrix()), g, dh, dv,
                           workspace);
  Model::backward(backend, w, saved, MatrixView<const T>(dh), MatrixView<const T>(dv), g, workspace);
  parity::check_parameters<Model>(fixture, name + "gradients.", gradients, gradient_tolerance<T>);
}

}  // namespace

TEST_CASE_TEMPLATE("autoencoder, one linear map each way", T, float, double) {
  check_autoencoder<maa::Autoencoder<Network, 12, 10>, T>("depth1.");
}

TEST_CASE_TEMPLATE("autoencoder, two layers each way", T, float, double) {
  check_autoencoder<maa::Autoencoder<Network, 12, 10, 2, 2>, T>("depth2.");
}

TEST_CASE_TEMPLATE("autoencoder of the public code, one LayerNorm for all tokens", T, float, double) {
  check_autoencoder<maa::Autoencoder<Network, 12, 10, 1, 1, maa::Start::random, maa::LatentNorm::shared>, T>(
      "shared.");
}

TEST_CASE_TEMPLATE("behaviour embedder of the paper, through InfoNCE", T, float, double) {
  check_embedder<maa::BehaviorEmbedder<15, 9, 6, 12>, T>("paper.");
}

TEST_CASE_TEMPLATE("behaviour embedder of the public code, through InfoNCE", T, float, double) {
  check_embedder<maa::BehaviorEmbedder<15, 9, 6, 12, EmbedderForm::mlp, EmbedderForm::tanh_normed>, T>(
      "reference.");
}
