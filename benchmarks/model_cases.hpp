// Cases of the generator's models and stages. They run on any backend: the same text on the CPU and on a
// device.
#pragma once

#include "case.hpp"

#include <maa/generator.hpp>
#include <maa/generator/paper_recipe.hpp>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>

namespace bench {

// The paper's sizes with narrower levels.
struct MediumConfig : maa::PaperConfig {
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<256, 512, 1024>>;
};
struct SmallConfig : maa::PaperConfig {
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<128, 256, 512>>;
};
// Small enough for an emulated device: the paper's structure, and the default's.
struct TinyConfig : maa::PaperConfig {
  static constexpr Index latent_size = 16;
  static constexpr Index embedding_size = 8;
  static constexpr Index embedder_hidden = 32;
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<16, 32>, 3, 8, 16>;
};
struct TinyDefaultConfig : maa::DefaultConfig {
  static constexpr Index latent_size = 16;
  static constexpr Index embedding_size = 8;
  static constexpr Index embedder_hidden = 32;
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<16, 32>, 3, 8, 16>;
};

template <class ConfigT>
struct Setup {
  using Config = ConfigT;
  using Model = maa::GeneratorModel<maa::MetaWorldNetwork, Config>;
  using UNet = typename Model::DenoiserModel;
  using Autoencoder = typename Model::AutoencoderModel;
  using Embedder = typename Model::EmbedderModel;
  static constexpr Index length = maa::MetaWorldNetwork::token_count;
  static constexpr Index numbers = Model::latent_numbers;
  static constexpr bool is_default = std::is_base_of_v<maa::DefaultConfig, Config>;

  // The same for training with a batch of another size than the preset's.
  static maa::TrainOptions with_batch(maa::TrainOptions train, Index batch) {
    train.batch = batch;
    return train;
  }

  // The paper's recipe, or for the default's sizes with its diffusion and rates; the number of policies sets
  // only how many steps there are.
  static maa::PaperRecipe recipe() {
    auto recipe = maa::PaperRecipe::paper(1000, 1000);
    if (is_default) {
      const maa::BehaviorRecipe usual;
      static_cast<maa::FitOptions&>(recipe) = usual;
      recipe.embedder = usual.embedder;
      for (auto* train : {&recipe.autoencoder.train, &recipe.denoiser.train}) {
        train->clip_norm = 1;
        train->ema = 0.999;
      }
    }
    for (auto* train : {&recipe.autoencoder.train, &recipe.embedder.train, &recipe.denoiser.train}) {
      train->learning_rate = {.kind = maa::LearningRateKind::constant, .base = 1e-4};
      train->steps = 1'000'000;
    }
    return recipe;
  }
};

// Copies weights, wherever they are, for a peer.
template <class Model, class BackendT>
void write_parameters(maa::SafetensorsWriter& writer, const BackendT& backend,
                      std::span<const typename BackendT::template Element<float>> weights) {
  const auto values = downloaded_vector(backend, weights);
  maa::add_parameter_copies(writer, maa::tensors_of<Model>(), std::span<const float>(values));
}

// Multiply-adds times two that one sample costs in a UNet over latents of length 2. A kernel-3 convolution is
// three products, the strided and transposed ones use each of two taps once, 1 x 1 convolutions work on both
// positions.
template <class UNet>
double unet_flops() {
  double sum = 0;
  for (const auto& tensor : maa::tensors_of<UNet>()) {
    if (tensor.role == maa::Role::weight) {
      const bool convolution = tensor.shape.size() == 3;
      const Index products = convolution ? std::max<Index>(2, tensor.shape[2]) : 1;
      sum += 2.0 * static_cast<double>(products * tensor.shape[0] * tensor.shape[1]);
    }
  }
  return sum;
}
// Of the same, what depends on the condition alone and need not be repeated in the steps of a sampling run.
template <class UNet>
double condition_parameters() {
  double sum = 0;
  for (const auto& tensor : maa::tensors_of<UNet>()) {
    if (tensor.role == maa::Role::weight && tensor.name.find("cond_encoder") != std::string::npos) {
      sum += static_cast<double>(tensor.size);
    }
  }
  return sum;
}

template <class SetupT, class BackendT>
void write_unet(maa::SafetensorsWriter& writer, const BackendT& backend,
                std::span<const typename BackendT::template Element<float>> weights) {
  using UNet = typename SetupT::UNet;
  writer.set_metadata("latent", maa::concatenate(UNet::latent_channels));
  writer.set_metadata("condition", maa::concatenate(UNet::condition_size));
  for (const auto& [name, text] : maa::structure_of<UNet>()) {
    writer.set_metadata(name, text);
  }
  write_parameters<UNet>(writer, backend, weights);
}

// One pass of the denoiser.
template <class SetupT, class BackendT>
class Forward : public Case {
  using UNet = typename SetupT::UNet;
  using Real = typename BackendT::template Element<float>;

