// What is measured, one class per case: the benchmarks and the comparison with peers run the same calls. A
// case makes its weights and inputs from fixed seeds, and can write them down for a peer to compute the same.
//
// Names: sample/<model>/<batch>, sample_bf16/... (bfloat16 weights), sample_bf16_units/..., forward/...,
// train/..., adamw/<model>, autoencoder_train/<model>/<batch>, autoencoder_decode/..., embedder_train/...,
// act, act_bf16, act_rows/<observations>, policies/<policies>, behavior/<policies>/<observations>,
// product/<rows>/<in>/<out>. Models: paper, medium, small (the paper's with narrower levels), default
// (FixedConfig).
#pragma once

#include "calibration.hpp"

#include <maa/backend/cpu.hpp>
#include <maa/generator/config.hpp>
#include <maa/generator/options.hpp>
#include <maa/models/policy.hpp>

#include <memory>
#include <string>

namespace bench {

using maa::Buffer;
using maa::MatrixView;
using maa::Rng;
using maa::SequenceView;
using maa::Workspace;
using maa::cpu::Backend;

// What one run cannot do without. Arithmetic counts each convolution of length 2 as three products.
struct Work {
  double flops = 0;
  double read = 0;     // bytes read and not written
  double updated = 0;  // bytes read plus bytes written where both happen

  // Seconds on a machine that reaches its limits.
  double floor(const Limits& limits) const {
    const double memory = read / limits.read + updated / limits.update;
    return limits.flops > 0 ? std::max(flops / limits.flops, memory) : memory;
  }
};

class Case {
 public:
  Case() = default;
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
  virtual ~Case() = default;

  virtual void run() = 0;
  virtual Work work() const = 0;
  // Inputs and sizes for a peer, which must live until the file is written.
  virtual void write_inputs(maa::SafetensorsWriter&) {}
  virtual void write_weights(maa::SafetensorsWriter&) {}
  // What a peer must reproduce: numbers left by runs_to_check() runs of a fresh case.
  virtual std::vector<float> outcome() const { return {}; }
  virtual int runs_to_check() const { return 1; }
};

inline std::vector<float> to_vector(std::span<const float> values) {
  return {values.begin(), values.end()};
}
inline std::span<float> part(Buffer<float>& values, Index count) {
  return values.span().first(static_cast<std::size_t>(count));
}
inline Buffer<float> normal_numbers(std::uint64_t seed, Index count, double deviation = 1) {
  Buffer<float> values(count);
  Rng(seed).fill_normal(values.span(), deviation);
  return values;
}
template <class Model>
Buffer<float> initial_weights() {
  Buffer<float> values(maa::parameter_count<Model>);
  maa::initialize<Model>(values.span(), Rng(1));
  return values;
}

// The paper's sizes with narrower levels.
struct MediumConfig : maa::PaperConfig {
  using UNetLevels = maa::Levels<256, 512, 1024>;
};
struct SmallConfig : maa::PaperConfig {
  using UNetLevels = maa::Levels<128, 256, 512>;
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
  static constexpr bool is_default = std::is_same_v<Config, maa::FixedConfig>;

  // The same for training with a batch of another size than the preset's.
  static maa::TrainOptions with_batch(maa::TrainOptions train, Index batch) {
    train.batch = batch;
    return train;
  }

  // The preset's options; the number of policies sets only how many steps there are.
  static maa::FitOptions options() {
    auto options = is_default ? maa::FitOptions::fixed() : maa::FitOptions::paper(1000, 1000);
    for (auto* train : {&options.autoencoder.train, &options.embedder.train, &options.denoiser.train}) {
      train->learning_rate = {.kind = maa::LearningRateKind::constant, .base = 1e-4};
      train->steps = 1'000'000;
    }
    return options;
  }
};

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

template <class SetupT>
void write_unet(maa::SafetensorsWriter& writer, const Buffer<float>& weights) {
  using UNet = typename SetupT::UNet;
  std::string levels;
  for (const Index channels : UNet::channels) {
    levels += maa::concatenate(levels.empty() ? "" : ",", channels);
  }
  writer.set_metadata("channels", maa::concatenate(UNet::latent_channels));
  writer.set_metadata("condition", maa::concatenate(UNet::condition_size));
  writer.set_metadata("levels", levels);
  writer.set_metadata("kernel", maa::concatenate(SetupT::Config::kernel));
  writer.set_metadata("groups", maa::concatenate(SetupT::Config::groups));
  writer.set_metadata("time", maa::concatenate(SetupT::Config::time_size));
  maa::add_parameters(writer, maa::tensors_of<UNet>(), weights.span());
}

// One pass of the denoiser.
template <class SetupT>
class Forward : public Case {
  using UNet = typename SetupT::UNet;

