// Last stage: all models together, by what the generated policies do.
#pragma once

#include <maa/generator/behavior_batch.hpp>
#include <maa/generator/generation.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The chain prompt -> h, v -> condition -> clean-latent estimate -> weights -> actions, and its backward. The
// estimate is formed twice per step, as sampling would: from pure noise at the first timestep that sampling
// visits, and from the first estimate noised again at a random later one.
template <class Network, class Config, class Backend>
class BehaviorStage {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Part = typename Model::WithoutEncoders;
  using Data = TrainingData<Network, Config>;
  static constexpr const char* name = "behavior";

  BehaviorStage(const Backend& backend, const Data& data, const State& state, const BehaviorOptions& options)
      : backend_(backend),
        data_(data),
        state_(state),
        options_(options),
        schedule_(state.diffusion),
        visited_(schedule_.timesteps(state.sampling.steps, state.sampling.spacing)),
        layout_(Network::layout()) {
    require(!options.demonstrations.empty() &&
                std::ranges::all_of(options.demonstrations, [](Index k) { return k > 0; }),
            "fit: expected positive numbers of demonstrations per prompt");
    require(options.validation_prompts > 0, "fit: expected validation prompts, found ",
            options.validation_prompts);
  }

  const TrainOptions& options() const { return options_.train; }

