// First stage: the parameter autoencoder on standardised policies (eq. 5).
#pragma once

#include <maa/generator/training_data.hpp>
#include <maa/train/batch_order.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class AutoencoderStage {
 public:
  using Part = typename GeneratorModel<Network, Config>::AutoencoderModel;
  using Data = TrainingData<Network, Config>;
  static constexpr const char* name = "autoencoder";

  AutoencoderStage(const Backend& backend, const Data& data, const AutoencoderOptions& options)
      : backend_(backend),
        data_(data),
        options_(options),
        order_(static_cast<Index>(data.split.train.policies.size()), options.train.batch,
               options.train.seed) {}

  const TrainOptions& options() const { return options_.train; }

  // || x - D(noisy E(noisy x)) ||^2 / parameters, averaged over the batch.
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients, Rng rng,
              Index step) {
    workspace_.reset();
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto x = gather(data_.split.train.policies, order_.batch(step));
    const auto noisy = workspace_.template matrix<float>(x.rows, x.cols);
    add_noise(x.span(), options_.input_noise, rng, noisy.span());
    const auto encoded = Part::encode(backend, w, MatrixView<const float>(noisy), workspace_);
    const auto& latent = encoded.latent;
    const auto noisy_latent =
        workspace_.template sequence<float>(latent.batch, latent.length, latent.channels);
    add_noise(latent.span(), options_.latent_noise, rng, noisy_latent.span());
    const auto before_clamp = workspace_.template matrix<float>(1, latent.size());
    if (options_.clamp_latent) {
      copy_matrix(backend, MatrixView<float>(noisy_latent.data, 1, latent.size()), before_clamp);
      for (float& value : noisy_latent.span()) {
        value = std::clamp(value, -1.0f, 1.0f);
      }
    }
    const auto decoded = Part::decode(backend, w, SequenceView<const float>(noisy_latent), workspace_);
    const auto dparameters = workspace_.template matrix<float>(x.rows, x.cols);
    const double loss = mse_loss(backend, decoded.parameters, x, dparameters);
    const auto dlatent = workspace_.template sequence<float>(latent.batch, latent.length, latent.channels);
    Part::decode_backward(backend, w, decoded, MatrixView<const float>(dparameters), g, dlatent, workspace_);
    const float kept =
        options_.noise_form == NoiseForm::mix ? static_cast<float>(1 - options_.latent_noise) : 1.0f;
    for (Index i = 0; i < dlatent.size(); ++i) {
      const bool clamped = options_.clamp_latent && std::abs(before_clamp.data[i]) > 1.0f;
      dlatent.data[i] = clamped ? 0.0f : kept * dlatent.data[i];
    }
    Part::encode_backward(backend, w, encoded, SequenceView<const float>(dlatent), g, workspace_);
    return loss;
  }

  // Reconstruction error on runs not trained on, without noise; none if no run was held out.
  std::optional<double> validation(std::span<const float> weights) {
    const auto& held_out = data_.split.validation.policies;
    if (held_out.empty()) {
      return std::nullopt;
    }
    const auto w = bind<Part>(weights);
    double sum = 0;
    for_batches(held_out, [&](MatrixView<const float> x, Index) {
      const auto encoded = Part::encode(backend_, w, x, workspace_);
      const auto decoded = Part::decode(backend_, w, SequenceView<const float>(encoded.latent), workspace_);
      sum += mse_loss(backend_, decoded.parameters, x, MatrixView<float>()) * static_cast<double>(x.rows);
    });
    return sum / static_cast<double>(held_out.size());
  }

  // The latents of the training policies: [policies, latent numbers], in the order of split.train.policies.
  Buffer<float> encode_all(std::span<const float> weights) {
    const auto& train = data_.split.train.policies;
    const auto w = bind<Part>(weights);
    constexpr Index numbers = GeneratorModel<Network, Config>::latent_numbers;
    Buffer<float> latents(static_cast<Index>(train.size()) * numbers);
    for_batches(train, [&](MatrixView<const float> x, Index first) {
      const auto encoded = Part::encode(backend_, w, x, workspace_);
      std::copy_n(encoded.latent.data, x.rows * numbers, latents.data() + first * numbers);
    });
    return latents;
  }

 private:
  MatrixView<float> gather(const std::vector<Index>& of, std::span<const Index> positions) {
    const auto x =
        workspace_.template matrix<float>(static_cast<Index>(positions.size()), Part::parameter_size);
    for (std::size_t i = 0; i < positions.size(); ++i) {
      std::copy_n(data_.policy(of[static_cast<std::size_t>(positions[i])]).data, x.cols,
                  x.row(static_cast<Index>(i)));
    }
    return x;
  }
  template <class Body>
  void for_batches(const std::vector<Index>& policies, const Body& body) {
    constexpr Index batch = 64;
    std::vector<Index> positions;
    for (Index first = 0; first < static_cast<Index>(policies.size()); first += batch) {
      workspace_.reset();
      positions.clear();
      for (Index i = first; i < std::min(first + batch, static_cast<Index>(policies.size())); ++i) {
        positions.push_back(i);
      }
      body(MatrixView<const float>(gather(policies, positions)), first);
    }
  }
  void add_noise(std::span<const float> x, double amount, Rng& rng, std::span<float> noisy) const {
    std::fill(noisy.begin(), noisy.end(), 0.0f);
    if (amount > 0) {
      rng.fill_normal(noisy, amount);
    }
    const float kept = options_.noise_form == NoiseForm::mix ? static_cast<float>(1 - amount) : 1.0f;
    for (std::size_t i = 0; i < x.size(); ++i) {
      noisy[i] += kept * x[i];
    }
  }

  const Backend& backend_;
  const Data& data_;
  AutoencoderOptions options_;
  BatchOrder order_;
  Workspace workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