 public:
  Forward(Index batch, int threads)
      : backend_(threads),
        batch_(batch),
        weights_(initial_weights<UNet>()),
        x_(normal_numbers(2, batch * SetupT::numbers)),
        conditions_(normal_numbers(3, batch * UNet::condition_size)),
        timesteps_(static_cast<std::size_t>(batch), 50) {}

  void run() override {
    workspace_.reset();
    const auto saved = UNet::forward(
        backend_, maa::bind<UNet>(std::as_const(weights_)),
        SequenceView<const float>(x_.data(), batch_, SetupT::length, UNet::latent_channels), timesteps_,
        MatrixView<const float>(conditions_.data(), batch_, UNet::condition_size), workspace_);
    output_ = saved.output.span();
  }
  Work work() const override {
    return {static_cast<double>(batch_) * unet_flops<UNet>(), 4.0 * static_cast<double>(weights_.size()), 0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override { write_unet<SetupT>(writer, weights_); }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("x", {batch_, SetupT::length, UNet::latent_channels}, x_.span());
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.span());
    writer.add_scalar("timestep", std::int64_t{50});
  }
  std::vector<float> outcome() const override { return to_vector(output_); }

 private:
  Backend backend_;
  Index batch_;
  Buffer<float> weights_, x_, conditions_;
  std::vector<Index> timesteps_;
  Workspace workspace_;
  std::span<const float> output_;
};

// The latents of `batch` policies in the preset's ten denoising steps.
template <class SetupT>
class Sample : public Case {
  using UNet = typename SetupT::UNet;

 public:
  Sample(Index batch, int threads, maa::Precision precision = maa::Precision::fp32)
      : backend_(threads),
        batch_(batch),
        options_(SetupT::options()),
        schedule_(options_.denoiser.diffusion),
        weights_(initial_weights<UNet>()),
        prepared_(backend_.prepared(weights_.span(), precision)),
        conditions_(normal_numbers(3, batch * UNet::condition_size)),
        samples_(batch * SetupT::numbers) {}

  void run() override {
    auto streams = maa::sample_streams(Rng(4), 0, batch_);
    const auto w = maa::bind<UNet>(std::as_const(weights_));
    const MatrixView<const float> conditions(conditions_.data(), batch_, UNet::condition_size);
    const MatrixView<float> samples(samples_.data(), batch_, SetupT::numbers);
    const auto session = prepared_.session();
    workspace_.reset();
    const auto visited = schedule_.timesteps(options_.sampling.steps, options_.sampling.spacing);
    const auto modulation = UNet::modulation(prepared_, w, visited, conditions, workspace_);
    maa::draw_samples(schedule_, options_.sampling, streams, samples,
                      [&](MatrixView<const float> x, std::span<const Index> t, MatrixView<float> prediction) {
                        const Workspace::Scope scope(workspace_);
                        const SequenceView<const float> latent(x.data, x.rows, SetupT::length,
                                                               UNet::latent_channels);
                        const Index step = std::ranges::find(visited, t[0]) - visited.begin();
                        const auto output = UNet::infer(prepared_, w, latent, modulation, step, workspace_);
                        maa::cpu::copy_matrix(prepared_, output.per_sample(), prediction);
                      });
  }
  // The condition's products once, all else at every step.
  Work work() const override {
    const auto steps = static_cast<double>(options_.sampling.steps), batch = static_cast<double>(batch_);
    const double once = condition_parameters<UNet>(), all = static_cast<double>(weights_.size());
    return {batch * (steps * (unet_flops<UNet>() - 2 * once) + 2 * once), 4 * (steps * (all - once) + once),
            0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override { write_unet<SetupT>(writer, weights_); }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    const auto& sampling = options_.sampling;
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
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.span());
    writer.add_owned("timesteps", {sampling.steps}, std::move(timesteps));
    writer.add_owned("alpha_bar", {sampling.steps}, std::move(alpha_bar));
    writer.add_owned("alpha_bar_next", {sampling.steps}, std::move(next));
    const auto& diffusion = options_.denoiser.diffusion;
    maa::require(diffusion.prediction_type != maa::PredictionType::v_prediction && diffusion.clip_sample,
                 "the peers know clipped predictions of epsilon and of the sample only");
    const bool epsilon = diffusion.prediction_type == maa::PredictionType::epsilon;
    writer.set_metadata("prediction", epsilon ? "epsilon" : "sample");
    writer.set_metadata("clip_range", maa::concatenate(diffusion.clip_range));
  }
  std::vector<float> outcome() const override { return to_vector(samples_.span()); }

