// Third stage: the conditional latent diffusion (eq. 8).
#pragma once

#include <maa/generator/paper_recipe.hpp>
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
  using Real = typename Backend::template Element<float>;
  static constexpr const char* name = "denoiser";

  // latents [training policies, latent_numbers], already normalised; conditions [prompts, condition_size].
  DenoiserStage(const Backend& backend, const Data& data, const DenoiserOptions& options,
                const DiffusionOptions& diffusion, Buffer<float> latents, Buffer<float> conditions)
      : backend_(backend),
        data_(data),
        options_(options),
        schedule_(diffusion),
        latents_on_host_(std::move(latents)),
        conditions_on_host_(std::move(conditions)),
        latents_(backend, std::as_const(latents_on_host_).span()),
        conditions_(backend, std::as_const(conditions_on_host_).span()),
        order_(static_cast<Index>(data.split.train.policies.size()), options.train.batch, options.train.seed,
               options.train.drop_last),
        workspace_(backend.make_workspace()) {}

  const TrainOptions& options() const { return options_.train; }

  // Mean squared error of the prediction at random timesteps; every policy is paired with a prompt of its own
  // (TrainingData::draw_prompt).
  auto loss(std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index step) {
    workspace_.reset();
    const auto batch = order_.batch(step);
    const auto count = static_cast<Index>(batch.size());
    const Index numbers = Model::latent_numbers;
    constexpr Index condition_size = Model::condition_size;
    const auto clean = workspace_.template matrix<Real>(count, numbers);
    const auto epsilon = workspace_.template matrix<Real>(count, numbers);
    const auto noisy = workspace_.template matrix<Real>(count, numbers);
    const auto target = workspace_.template matrix<Real>(count, numbers);
    const auto condition = workspace_.template matrix<Real>(count, condition_size);
    const auto condition_noise = workspace_.template matrix<Real>(count, condition_size);
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const auto timesteps = scratch.span<Index>(count);
    const auto prompts = scratch.span<Index>(count);
    const auto kept = scratch.span<double>(count);
    fill_normal(backend_, rng, condition_noise, options_.condition_noise);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto policy = data_.split.train.policies[static_cast<std::size_t>(batch[i])];
      prompts[i] = data_.draw_prompt(policy, rng);
      kept[i] = rng.uniform() < options_.condition_dropout ? 0.0 : 1.0;
      timesteps[i] = rng.below(schedule_.steps());
    }
    const auto rows_of = [](const auto& all, Index cols) {
      return MatrixView<const Real>(all.span().data(), std::ssize(all.span()) / cols, cols);
    };
    gather_rows(backend_, rows_of(latents_, numbers), batch, clean);
    gather_rows(backend_, rows_of(conditions_, condition_size), prompts, condition);
    add_matrix(backend_, condition_noise, condition);
    scale_rows(backend_, kept, condition);
    fill_normal(backend_, rng, epsilon);
    schedule_.add_noise(backend_, clean, epsilon, timesteps, noisy);
    schedule_.target(backend_, clean, epsilon, timesteps, target);
    const SequenceView<const Real> x(noisy.data, count, Network::token_count, Config::latent_size);
    const auto w = bind<Part>(weights);
    const auto saved =
        Part::forward(backend_, w, x, timesteps, MatrixView<const Real>(condition), workspace_);
    const auto doutput = workspace_.template sequence<Real>(count, x.length, x.channels);
    const auto loss = mse_loss(backend_, saved.output.per_sample(), target, doutput.per_sample());
    Part::backward(backend_, w, saved, SequenceView<const Real>(doutput), bind<Part>(gradients),
                   MatrixView<Real>(), SequenceView<Real>(), workspace_);
    return loss;
  }

  std::optional<double> validation(std::span<const Real>) { return std::nullopt; }

 private:
  const Backend& backend_;
  const Data& data_;
  DenoiserOptions options_;
  DiffusionSchedule schedule_;
  Buffer<float> latents_on_host_;
  Buffer<float> conditions_on_host_;
  typename Backend::template Constants<float> latents_;
  typename Backend::template Constants<float> conditions_;
  BatchOrder order_;
  WorkspaceOf<Backend> workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