 public:
  Forward(const BackendT& backend, Index batch)
      : backend_(backend),
        batch_(batch),
        weights_(backend, initial_weights<UNet>()),
        x_(backend, normal_numbers(2, batch * SetupT::numbers)),
        conditions_(backend, normal_numbers(3, batch * UNet::condition_size)),
        timesteps_(static_cast<std::size_t>(batch), 50),
        workspace_(backend.make_workspace()) {}

  void run() override {
    [[maybe_unused]] const auto session = hold(backend_);
    workspace_.reset();
    const auto saved =
        UNet::forward(backend_, maa::bind<UNet>(weights_.span()), x_.sequence(batch_, SetupT::length),
                      timesteps_, conditions_.matrix(batch_), workspace_);
    output_ = saved.output.span();
    finish(backend_);
  }
  Work work() const override {
    return {static_cast<double>(batch_) * unet_flops<UNet>(),
            4.0 * static_cast<double>(weights_.host().size()), 0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_unet<SetupT>(writer, backend_, weights_.span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("x", {batch_, SetupT::length, UNet::latent_channels}, x_.host().span());
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.host().span());
    writer.add_scalar("timestep", std::int64_t{50});
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override { return downloaded_vector(backend_, output_); }

 private:
  BackendT backend_;
  Index batch_;
  Input<BackendT> weights_, x_, conditions_;
  std::vector<Index> timesteps_;
  maa::WorkspaceOf<BackendT> workspace_;
  std::span<const Real> output_;
};

// The latents of `batch` policies in the preset's ten denoising steps.
template <class SetupT, class BackendT>
class Sample : public Case {
  using UNet = typename SetupT::UNet;
  using Real = typename BackendT::template Element<float>;

 public:
  Sample(const BackendT& backend, Index batch, maa::Precision precision = maa::Precision::fp32)
      : backend_(backend),
        batch_(batch),
        recipe_(SetupT::recipe()),
        schedule_(recipe_.diffusion),
        weights_(backend, initial_weights<UNet>()),
        packed_(backend_.packed(weights_.span(), precision)),
        conditions_(backend, normal_numbers(3, batch * UNet::condition_size)),
        samples_(backend_.template make_array<float>(batch * SetupT::numbers)),
        workspace_(backend.make_workspace()) {
    // On the CPU, whose goals it is part of, it counts as if in float.
    weight_bytes_ = !maa::in_host_memory<BackendT> && precision != maa::Precision::fp32 ? 2 : 4;
  }

  void run() override {
    auto streams = maa::sample_streams(Rng(4), 0, batch_);
    const auto session = packed_.session();
    workspace_.reset();
    const SequenceView<Real> latent(samples_.data(), batch_, SetupT::length, UNet::latent_channels);
    maa::detail::sample_latents<maa::MetaWorldNetwork, typename SetupT::Config>(
        packed_, maa::bind<UNet>(weights_.span()), recipe_.diffusion, recipe_.sampling, 1,
        conditions_.matrix(batch_), streams, latent, workspace_);
    finish(backend_);
  }
  // The condition's products once, all else at every step.
  Work work() const override {
    const auto steps = static_cast<double>(recipe_.sampling.steps), batch = static_cast<double>(batch_);
    const double once = condition_parameters<UNet>(), all = static_cast<double>(weights_.host().size());
    return {batch * (steps * (unet_flops<UNet>() - 2 * once) + 2 * once),
            weight_bytes_ * (steps * (all - once) + once), 0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_unet<SetupT>(writer, backend_, weights_.span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    const auto& sampling = recipe_.sampling;
    maa::require(sampling.sampler == maa::SamplerKind::ddim && sampling.eta == 0,
                 "the peers know DDIM without noise only");
    Buffer<float> noise(samples_.size());
    auto streams = maa::sample_streams(Rng(4), 0, batch_);
    for (Index i = 0; i < batch_; ++i) {
      const auto first = static_cast<std::size_t>(i * SetupT::numbers);
      streams[static_cast<std::size_t>(i)].fill_normal(noise.span().subspan(first, SetupT::numbers));
    }
    const auto visited = schedule_.timesteps(sampling.steps, sampling.spacing);
    Buffer<std::int64_t> timesteps(sampling.steps);
    Buffer<double> alpha_bar(sampling.steps), next(sampling.steps);
    for (Index k = 0; k < sampling.steps; ++k) {
      const auto i = static_cast<std::size_t>(k);
      timesteps[k] = visited[i];
      alpha_bar[k] = schedule_.alpha_bar(visited[i]);
      next[k] = schedule_.alpha_bar(i + 1 < visited.size() ? visited[i + 1] : -1);
    }
    writer.add_owned("x", {batch_, SetupT::length, UNet::latent_channels}, std::move(noise));
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.host().span());
    writer.add_owned("timesteps", {sampling.steps}, std::move(timesteps));
    writer.add_owned("alpha_bar", {sampling.steps}, std::move(alpha_bar));
    writer.add_owned("alpha_bar_next", {sampling.steps}, std::move(next));
    const auto& diffusion = recipe_.diffusion;
    maa::require(diffusion.prediction_type != maa::PredictionType::v_prediction && diffusion.clip_range > 0,
                 "the peers know clipped predictions of epsilon and of the sample only");
    const bool epsilon = diffusion.prediction_type == maa::PredictionType::epsilon;
    writer.set_metadata("prediction", epsilon ? "epsilon" : "sample");
    writer.set_metadata("clip_range", maa::concatenate(diffusion.clip_range));
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override {
    return downloaded_vector(backend_, std::as_const(samples_).span());
  }

 private:
  BackendT backend_;
  Index batch_;
  maa::PaperRecipe recipe_;
  maa::DiffusionSchedule schedule_;
  Input<BackendT> weights_;
  BackendT packed_;
  Input<BackendT> conditions_;
  typename BackendT::template Array<float> samples_;
  maa::WorkspaceOf<BackendT> workspace_;
  double weight_bytes_;
};

// Sizes and rates of an optimizer, for a peer.
inline void write_optimizer(maa::SafetensorsWriter& writer, const maa::TrainOptions& options) {
  writer.set_metadata("learning_rate", maa::concatenate(options.learning_rate.base));
  writer.set_metadata("beta1", maa::concatenate(options.beta1));
  writer.set_metadata("weight_decay", maa::concatenate(options.weight_decay));
  writer.set_metadata("clip_norm", maa::concatenate(options.clip_norm));
  writer.set_metadata("ema", maa::concatenate(options.ema));
}
// Bytes that a step of AdamW reads plus those it writes: weights, gradients, two moments, and the average.
inline double optimizer_bytes(Index parameters, const maa::TrainOptions& options) {
  return 4.0 * (options.ema > 0 ? 9 : 7) * static_cast<double>(parameters);
}

// Shared by the training cases: the trainer, and the losses of its steps.
template <class Part, class BackendT>
class Training : public Case {
 public:
  using Real = typename BackendT::template Element<float>;
  using Scalar = typename BackendT::Scalar;

  Training(const BackendT& backend, const maa::TrainOptions& options)
      : backend_(backend),
        workspace_(backend.make_workspace()),
        trainer_(backend_, maa::tensors_of<Part>(), options, std::as_const(initial_).span()) {
    initial_ = Buffer<float>();  // the trainer has a copy
  }
  void run() override {
    const auto progress =
        trainer_.step([this](auto weights, auto gradients) { return loss(weights, gradients); });
    losses_.push_back(static_cast<float>(progress.loss));
  }
  std::vector<float> outcome() const override { return losses_; }
  int runs_to_check() const override { return 3; }

 protected:
  virtual Scalar loss(std::span<const Real> weights, std::span<Real> gradients) = 0;

 private:
  Buffer<float> initial_ = initial_weights<Part>();

 protected:
  BackendT backend_;
  maa::WorkspaceOf<BackendT> workspace_;
  maa::Trainer<float, BackendT> trainer_;
  std::vector<float> losses_;
};

// One training step of the denoiser on a fixed batch, as DenoiserStage does it; drawing the noise is left
// out.
template <class SetupT, class BackendT>
class Train : public Training<typename SetupT::UNet, BackendT> {
  using UNet = typename SetupT::UNet;
  using typename Training<UNet, BackendT>::Real;
  using typename Training<UNet, BackendT>::Scalar;

 public:
  Train(const BackendT& backend, Index batch)
      : Training<UNet, BackendT>(backend, SetupT::with_batch(SetupT::recipe().denoiser.train, batch)),
        batch_(batch),
        schedule_(SetupT::recipe().diffusion),
        clean_(backend, normal_numbers(2, batch * SetupT::numbers)),
        noise_(backend, normal_numbers(3, batch * SetupT::numbers)),
        conditions_(backend, normal_numbers(4, batch * UNet::condition_size)) {
    Rng rng(5);
    for (Index i = 0; i < batch; ++i) {
      timesteps_.push_back(rng.below(schedule_.steps()));
    }
  }
  Work work() const override {
    return {3 * static_cast<double>(batch_) * unet_flops<UNet>(), 0,
            optimizer_bytes(maa::parameter_count<UNet>, this->trainer_.options())};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_unet<SetupT>(writer, this->backend_, this->trainer_.weights().span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    const std::vector<Index> shape{batch_, SetupT::length, UNet::latent_channels};
    writer.add("clean", shape, clean_.host().span());
    writer.add("noise", shape, noise_.host().span());
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.host().span());
    Buffer<std::int64_t> timesteps(batch_);
    Buffer<float> alpha_bar(batch_);
    for (Index i = 0; i < batch_; ++i) {
      timesteps[i] = timesteps_[static_cast<std::size_t>(i)];
      alpha_bar[i] = static_cast<float>(schedule_.alpha_bar(timesteps[i]));
    }
    writer.add_owned("timesteps", {batch_}, std::move(timesteps));
    writer.add_owned("alpha_bar", {batch_}, std::move(alpha_bar));
    const bool epsilon = schedule_.options().prediction_type == maa::PredictionType::epsilon;
    writer.set_metadata("prediction", epsilon ? "epsilon" : "sample");
    write_optimizer(writer, this->trainer_.options());
  }

 protected:
  Scalar loss(std::span<const Real> weights, std::span<Real> gradients) override {
    const auto& backend = this->backend_;
    auto& workspace = this->workspace_;
    workspace.reset();
    const auto clean = clean_.matrix(batch_), noise = noise_.matrix(batch_);
    const auto noisy = workspace.template matrix<Real>(batch_, SetupT::numbers);
    const auto target = workspace.template matrix<Real>(batch_, SetupT::numbers);
    schedule_.add_noise(backend, clean, noise, timesteps_, noisy);
    schedule_.target(backend, clean, noise, timesteps_, target);
    const auto w = maa::bind<UNet>(weights);
    const SequenceView<const Real> x(noisy.data, batch_, SetupT::length, UNet::latent_channels);
    const auto saved = UNet::forward(backend, w, x, timesteps_, conditions_.matrix(batch_), workspace);
    const auto doutput = workspace.template sequence<Real>(batch_, x.length, x.channels);
    const auto loss = mse_loss(backend, saved.output.per_sample(), target, doutput.per_sample());
    UNet::backward(backend, w, saved, SequenceView<const Real>(doutput), maa::bind<UNet>(gradients),
                   MatrixView<Real>(), SequenceView<Real>(), workspace);
    return loss;
  }

 private:
  Index batch_;
  maa::DiffusionSchedule schedule_;
  Input<BackendT> clean_, noise_, conditions_;
  std::vector<Index> timesteps_;
};

// AdamW and the moving average alone, over as many parameters as the UNet has. Weight i is w(i) =
// h(2654435761 i) and its gradient h(2246822519 i), with h(n) = (n mod 2^32) / 2^32 - 1/2, so that a peer can
// make them.
template <class SetupT, class BackendT>
class AdamW : public Case {
 public:
  explicit AdamW(const BackendT& backend)
      : backend_(backend),
        weights_(hashed(2654435761u)),
        gradients_(hashed(2246822519u)),
        first_(array()),
        second_(array()),
        average_(hashed(2654435761u)) {}
  void run() override {
    [[maybe_unused]] const auto session = hold(backend_);
    ++step_.step;
    // Any finite number will do: the sums over all are the trainer's, not the optimizer's.
    const auto one = sum_of_squares(backend_, std::as_const(gradients_).span().first(1));
    adamw_if_finite(backend_, step_, 0, one, one, weights_.span(), std::as_const(gradients_).span(),
                    first_.span(), second_.span(), average_.span());
    read(backend_, one);
  }
  Work work() const override { return {0, 0, 4.0 * 9 * static_cast<double>(size)}; }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.set_metadata("parameters", maa::concatenate(size));
    std::string sizes;
    for (const auto& tensor : maa::tensors_of<typename SetupT::UNet>()) {
      sizes += maa::concatenate(sizes.empty() ? "" : ",", tensor.size);
    }
    writer.set_metadata("sizes", sizes);
  }
  int runs_to_check() const override { return 3; }
  // The first thousand weights and averages.
  std::vector<float> outcome() const override {
    auto values = downloaded_vector(backend_, weights_.span().first(shown));
    const auto averages = downloaded_vector(backend_, average_.span().first(shown));
    values.insert(values.end(), averages.begin(), averages.end());
    return values;
  }

 private:
  using Array = typename BackendT::template Array<float>;
  static constexpr Index size = maa::parameter_count<typename SetupT::UNet>;
  static constexpr std::size_t shown = 1000;

  Array array() const { return backend_.template make_array<float>(size); }
  Array hashed(std::uint32_t factor) const {
    Buffer<float> values(size);
    for (Index i = 0; i < size; ++i) {
      values[i] = static_cast<float>(static_cast<std::uint32_t>(i) * factor) * 0x1p-32f - 0.5f;
    }
    auto result = array();
    upload(backend_, std::as_const(values).span(), result.span());
    return result;
  }

  BackendT backend_;
  maa::AdamWStep step_{.learning_rate = 1e-3, .weight_decay = 0.01, .step = 0, .ema_decay = 0.999};
  Array weights_, gradients_, first_, second_, average_;
};

template <class SetupT, class BackendT>
class AutoencoderTrain : public Training<typename SetupT::Autoencoder, BackendT> {
  using Part = typename SetupT::Autoencoder;
  using typename Training<Part, BackendT>::Real;
  using typename Training<Part, BackendT>::Scalar;

 public:
  AutoencoderTrain(const BackendT& backend, Index batch)
      : Training<Part, BackendT>(backend, SetupT::with_batch(SetupT::recipe().autoencoder.train, batch)),
        batch_(batch),
        x_(backend, normal_numbers(2, batch * Part::parameter_size, 0.1)),
        noisy_(backend, with_noise(x_.host())),
        latent_noise_(
            backend, normal_numbers(4, batch * SetupT::numbers, SetupT::recipe().autoencoder.latent_noise)) {}
  // The encoders form no gradient for their input.
  Work work() const override {
    return {static_cast<double>(batch_ * Part::parameter_size * SetupT::Config::latent_size) * (4 + 6), 0,
            optimizer_bytes(maa::parameter_count<Part>, this->trainer_.options())};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_autoencoder(writer, this->backend_, this->trainer_.weights().span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("x", {batch_, Part::parameter_size}, x_.host().span());
    writer.add("noisy", {batch_, Part::parameter_size}, noisy_.host().span());
    writer.add("latent_noise", {batch_, SetupT::length, SetupT::Config::latent_size},
               latent_noise_.host().span());
    write_optimizer(writer, this->trainer_.options());
  }
  static void write_autoencoder(maa::SafetensorsWriter& writer, const BackendT& backend,
                                std::span<const Real> weights) {
    static_assert(SetupT::Config::encoder_depth == 1 && SetupT::Config::decoder_depth == 1);
    std::string tokens;
    for (const Index size : maa::MetaWorldNetwork::token_sizes) {
      tokens += maa::concatenate(tokens.empty() ? "" : ",", size);
    }
    writer.set_metadata("tokens", tokens);
    writer.set_metadata("latent", maa::concatenate(SetupT::Config::latent_size));
    write_parameters<Part>(writer, backend, weights);
  }

 protected:
  Scalar loss(std::span<const Real> weights, std::span<Real> gradients) override {
    const auto& backend = this->backend_;
    auto& workspace = this->workspace_;
    workspace.reset();
    const auto w = maa::bind<Part>(weights);
    const auto g = maa::bind<Part>(gradients);
    const auto x = x_.matrix(batch_);
    const auto encoded = Part::encode(backend, w, noisy_.matrix(batch_), workspace);
    const auto latent =
        workspace.template sequence<Real>(batch_, SetupT::length, SetupT::Config::latent_size);
    copy_matrix(backend, encoded.latent.per_sample(), latent.per_sample());
    add_matrix(backend, latent_noise_.matrix(batch_), latent.per_sample());
    const auto decoded = Part::decode(backend, w, SequenceView<const Real>(latent), workspace);
    const auto dparameters = workspace.template matrix<Real>(x.rows, x.cols);
    const auto loss = mse_loss(backend, decoded.parameters, x, dparameters);
    const auto dlatent =
        workspace.template sequence<Real>(batch_, SetupT::length, SetupT::Config::latent_size);
    Part::decode_backward(backend, w, decoded, MatrixView<const Real>(dparameters), g, dlatent, workspace);
    Part::encode_backward(backend, w, encoded, SequenceView<const Real>(dlatent), g, workspace);
    return loss;
  }

 private:
  static Buffer<float> with_noise(const Buffer<float>& x) {
    auto noisy = normal_numbers(3, x.size(), SetupT::recipe().autoencoder.input_noise);
    for (Index i = 0; i < x.size(); ++i) {
      noisy[i] += x[i];
    }
    return noisy;
  }

  Index batch_;
  Input<BackendT> x_, noisy_, latent_noise_;
};

// Latents to policy weights.
template <class SetupT, class BackendT>
class AutoencoderDecode : public Case {
  using Part = typename SetupT::Autoencoder;
  using Real = typename BackendT::template Element<float>;

 public:
  AutoencoderDecode(const BackendT& backend, Index batch)
      : backend_(backend),
        batch_(batch),
        weights_(backend, initial_weights<Part>()),
        packed_(backend_.packed(weights_.span())),
        latent_(backend, normal_numbers(2, batch * SetupT::numbers)),
        workspace_(backend.make_workspace()) {}
  void run() override {
    [[maybe_unused]] const auto session = hold(backend_);
    workspace_.reset();
    const auto decoded = Part::decode(packed_, maa::bind<Part>(weights_.span()),
                                      latent_.sequence(batch_, SetupT::length), workspace_);
    output_ = decoded.parameters.span();
    finish(backend_);
  }
  Work work() const override {
    const auto products = static_cast<double>(Part::parameter_size * SetupT::Config::latent_size);
    return {2 * static_cast<double>(batch_) * products, 4 * products, 0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    AutoencoderTrain<SetupT, BackendT>::write_autoencoder(writer, backend_, weights_.span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("latent", {batch_, SetupT::length, SetupT::Config::latent_size}, latent_.host().span());
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override { return downloaded_vector(backend_, output_); }

 private:
  BackendT backend_;
  Index batch_;
  Input<BackendT> weights_;
  BackendT packed_;
  Input<BackendT> latent_;
  maa::WorkspaceOf<BackendT> workspace_;
  std::span<const Real> output_;
};

// One contrastive step: pair i of the batch is right for row i.
template <class SetupT, class BackendT>
class EmbedderTrain : public Training<typename SetupT::Embedder, BackendT> {
  using Part = typename SetupT::Embedder;
  using typename Training<Part, BackendT>::Real;
  using typename Training<Part, BackendT>::Scalar;

 public:
  EmbedderTrain(const BackendT& backend, Index batch)
      : Training<Part, BackendT>(backend, SetupT::with_batch(SetupT::recipe().embedder.train, batch)),
        batch_(batch),
        trajectory_(backend, normal_numbers(2, batch * Part::Phi::in)),
        success_(backend, normal_numbers(3, batch * Part::Psi::in)),
        targets_(backend, diagonal(batch)) {}
  // The first layers form no gradient for their input.
  Work work() const override {
    double products = 0;
    for (const auto& tensor : maa::tensors_of<Part>()) {
      if (tensor.role == maa::Role::weight) {
        const bool first = tensor.name == "phi.0.weight" || tensor.name == "psi.0.weight";
        products += static_cast<double>(tensor.size) * (first ? 2 : 3);
      }
    }
    return {2 * static_cast<double>(batch_) * products, 0,
            optimizer_bytes(maa::parameter_count<Part>, this->trainer_.options())};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_parameters<Part>(writer, this->backend_, this->trainer_.weights().span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("trajectory", {batch_, Part::Phi::in}, trajectory_.host().span());
    writer.add("success", {batch_, Part::Psi::in}, success_.host().span());
    write_optimizer(writer, this->trainer_.options());
  }

 protected:
  Scalar loss(std::span<const Real> weights, std::span<Real> gradients) override {
    const auto& backend = this->backend_;
    auto& workspace = this->workspace_;
    workspace.reset();
    const auto w = maa::bind<Part>(weights);
    const auto saved =
        Part::forward(backend, w, trajectory_.matrix(batch_), success_.matrix(batch_), workspace);
    const auto dlogits = workspace.template matrix<Real>(batch_, batch_);
    const auto contrast = Part::contrast(backend, w, saved, workspace);
    const auto loss = info_nce_loss(backend, contrast.logits, targets_.matrix(batch_), dlogits);
    const auto g = maa::bind<Part>(gradients);
    const auto dh = workspace.template matrix<Real>(batch_, Part::embedding_size);
    const auto dv = workspace.template matrix<Real>(batch_, Part::embedding_size);
    Part::contrast_backward(backend, w, saved, contrast, MatrixView<const Real>(dlogits), g, dh, dv,
                            workspace);
    Part::backward(backend, w, saved, MatrixView<const Real>(dh), MatrixView<const Real>(dv), g, workspace);
    return loss;
  }

 private:
  static Buffer<float> diagonal(Index size) {
    Buffer<float> matrix(size * size);
    for (Index i = 0; i < size; ++i) {
      matrix[i * size + i] = 1;
    }
    return matrix;
  }

  Index batch_;
  Input<BackendT> trajectory_, success_, targets_;
};

// Generator::generate, from a demonstration to `count` policies, with the preset's guidances. The generator
// has trained for a step: what it makes is of no use, but it takes as long.
template <class SetupT, class BackendT>
class Generate : public Case {
  using Policy = maa::MetaWorldPolicy;
  using Config = typename SetupT::Config;

 public:
  Generate(const BackendT& backend, Index count, maa::Precision precision = maa::Precision::fp32)
      : generator_(trained(backend)),
        demonstration_(demonstration(99, 0)),
        options_({.count = count, .seed = 1, .precision = precision}) {}
  void run() override { policies_ = generator_.generate(demonstration_, options_); }
  // The denoiser's, for every guidance; what the rest takes is small beside it.
  Work work() const override {
    using UNet = typename SetupT::UNet;
    const auto passes = static_cast<double>(generator_.state().settings.sampling.steps) *
                        static_cast<double>(generator_.state().settings.guidance.size());
    return {passes * static_cast<double>(options_.count) * unet_flops<UNet>(),
            passes * 4.0 * static_cast<double>(maa::parameter_count<UNet>), 0};
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override {
    std::vector<float> values;
    for (const auto& policy : policies_) {
      values.insert(values.end(), policy.weights().begin(), policy.weights().end());
    }
    return values;
  }

 private:
  static maa::Trajectory demonstration(std::uint64_t seed, Index task) {
    using Network = maa::MetaWorldNetwork;
    maa::Trajectory made(Config::prompt.steps + 20, Network::observation_size, Network::action_size);
    Rng rng(seed);
    rng.fill_normal(made.observations().span());
    for (auto& action : made.actions().span()) {
      action = static_cast<float>(std::tanh(rng.normal()));
    }
    made.success_step = made.length() - 5;
    made.task = task == 0 ? "first" : "second";
    made.run = -1;
    return made;
  }
  static maa::Dataset dataset() {
    using Network = maa::MetaWorldNetwork;
    maa::Dataset data(Network::observation_size, Network::action_size, Policy::parameter_size,
                      {"first", "second"});
    for (Index i = 0; i < 8; ++i) {
      data.add_policy({i % 2, i / 2, 0}, Policy::untrained(static_cast<std::uint64_t>(i)).weights());
      data.add_trajectory(demonstration(static_cast<std::uint64_t>(i), i % 2));
    }
    return data;
  }
  // Trained on the CPU, whatever it runs on: the same everywhere.
  static maa::Generator<Policy, Config, BackendT> trained(const BackendT& backend) {
    maa::BehaviorRecipe options;
    options.embedder.train.steps = options.behavior.train.steps = 1;
    options.embedder.train.batch = options.behavior.train.batch = 4;
    options.behavior.queries = 8;
    options.check = false;
    maa::Generator<Policy, Config> generator{Backend(1)};
    generator.fit(dataset(), options);
    const auto file = std::filesystem::temp_directory_path() /
                      maa::concatenate("maa_benchmark_", ::getpid(), ".safetensors");
    generator.save(file);
    auto result = maa::Generator<Policy, Config, BackendT>::load(file, backend);
    std::filesystem::remove(file);
    return result;
  }

  maa::Generator<Policy, Config, BackendT> generator_;
  maa::Trajectory demonstration_;
  maa::GenerateOptions options_;
  std::vector<Policy> policies_;
};

}  // namespace bench