 private:
  Backend backend_;
  Index batch_;
  maa::FitOptions options_;
  maa::DiffusionSchedule schedule_;
  Buffer<float> weights_;
  Backend prepared_;
  Buffer<float> conditions_, samples_;
  Workspace workspace_;
};

// Sizes and rates of an optimizer, for a peer.
inline void write_optimizer(maa::SafetensorsWriter& writer, const maa::TrainOptions& options) {
  writer.set_metadata("learning_rate", maa::concatenate(options.learning_rate.base));
  writer.set_metadata("beta1", maa::concatenate(options.beta1));
  writer.set_metadata("beta2", maa::concatenate(options.beta2));
  writer.set_metadata("epsilon", maa::concatenate(options.epsilon));
  writer.set_metadata("weight_decay", maa::concatenate(options.weight_decay));
  writer.set_metadata("clip_norm", maa::concatenate(options.clip_norm));
  writer.set_metadata("ema_power", options.ema ? maa::concatenate(options.ema->power) : "");
  writer.set_metadata("ema_maximum", options.ema ? maa::concatenate(options.ema->maximum) : "");
}
// Bytes that a step of AdamW reads plus those it writes: weights, gradients, two moments, and the average.
inline double optimizer_bytes(Index parameters, const maa::TrainOptions& options) {
  return 4.0 * (options.ema ? 9 : 7) * static_cast<double>(parameters);
}

// Shared by the training cases: the trainer, and the losses of its steps.
template <class Part>
class Training : public Case {
 public:
  Training(int threads, const maa::TrainOptions& options)
      : backend_(threads),
        trainer_(backend_, maa::tensors_of<Part>(), options, std::as_const(initial_).span()) {
    initial_ = Buffer<float>();  // the trainer has a copy
  }
  void run() override {
    const auto here = [this](const Backend& backend, auto weights, auto gradients) {
      return loss(backend, weights, gradients);
    };
    const auto progress =
        trainer_.fusing_pays()
            ? trainer_.fused_step(here)
            : trainer_.step([&](auto weights, auto gradients) { return here(backend_, weights, gradients); });
    losses_.push_back(static_cast<float>(progress.loss));
  }
  std::vector<float> outcome() const override { return losses_; }
  int runs_to_check() const override { return 3; }

 protected:
  virtual double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients) = 0;

  Buffer<float> initial_ = initial_weights<Part>();
  Backend backend_;
  Workspace workspace_;
  maa::Trainer<float, Backend> trainer_;
  std::vector<float> losses_;
};

// One training step of the denoiser on a fixed batch, as DenoiserStage does it; drawing the noise is left
// out.
template <class SetupT>
class Train : public Training<typename SetupT::UNet> {
  using UNet = typename SetupT::UNet;

