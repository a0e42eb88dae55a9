// First stage: the parameter autoencoder on standardised policies (eq. 5).
#pragma once

#include <maa/generator/paper_recipe.hpp>
#include <maa/generator/zoo.hpp>
#include <maa/train/batch_order.hpp>

#include <limits>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class AutoencoderStage {
 public:
  using Part = typename GeneratorModel<Network, Config>::AutoencoderModel;
  using Data = TrainingData<Network, Config>;
  using Real = typename Backend::template Element<float>;
  static constexpr const char* name = "autoencoder";

  AutoencoderStage(const Backend& backend, const Data& data, const AutoencoderOptions& options)
      : backend_(backend),
        data_(data),
        options_(options),
        order_(static_cast<Index>(data.split.train.policies.size()), options.train.batch, options.train.seed,
               options.train.drop_last),
        zoo_(backend, data),
        workspace_(backend.make_workspace()) {}

  const TrainOptions& options() const { return options_.train; }

  // || x - D(noisy E(noisy x)) ||^2 / parameters, averaged over the batch.
  auto loss(std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index step) {
    workspace_.reset();
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto x = zoo_.gather(data_.split.train.policies, order_.batch(step), workspace_);
    const auto noisy = workspace_.template matrix<Real>(x.rows, x.cols);
    add_noise(x, options_.input_noise, rng, noisy);
    const auto encoded = Part::encode(backend_, w, MatrixView<const Real>(noisy), workspace_);
    const auto& latent = encoded.latent;
    const auto noisy_latent = like(latent);
    add_noise(latent.flat(), options_.latent_noise, rng, noisy_latent.flat());
    const auto decoded_from = options_.clamp_latent ? like(latent) : noisy_latent;
    if (options_.clamp_latent) {
      clamp(backend_, 1.0f, noisy_latent.flat(), decoded_from.flat());
    }
    const auto decoded = Part::decode(backend_, w, SequenceView<const Real>(decoded_from), workspace_);
    const auto dparameters = workspace_.template matrix<Real>(x.rows, x.cols);
    const auto loss = mse_loss(backend_, decoded.parameters, x, dparameters);
    const auto dlatent = like(latent);
    Part::decode_backward(backend_, w, decoded, MatrixView<const Real>(dparameters), g, dlatent, workspace_);
    const Workspace::Scope scope(thread_scratch());
    const auto kept = thread_scratch().span<double>(latent.batch);
    std::ranges::fill(kept, share_kept(options_.latent_noise));
    const double limit = options_.clamp_latent ? 1.0 : std::numeric_limits<double>::infinity();
    scale_rows_inside(backend_, noisy_latent.per_sample(), limit, kept, dlatent.per_sample());
    Part::encode_backward(backend_, w, encoded, SequenceView<const Real>(dlatent), g, workspace_);
    return loss;
  }

  // Reconstruction error on runs not trained on, without noise; none if no run was held out.
  std::optional<double> validation(std::span<const Real> weights) {
    const auto& held_out = data_.split.validation.policies;
    if (held_out.empty()) {
      return std::nullopt;
    }
    const auto w = bind<Part>(weights);
    double sum = 0;
    zoo_.for_batches(held_out, workspace_, [&](MatrixView<const Real> x, Index) {
      const auto encoded = Part::encode(backend_, w, x, workspace_);
      const auto decoded = Part::decode(backend_, w, SequenceView<const Real>(encoded.latent), workspace_);
      const auto error = mse_loss(backend_, decoded.parameters, x, MatrixView<Real>());
      sum += read(backend_, error) * static_cast<double>(x.rows);
    });
    return sum / static_cast<double>(held_out.size());
  }

 private:
  SequenceView<Real> like(SequenceView<Real> view) {
    return workspace_.template sequence<Real>(view.batch, view.length, view.channels);
  }
  // How much of the signal is left when noise is added.
  double share_kept(double amount) const { return options_.noise_form == NoiseForm::mix ? 1 - amount : 1.0; }
  void add_noise(MatrixView<const Real> x, double amount, Rng& rng, MatrixView<Real> noisy) const {
    if (amount > 0) {
      fill_normal(backend_, rng, noisy, amount);
    } else {
      fill_zero(backend_, noisy);
    }
    add_scaled(backend_, static_cast<float>(share_kept(amount)), x, noisy);
  }

  const Backend& backend_;
  const Data& data_;
  AutoencoderOptions options_;
  BatchOrder order_;
  Zoo<Network, Config, Backend> zoo_;
  WorkspaceOf<Backend> workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