  // The sum over the two estimates.
  double loss(std::span<const float> weights, std::span<float> gradients, Rng rng, Index) {
    workspace_.reset();
    auto choice = rng.fork(3);
    const auto& choices = options_.demonstrations;
    const Index group = choices[static_cast<std::size_t>(choice.below(static_cast<Index>(choices.size())))];
    const Index count = options_.train.batch;
    const auto& tasks = data_.training_tasks;
    const auto any_task = [&](Index, Rng& draw) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(draw.below(static_cast<Index>(tasks.size())))];
    };
    const BehaviorBatch<Network, Config> batch(data_, state_, options_, count, group, any_task, rng.fork(1),
                                               workspace_);
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto embedded = Model::EmbedderModel::forward(
        backend_, w.embedder, MatrixView<const float>(batch.trajectory_features),
        MatrixView<const float>(batch.success_features), workspace_);
    const auto condition = conditions(embedded, count);
    std::vector<bool> dropped;
    auto drop = rng.fork(2);
    for (Index i = 0; i < count; ++i) {
      dropped.push_back(drop.uniform() < options_.condition_dropout);
      if (dropped.back()) {
        fill_zero(backend_, condition.row_range(i, 1));
      }
    }

    const auto dcondition = workspace_.template matrix<float>(count, Model::condition_size);
    const auto dcondition_here = workspace_.template matrix<float>(count, Model::condition_size);
    const auto clean = workspace_.template matrix<float>(count, Model::latent_numbers);
    const auto noisy = workspace_.template matrix<float>(count, Model::latent_numbers);
    std::vector<Index> timesteps(static_cast<std::size_t>(count), visited_.front());
    rng.fill_normal(noisy.span());
    double loss = pass(w, g, batch, noisy, timesteps, condition, clean, dcondition);
    const auto epsilon = workspace_.template matrix<float>(count, Model::latent_numbers);
    rng.fill_normal(epsilon.span());
    for (auto& t : timesteps) {
      t = visited_[static_cast<std::size_t>(rng.below(static_cast<Index>(visited_.size())))];
    }
    schedule_.add_noise(clean, epsilon, timesteps, noisy);
    loss += pass(w, g, batch, noisy, timesteps, condition, clean, dcondition_here);
    add_matrix(backend_, dcondition_here, dcondition);
    for (Index i = 0; i < count; ++i) {
      if (dropped[static_cast<std::size_t>(i)]) {
        fill_zero(backend_, dcondition.row_range(i, 1));
      }
    }

    const auto deach = workspace_.template matrix<float>(count * group, Model::condition_size);
    State::mean_conditions_backward(dcondition, deach);
    const auto dh = workspace_.template matrix<float>(embedded.h().rows, Config::embedding_size);
    const auto dv = workspace_.template matrix<float>(embedded.v().rows, Config::embedding_size);
    state_.condition_backward(backend_, deach, dh, dv);
    Model::EmbedderModel::backward(backend_, w.embedder, embedded, MatrixView<const float>(),
                                   MatrixView<const float>(dh), MatrixView<const float>(dv), g.embedder,
                                   workspace_);
    return loss;
  }

  // Mean squared error of the actions of policies generated for prompts of the validation tasks, as
  // deployment generates them, or without their condition for Keep::best_fallback; none without such tasks.
  std::optional<double> validation(std::span<const float> weights) {
    const auto& tasks = data_.validation_tasks;
    if (tasks.empty()) {
      return std::nullopt;
    }
    workspace_.reset();
    const auto session = backend_.session();
    const Rng rng(0x76616c6964u);  // the same prompts and noise for every fit, so that fits compare
    auto options = options_;
    options.augmentation = {};
    options.prompt_action_noise = 0;
    const Index group = options_.demonstrations.front();
    const Index count = options_.validation_prompts * static_cast<Index>(tasks.size());
    const auto in_turn = [&](Index i, Rng&) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(i) % tasks.size()];
    };
    const BehaviorBatch<Network, Config> batch(data_, state_, options, count, group, in_turn, rng.fork(0),
                                               workspace_);
    const auto w = bind<Part>(weights);
    const auto embedded = Model::EmbedderModel::forward(
        backend_, w.embedder, MatrixView<const float>(batch.trajectory_features),
        MatrixView<const float>(batch.success_features), workspace_);
    const auto condition = conditions(embedded, count);
    static constexpr std::array<double, 1> unconditioned{0};
    const auto guidance = options_.keep == Keep::best_fallback ? std::span<const double>(unconditioned)
                                                               : std::span<const double>(state_.guidance);
    const auto policies =
        Generation<Network, Config, Backend>(backend_, state_, w, workspace_)
            .generate(condition, {batch.prompt_observations, batch.prompt_actions}, guidance, false,
                      sample_streams(rng, 1, count), state_.sampling, true);
    return action_loss(policies, batch, MatrixView<float>());
  }
  // What is kept of the best validation.
  Keep keep() const { return options_.keep; }

  // The policy that `weights` make without a condition, and their head.
  void write_fallback(std::span<const float> weights, State& state) {
    workspace_.reset();
    const auto w = bind<Part>(weights);
    const auto none = workspace_.template matrix<float>(1, Model::condition_size);
    fill_zero(backend_, none);
    std::vector<Rng> stream{Rng(0x66616c6c)};
    const auto policy = Generation<Network, Config, Backend>(backend_, state_, w, workspace_)
                            .sample(none, 1, stream, state_.sampling, {});
    state.fallback_policy = Buffer<float>(std::span<const float>(policy.row_span(0)));
    if constexpr (Model::has_head) {
      constexpr auto size = static_cast<std::size_t>(parameter_count<typename Model::HeadModel>);
      state.fallback_head = Buffer<float>(weights.last(size));  // the last of the description
    }
  }

 private:
  // [prompts, condition_size]
  MatrixView<float> conditions(const typename Model::EmbedderModel::template Saved<float>& embedded,
                               Index prompts) {
    const auto each =
        workspace_.template matrix<float>(embedded.h().rows / Data::segments, Model::condition_size);
    state_.condition_from(backend_, embedded.h(), embedded.v(), each);
    const auto result = workspace_.template matrix<float>(prompts, Model::condition_size);
    State::mean_conditions(each, result);
    return result;
  }
  // Of normalised latents [policies, latent_numbers].
  auto decode(const typename Model::template Weights<const float>& w, MatrixView<const float> latents) {
    const auto unscaled =
        workspace_.template sequence<float>(latents.rows, Network::token_count, Config::latent_size);
    copy_matrix(backend_, latents, unscaled.per_sample());
    state_.latent.invert(unscaled.per_sample());
    return Model::AutoencoderModel::decode(backend_, w.autoencoder, SequenceView<const float>(unscaled),
                                           workspace_);
  }
  // Standardised weights as weights for normalised observations.
  MatrixView<float> standard_to_policies(MatrixView<const float> standardized) {
    const auto policies = workspace_.template matrix<float>(standardized.rows, standardized.cols);
    copy_matrix(backend_, standardized, policies);
    for (Index i = 0; i < policies.rows; ++i) {
      state_.standardizer.to_normalized(policies.row(i));
    }
    return policies;
  }

  // One estimate from `noisy` and its gradients (dcondition overwritten); leaves the estimate in `clean`.
  double pass(const typename Model::template Weights<const float>& w,
              const typename Model::template Weights<float>& g, const BehaviorBatch<Network, Config>& batch,
              MatrixView<const float> noisy, const std::vector<Index>& timesteps,
              MatrixView<const float> condition, MatrixView<float> clean, MatrixView<float> dcondition) {
    const Workspace::Scope scope(workspace_);
    using Denoiser = typename Model::DenoiserModel;
    using Codec = typename Model::AutoencoderModel;
    const Index count = noisy.rows;
    const SequenceView<const float> x(noisy.data, count, Network::token_count, Config::latent_size);
    const auto denoised = Denoiser::forward(backend_, w.denoiser, x, timesteps, condition, workspace_);
    for (Index i = 0; i < count; ++i) {
      const auto map = schedule_.prediction_map(timesteps[static_cast<std::size_t>(i)]);
      for (Index j = 0; j < Model::latent_numbers; ++j) {
        const double estimate = map.x0_x * static_cast<double>(noisy(i, j)) +
                                map.x0_prediction * static_cast<double>(denoised.output.per_sample()(i, j));
        clean(i, j) = static_cast<float>(std::clamp(estimate, -clip(), clip()));
      }
    }
    const auto decoded = decode(w, clean);
    const auto policies = standard_to_policies(decoded.parameters);

    const auto dpolicies = workspace_.template matrix<float>(count, Codec::parameter_size);
    double loss = 0;
    if constexpr (Model::has_head) {
      using Head = typename Model::HeadModel;
      const SequenceView<const float> seen(batch.prompt_observations);
      const SequenceView<const float> done(batch.prompt_actions);
      const auto corrected = workspace_.template matrix<float>(count, Codec::parameter_size);
      const auto dcorrected = workspace_.template matrix<float>(count, Codec::parameter_size);
      const auto saved = Head::forward(backend_, layout_, w.head, MatrixView<const float>(policies), seen,
                                       done, corrected, workspace_);
      loss = action_loss(corrected, batch, dcorrected);
      Head::backward(backend_, layout_, w.head, MatrixView<const float>(policies), seen, done, saved,
                     MatrixView<const float>(dcorrected), g.head, dpolicies, workspace_);
    } else {
      loss = action_loss(policies, batch, dpolicies);
    }

    const auto& deviation = state_.standardizer.deviation();
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < dpolicies.cols; ++j) {
        dpolicies(i, j) *= deviation[j];
      }
    }
    const auto dlatent = workspace_.template sequence<float>(count, x.length, x.channels);
    Codec::decode_backward(backend_, w.autoencoder, decoded, MatrixView<const float>(dpolicies),
                           g.autoencoder, dlatent, workspace_);
    state_.latent.invert_backward(dlatent.per_sample());
    for (Index i = 0; i < count; ++i) {
      const auto map = schedule_.prediction_map(timesteps[static_cast<std::size_t>(i)]);
      for (Index j = 0; j < Model::latent_numbers; ++j) {
        const bool clipped = std::abs(static_cast<double>(clean(i, j))) >= clip();
        dlatent.per_sample()(i, j) *= clipped ? 0.0f : static_cast<float>(map.x0_prediction);
      }
    }
    Denoiser::backward(backend_, w.denoiser, denoised, SequenceView<const float>(dlatent), g.denoiser,
                       dcondition, SequenceView<float>(), workspace_);
    return loss;
  }

  // Mean squared error of the squashed actions, and its gradient for the policies' weights, if wanted.
  double action_loss(MatrixView<const float> policies, const BehaviorBatch<Network, Config>& batch,
                     MatrixView<float> dpolicies) {
    const Workspace::Scope scope(workspace_);
    const auto& target = batch.actions;
    const auto raw = workspace_.template sequence<float>(target.batch, target.length, target.channels);
    const auto action = workspace_.template sequence<float>(target.batch, target.length, target.channels);
    const auto daction = workspace_.template sequence<float>(target.batch, target.length, target.channels);
    const auto saved = policy_batch_forward(backend_, layout_, policies, batch.observations, workspace_, raw);
    constexpr auto squash = Network::squash == Squash::tanh ? Activation::tanh : Activation::identity;
    activation_forward(backend_, squash, raw.span(), action.span());
    if (dpolicies.data == nullptr) {
      return mse_loss(backend_, action.flat(), target.flat(), MatrixView<float>());
    }
    const double loss = mse_loss(backend_, action.flat(), target.flat(), daction.flat());
    activation_backward(backend_, squash, raw.span(), daction.span(), daction.span());
    fill_zero(backend_, dpolicies);
    policy_batch_backward(backend_, layout_, policies, batch.observations, saved, daction,
                          SequenceView<const float>(), dpolicies);
    return loss;
  }

  double clip() const {
    return schedule_.options().clip_sample ? schedule_.options().clip_range
                                           : std::numeric_limits<double>::infinity();
  }

  const Backend& backend_;
  const Data& data_;
  const State& state_;
  BehaviorOptions options_;
  DiffusionSchedule schedule_;
  std::vector<Index> visited_;
  MlpLayout layout_;
  Workspace workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