 public:
  Train(Index batch, int threads)
      : Training<UNet>(threads, SetupT::with_batch(SetupT::options().denoiser.train, batch)),
        batch_(batch),
        schedule_(SetupT::options().denoiser.diffusion),
        clean_(normal_numbers(2, batch * SetupT::numbers)),
        noise_(normal_numbers(3, batch * SetupT::numbers)),
        conditions_(normal_numbers(4, batch * UNet::condition_size)) {
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
    write_unet<SetupT>(writer, this->trainer_.weights());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    const std::vector<Index> shape{batch_, SetupT::length, UNet::latent_channels};
    writer.add("clean", shape, clean_.span());
    writer.add("noise", shape, noise_.span());
    writer.add("conditions", {batch_, UNet::condition_size}, conditions_.span());
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
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients) override {
    Workspace& workspace = this->workspace_;
    workspace.reset();
    const MatrixView<const float> clean(clean_.data(), batch_, SetupT::numbers);
    const MatrixView<const float> noise(noise_.data(), batch_, SetupT::numbers);
    const auto noisy = workspace.matrix<float>(batch_, SetupT::numbers);
    const auto target = workspace.matrix<float>(batch_, SetupT::numbers);
    schedule_.add_noise(clean, noise, timesteps_, noisy);
    schedule_.target(clean, noise, timesteps_, target);
    const auto w = maa::bind<UNet>(weights);
    const SequenceView<const float> x(noisy.data, batch_, SetupT::length, UNet::latent_channels);
    const auto saved =
        UNet::forward(backend, w, x, timesteps_,
                      MatrixView<const float>(conditions_.data(), batch_, UNet::condition_size), workspace);
    const auto doutput = workspace.sequence<float>(batch_, x.length, x.channels);
    const double loss = maa::cpu::mse_loss(backend, saved.output.per_sample(), target, doutput.per_sample());
    UNet::backward(backend, w, saved, SequenceView<const float>(doutput), maa::bind<UNet>(gradients),
                   MatrixView<float>(), SequenceView<float>(), workspace);
    return loss;
  }

 private:
  Index batch_;
  maa::DiffusionSchedule schedule_;
  Buffer<float> clean_, noise_, conditions_;
  std::vector<Index> timesteps_;
};

// AdamW and the moving average alone, over as many parameters as the UNet has. Weight i is w(i) =
// h(2654435761 i) and its gradient h(2246822519 i), with h(n) = (n mod 2^32) / 2^32 - 1/2, so that a peer can
// make them.
template <class SetupT>
class AdamW : public Case {
 public:
  explicit AdamW(int threads)
      : backend_(threads), weights_(size), gradients_(size), first_(size), second_(size), average_(size) {
    for (Index i = 0; i < size; ++i) {
      weights_[i] = hash(2654435761u, i);
      gradients_[i] = hash(2246822519u, i);
    }
    average_ = weights_;
  }
  void run() override {
    ++step_.step;
    adamw(backend_, step_, weights_.span(), gradients_.span(), first_.span(), second_.span(),
          average_.span());
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
    auto values = to_vector(weights_.span().first(1000));
    const auto averages = to_vector(average_.span().first(1000));
    values.insert(values.end(), averages.begin(), averages.end());
    return values;
  }

 private:
  static constexpr Index size = maa::parameter_count<typename SetupT::UNet>;
  static float hash(std::uint32_t factor, Index i) {
    return static_cast<float>(static_cast<std::uint32_t>(i) * factor) * 0x1p-32f - 0.5f;
  }

  Backend backend_;
  maa::AdamWStep step_{.learning_rate = 1e-3, .weight_decay = 0.01, .step = 0, .ema_decay = 0.999};
  Buffer<float> weights_, gradients_, first_, second_, average_;
};

template <class SetupT>
class AutoencoderTrain : public Training<typename SetupT::Autoencoder> {
  using Part = typename SetupT::Autoencoder;

