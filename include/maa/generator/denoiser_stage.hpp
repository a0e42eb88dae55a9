// Third stage: the conditional latent diffusion (eq. 8).
#pragma once

#include <maa/generator/training_data.hpp>
#include <maa/train/batch_order.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class DenoiserStage {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Part = typename Model::DenoiserModel;
  using Data = TrainingData<Network, Config>;
  static constexpr const char* name = "denoiser";

  // latents [training policies, latent_numbers], already normalised; conditions [prompts, condition_size].
  DenoiserStage(const Backend& backend, const Data& data, const DenoiserOptions& options,
                Buffer<float> latents, Buffer<float> conditions)
      : backend_(backend),
        data_(data),
        options_(options),
        schedule_(options.diffusion),
        latents_(std::move(latents)),
        conditions_(std::move(conditions)),
        order_(static_cast<Index>(data.split.train.policies.size()), options.train.batch,
               options.train.seed) {}

  const TrainOptions& options() const { return options_.train; }

  // Mean squared error of the prediction at random timesteps; every policy is paired with a random prompt of
  // its task.
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients, Rng rng,
              Index step) {
    workspace_.reset();
    const auto batch = order_.batch(step);
    const auto count = static_cast<Index>(batch.size());
    constexpr Index numbers = Model::latent_numbers;
    const auto clean = workspace_.template matrix<float>(count, numbers);
    const auto epsilon = workspace_.template matrix<float>(count, numbers);
    const auto noisy = workspace_.template matrix<float>(count, numbers);
    const auto target = workspace_.template matrix<float>(count, numbers);
    const auto condition = workspace_.template matrix<float>(count, Model::condition_size);
    std::vector<Index> timesteps(batch.size());
    rng.fill_normal(condition.span(), options_.condition_noise);
    for (Index i = 0; i < count; ++i) {
      const auto position = batch[static_cast<std::size_t>(i)];
      const auto policy = data_.split.train.policies[static_cast<std::size_t>(position)];
      std::copy_n(latents_.data() + position * numbers, numbers, clean.row(i));
      const auto prompt = data_.draw_prompt(data_.dataset.policies[static_cast<std::size_t>(policy)], rng);
      const float* embedding = conditions_.data() + prompt * Model::condition_size;
      for (Index j = 0; j < Model::condition_size; ++j) {
        condition(i, j) += embedding[j];
      }
      if (rng.uniform() < options_.condition_dropout) {
        std::fill_n(condition.row(i), Model::condition_size, 0.0f);
      }
      timesteps[static_cast<std::size_t>(i)] = rng.below(schedule_.steps());
    }
    rng.fill_normal(epsilon.span());
    schedule_.add_noise(clean, epsilon, timesteps, noisy);
    schedule_.target(clean, epsilon, timesteps, target);
    const SequenceView<const float> x(noisy.data, count, Network::token_count, Config::latent_size);
    const auto w = bind<Part>(weights);
    const auto saved =
        Part::forward(backend, w, x, timesteps, MatrixView<const float>(condition), workspace_);
    const auto doutput = workspace_.template sequence<float>(count, x.length, x.channels);
    const double loss = mse_loss(backend, saved.output.per_sample(), target, doutput.per_sample());
    Part::backward(backend, w, saved, SequenceView<const float>(doutput), bind<Part>(gradients),
                   MatrixView<float>(), SequenceView<float>(), workspace_);
    return loss;
  }

  std::optional<double> validation(std::span<const float>) { return std::nullopt; }

 private:
  const Backend& backend_;
  const Data& data_;
  DenoiserOptions options_;
  DiffusionSchedule schedule_;
  Buffer<float> latents_;
  Buffer<float> conditions_;
  BatchOrder order_;
  Workspace workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