 public:
  AutoencoderTrain(Index batch, int threads)
      : Training<Part>(threads, SetupT::with_batch(SetupT::options().autoencoder.train, batch)),
        batch_(batch),
        x_(normal_numbers(2, batch * Part::parameter_size, 0.1)),
        noisy_(x_),
        latent_noise_(
            normal_numbers(4, batch * SetupT::numbers, SetupT::options().autoencoder.latent_noise)) {
    const auto noise = normal_numbers(3, x_.size(), SetupT::options().autoencoder.input_noise);
    for (Index i = 0; i < x_.size(); ++i) {
      noisy_[i] += noise[i];
    }
  }
  // The encoders form no gradient for their input.
  Work work() const override {
    return {static_cast<double>(batch_ * Part::parameter_size * SetupT::Config::latent_size) * (4 + 6), 0,
            optimizer_bytes(maa::parameter_count<Part>, this->trainer_.options())};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    write_autoencoder(writer, this->trainer_.weights());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("x", {batch_, Part::parameter_size}, x_.span());
    writer.add("noisy", {batch_, Part::parameter_size}, noisy_.span());
    writer.add("latent_noise", {batch_, SetupT::length, SetupT::Config::latent_size}, latent_noise_.span());
    write_optimizer(writer, this->trainer_.options());
  }
  static void write_autoencoder(maa::SafetensorsWriter& writer, const Buffer<float>& weights) {
    static_assert(SetupT::Config::encoder_depth == 1 && SetupT::Config::decoder_depth == 1);
    std::string tokens;
    for (const Index size : maa::MetaWorldNetwork::token_sizes) {
      tokens += maa::concatenate(tokens.empty() ? "" : ",", size);
    }
    writer.set_metadata("tokens", tokens);
    writer.set_metadata("latent", maa::concatenate(SetupT::Config::latent_size));
    maa::add_parameters(writer, maa::tensors_of<Part>(), weights.span());
  }

 protected:
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients) override {
    Workspace& workspace = this->workspace_;
    workspace.reset();
    const auto w = maa::bind<Part>(weights);
    const auto g = maa::bind<Part>(gradients);
    const MatrixView<const float> x(x_.data(), batch_, Part::parameter_size);
    const MatrixView<const float> noisy(noisy_.data(), batch_, Part::parameter_size);
    const auto encoded = Part::encode(backend, w, noisy, workspace);
    const auto latent = workspace.sequence<float>(batch_, SetupT::length, SetupT::Config::latent_size);
    for (Index i = 0; i < latent.size(); ++i) {
      latent.data[i] = encoded.latent.data[i] + latent_noise_[i];
    }
    const auto decoded = Part::decode(backend, w, SequenceView<const float>(latent), workspace);
    const auto dparameters = workspace.matrix<float>(x.rows, x.cols);
    const double loss = maa::cpu::mse_loss(backend, decoded.parameters, x, dparameters);
    const auto dlatent = workspace.sequence<float>(batch_, SetupT::length, SetupT::Config::latent_size);
    Part::decode_backward(backend, w, decoded, MatrixView<const float>(dparameters), g, dlatent, workspace);
    Part::encode_backward(backend, w, encoded, SequenceView<const float>(dlatent), g, workspace);
    return loss;
  }

 private:
  Index batch_;
  Buffer<float> x_, noisy_, latent_noise_;
};

// Latents to policy weights.
template <class SetupT>
class AutoencoderDecode : public Case {
  using Part = typename SetupT::Autoencoder;

 public:
  AutoencoderDecode(Index batch, int threads)
      : backend_(threads),
        batch_(batch),
        weights_(initial_weights<Part>()),
        prepared_(backend_.prepared(weights_.span())),
        latent_(normal_numbers(2, batch * SetupT::numbers)) {}
  void run() override {
    workspace_.reset();
    const auto decoded = Part::decode(
        prepared_, maa::bind<Part>(std::as_const(weights_)),
        SequenceView<const float>(latent_.data(), batch_, SetupT::length, SetupT::Config::latent_size),
        workspace_);
    output_ = decoded.parameters.span();
  }
  Work work() const override {
    const auto products = static_cast<double>(Part::parameter_size * SetupT::Config::latent_size);
    return {2 * static_cast<double>(batch_) * products, 4 * products, 0};
  }
  void write_weights(maa::SafetensorsWriter& writer) override {
    AutoencoderTrain<SetupT>::write_autoencoder(writer, weights_);
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("latent", {batch_, SetupT::length, SetupT::Config::latent_size}, latent_.span());
  }
  std::vector<float> outcome() const override { return to_vector(output_); }

 private:
  Backend backend_;
  Index batch_;
  Buffer<float> weights_;
  Backend prepared_;
  Buffer<float> latent_;
  Workspace workspace_;
  std::span<const float> output_;
};

// One contrastive step: pair i of the batch is right for row i.
template <class SetupT>
class EmbedderTrain : public Training<typename SetupT::Embedder> {
  using Part = typename SetupT::Embedder;

 public:
  EmbedderTrain(Index batch, int threads)
      : Training<Part>(threads, SetupT::with_batch(SetupT::options().embedder.train, batch)),
        batch_(batch),
        trajectory_(normal_numbers(2, batch * Part::Phi::in)),
        success_(normal_numbers(3, batch * Part::Psi::in)),
        targets_(batch * batch) {
    for (Index i = 0; i < batch; ++i) {
      targets_[i * batch + i] = 1;
    }
  }
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
    maa::add_parameters(writer, maa::tensors_of<Part>(), this->trainer_.weights().span());
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("trajectory", {batch_, Part::Phi::in}, trajectory_.span());
    writer.add("success", {batch_, Part::Psi::in}, success_.span());
    write_optimizer(writer, this->trainer_.options());
  }

 protected:
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients) override {
    Workspace& workspace = this->workspace_;
    workspace.reset();
    const auto w = maa::bind<Part>(weights);
    const auto saved =
        Part::forward(backend, w, MatrixView<const float>(trajectory_.data(), batch_, Part::Phi::in),
                      MatrixView<const float>(success_.data(), batch_, Part::Psi::in), workspace);
    const auto dlogits = workspace.matrix<float>(batch_, batch_);
    const double loss = maa::cpu::info_nce_loss(
        backend, saved.logits, MatrixView<const float>(targets_.data(), batch_, batch_), dlogits);
    Part::backward(backend, w, saved, MatrixView<const float>(dlogits), MatrixView<const float>(),
                   MatrixView<const float>(), maa::bind<Part>(gradients), workspace);
    return loss;
  }

 private:
  Index batch_;
  Buffer<float> trajectory_, success_, targets_;
};

// The weights of `count` freshly initialised policies of the paper's size, [count, parameters].
inline Buffer<float> policy_weights(Index count) {
  constexpr Index size = maa::parameter_count<maa::MetaWorldNetwork>;
  Buffer<float> all(count * size);
  for (Index i = 0; i < count; ++i) {
    const auto policy = maa::MetaWorldPolicy::untrained(static_cast<std::uint64_t>(i));
    std::copy_n(policy.weights().data(), size, all.data() + i * size);
  }
  return all;
}

// y = x W' with prepared weights, x [rows, in], W [out, in]. Peers derive from it.
class Product : public Case {
 public:
  Product(Index rows, Index in, Index out, int threads)
      : threads_(threads),
        rows_(rows),
        in_(in),
        out_(out),
        backend_(threads),
        x_(normal_numbers(1, rows * in)),
        weight_(normal_numbers(2, in * out)),
        prepared_(backend_.prepared(weight_.span())),
        y_(rows * out) {}
  void run() override {
    linear_forward(prepared_, MatrixView<const float>(x_.data(), rows_, in_), weight_.data(), nullptr,
                   MatrixView<float>(y_.data(), rows_, out_));
  }
  Work work() const override {
    const auto weights = static_cast<double>(in_ * out_);
    return {2 * static_cast<double>(rows_) * weights, 4 * weights, 0};
  }
  std::vector<float> outcome() const override { return to_vector(y_.span()); }

 protected:
  int threads_;
  Index rows_, in_, out_;
  Backend backend_;
  Buffer<float> x_, weight_;
  Backend prepared_;
  Buffer<float> y_;
};

// Shared by the policy cases: weights [policies, parameters] and observations [policies, rows, observation].
class PolicyCase : public Case {
 protected:
  using Network = maa::MetaWorldNetwork;
  static constexpr Index parameters = maa::parameter_count<Network>;
  static constexpr Index observation_size = Network::observation_size;
  static constexpr Index action_size = Network::action_size;
  // The log_std head is not run.
  static constexpr double used = static_cast<double>(parameters - (Network::last_hidden + 1) * action_size);

  PolicyCase(Index policies, Index rows, int threads)
      : backend_(threads),
        policies_(policies),
        rows_(rows),
        weights_(policy_weights(policies)),
        observations_(normal_numbers(2, policies * rows * observation_size)) {}

  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("weights", {policies_, parameters}, weights_.span());
    writer.add("observations", {policies_, rows_, observation_size}, observations_.span());
  }
  MatrixView<const float> weights() const { return {weights_.data(), policies_, parameters}; }
  SequenceView<const float> observations() const {
    return {observations_.data(), policies_, rows_, observation_size};
  }

  Backend backend_;
  Index policies_, rows_;
  Buffer<float> weights_, observations_;
};

// One action for one observation at a time, of 64 in turn.
template <maa::Storage storage>
class Act : public PolicyCase {
  using Policy = maa::MlpPolicy<Network, storage>;

 public:
  explicit Act(int threads)
      : PolicyCase(1, count, threads),
        policy_(std::as_const(weights_).span()),
        actions_(count * action_size) {}
  void run() override {
    next_ = (next_ + 1) % count;
    policy_.act(
        typename Policy::Observation(observations_.data() + next_ * observation_size, observation_size),
        typename Policy::Action(actions_.data() + next_ * action_size, action_size));
  }
  Work work() const override { return {2 * used, 0, 0}; }
  int runs_to_check() const override { return count; }
  std::vector<float> outcome() const override { return to_vector(actions_.span()); }

 private:
  static constexpr int count = 64;

  Policy policy_;
  Buffer<float> actions_;
  Index next_ = 0;
};

// One policy, many observations at once.
class ActRows : public PolicyCase {
 public:
  ActRows(Index rows, int threads)
      : PolicyCase(1, rows, threads), policy_(std::as_const(weights_).span()), actions_(rows * action_size) {}
  void run() override { policy_.act_batch(observations_.span(), actions_.span()); }
  Work work() const override { return {2 * used * static_cast<double>(rows_), 0, 0}; }
  std::vector<float> outcome() const override { return to_vector(actions_.span()); }

 private:
  maa::MetaWorldPolicy policy_;
  Buffer<float> actions_;
};

// Many policies, each its own observation; the heads' means.
class Policies : public PolicyCase {
 public:
  Policies(Index policies, int threads) : PolicyCase(policies, 1, threads), means_(policies * action_size) {}
  void run() override {
    policy_batch_infer(backend_, Network::layout(), weights(),
                       maa::cpu::PolicyObservations<float>(observations()),
                       SequenceView<float>(means_.data(), policies_, 1, action_size));
  }
  Work work() const override {
    return {2 * used * static_cast<double>(policies_), 4 * used * static_cast<double>(policies_), 0};
  }
  std::vector<float> outcome() const override { return to_vector(means_.span()); }

 private:
  Buffer<float> means_;
};

// A loss on what policies do, and its gradient for their weights.
class Behavior : public PolicyCase {
 public:
  Behavior(Index policies, Index rows, int threads)
      : PolicyCase(policies, rows, threads),
        targets_(normal_numbers(3, policies * rows * action_size)),
        gradients_(policies * parameters) {}
  void run() override {
    workspace_.reset();
    const auto layout = Network::layout();
    const maa::cpu::PolicyObservations<float> seen(observations());
    const auto means = workspace_.sequence<float>(policies_, rows_, action_size);
    const auto dmeans = workspace_.sequence<float>(policies_, rows_, action_size);
    const auto saved = policy_batch_forward(backend_, layout, weights(), seen, workspace_, means);
    loss_ = static_cast<float>(maa::cpu::mse_loss(
        backend_, means.flat(), MatrixView<const float>(targets_.data(), policies_ * rows_, action_size),
        dmeans.flat()));
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    policy_batch_backward(backend_, layout, weights(), seen, saved, SequenceView<const float>(dmeans), {},
                          MatrixView<float>(gradients_.data(), policies_, parameters));
  }
  // No gradient for the observations.
  Work work() const override {
    const double first = static_cast<double>((observation_size + 1) * Network::hidden_sizes[0]);
    const auto rows = static_cast<double>(policies_ * rows_);
    return {2 * rows * (3 * used - first), 0, 4.0 * 2 * used * static_cast<double>(policies_)};
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    PolicyCase::write_inputs(writer);
    writer.add("targets", {policies_, rows_, action_size}, targets_.span());
  }
  std::vector<float> outcome() const override {
    auto values = to_vector(gradients_.span());
    values.push_back(loss_);
    return values;
  }

 private:
  Buffer<float> targets_, gradients_;
  Workspace workspace_;
  float loss_ = 0;
};

namespace detail {

template <class Config>
std::unique_ptr<Case> make_model_case(const std::string& kind, Index batch, int threads) {
  using S = Setup<Config>;
  if (kind == "forward") return std::make_unique<Forward<S>>(batch, threads);
  if (kind == "sample") return std::make_unique<Sample<S>>(batch, threads);
  if (kind == "sample_bf16") {
    return std::make_unique<Sample<S>>(batch, threads, maa::Precision::bf16_weights);
  }
  if (kind == "sample_bf16_units") return std::make_unique<Sample<S>>(batch, threads, maa::Precision::bf16);
  if (kind == "train") return std::make_unique<Train<S>>(batch, threads);
  if (kind == "adamw") return std::make_unique<AdamW<S>>(threads);
  if constexpr (std::is_same_v<Config, maa::PaperConfig> || S::is_default) {
    if (kind == "autoencoder_train") return std::make_unique<AutoencoderTrain<S>>(batch, threads);
    if (kind == "autoencoder_decode") return std::make_unique<AutoencoderDecode<S>>(batch, threads);
    if (kind == "embedder_train") return std::make_unique<EmbedderTrain<S>>(batch, threads);
  }
  return nullptr;
}

}  // namespace detail

// The parts of a name between its slashes.
inline std::vector<std::string> split_name(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Null for a name that means nothing, or something that the library does not do.
inline std::unique_ptr<Case> make_case(const std::string& name, int threads) {
  auto parts = split_name(name);
  const std::string kind = parts[0];
  parts.resize(4);
  const auto number = [&](std::size_t i) {
    return static_cast<Index>(std::strtol(parts[i].c_str(), nullptr, 10));
  };
  if (kind == "act") return std::make_unique<Act<maa::Storage::fp32>>(threads);
  if (kind == "act_bf16") return std::make_unique<Act<maa::Storage::bf16>>(threads);
  if (kind == "act_rows") return std::make_unique<ActRows>(number(1), threads);
  if (kind == "policies") return std::make_unique<Policies>(number(1), threads);
  if (kind == "behavior") return std::make_unique<Behavior>(number(1), number(2), threads);
  if (kind == "product") return std::make_unique<Product>(number(1), number(2), number(3), threads);
  const Index batch = number(2);
  if (parts[1] == "paper") return detail::make_model_case<maa::PaperConfig>(kind, batch, threads);
  if (parts[1] == "medium") return detail::make_model_case<MediumConfig>(kind, batch, threads);
  if (parts[1] == "small") return detail::make_model_case<SmallConfig>(kind, batch, threads);
  if (parts[1] == "default") return detail::make_model_case<maa::FixedConfig>(kind, batch, threads);
  return nullptr;
}

}  // namespace bench
