// Last stage: all models together, by what the generated policies do.
#pragma once

#include <maa/generator/behavior_batch.hpp>
#include <maa/generator/generation.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The chain prompt -> h, v -> condition -> clean-latent estimate -> weights -> actions, and its backward.
// Half of the estimates are formed as sampling begins, from pure noise at the first timestep that it visits;
// half as it goes on: such an estimate, a constant here, noised again at a random timestep.
template <class Network, class Config, class Backend>
class BehaviorStage {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Part = typename Model::WithoutEncoders;
  using Data = TrainingData<Network, Config>;
  using Real = typename Backend::template Element<float>;
  static constexpr const char* name = "behavior";

  BehaviorStage(const Backend& backend, const Data& data, const State& state, const BehaviorOptions& options)
      : backend_(backend),
        data_(data),
        state_(state),
        options_(options),
        schedule_(state.diffusion),
        visited_(schedule_.timesteps(state.sampling.steps, state.sampling.spacing)),
        layout_(Network::layout()),
        workspace_(backend.make_workspace()) {
    require(!options.demonstrations.empty() &&
                std::ranges::all_of(options.demonstrations, [](Index k) { return k > 0; }),
            "fit: expected positive numbers of demonstrations per prompt");
    require(options.huber_width >= 0, "fit: expected a width of the loss that is not negative, found ",
            options.huber_width);
    require(options.validation_prompts > 0, "fit: expected validation prompts, found ",
            options.validation_prompts);
  }

  const TrainOptions& options() const { return options_.train; }

  auto loss(std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index) {
    workspace_.reset();
    host_.reset();
    auto choice = rng.fork(3);
    const auto& choices = options_.demonstrations;
    const Index group = choices[static_cast<std::size_t>(choice.below(static_cast<Index>(choices.size())))];
    const Index count = options_.train.batch;
    const auto& tasks = data_.training_tasks;
    const auto any_task = [&](Index, Rng& draw) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(draw.below(static_cast<Index>(tasks.size())))];
    };
    const auto batch = uploaded_batch(options_, count, group, any_task, rng.fork(1));
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto embedded = Model::EmbedderModel::forward(backend_, w.embedder, batch.trajectory_features,
                                                        batch.success_features, workspace_);
    const auto condition = conditions(embedded, count);
    const Workspace::Scope scope(thread_scratch());
    const auto kept = thread_scratch().span<double>(count);
    auto drop = rng.fork(2);
    std::ranges::generate(kept, [&] { return drop.uniform() < options_.condition_dropout ? 0.0 : 1.0; });
    scale_rows(backend_, kept, condition);

    const auto matrix = [&](Index rows, Index cols) { return workspace_.template matrix<Real>(rows, cols); };
    const auto noisy = matrix(count, Model::latent_numbers);
    const auto timesteps = thread_scratch().span<Index>(count);
    std::ranges::fill(timesteps, visited_.front());
    fill_normal(backend_, rng, noisy);
    const Index again = count / 2;  // the first samples, since prompts come in no order
    if (again > 0) {
      const auto estimated = noisy.row_range(0, again);
      const auto own_timesteps = timesteps.first(static_cast<std::size_t>(again));
      const auto clean = matrix(again, Model::latent_numbers);
      const auto epsilon = matrix(again, Model::latent_numbers);
      {
        const auto denoiser_scope = workspace_.scope();
        estimate(w, estimated, own_timesteps, condition.row_range(0, again), clean);
      }
      fill_normal(backend_, rng, epsilon);
      for (auto& t : own_timesteps) {
        t = visited_[static_cast<std::size_t>(rng.below(static_cast<Index>(visited_.size())))];
      }
      schedule_.add_noise(backend_, clean, epsilon, own_timesteps, estimated);
    }
    const auto dcondition = matrix(count, Model::condition_size);
    const auto loss = pass(w, g, batch, noisy, timesteps, condition, dcondition);
    scale_rows(backend_, kept, dcondition);

    const auto deach = workspace_.template matrix<Real>(count * group, Model::condition_size);
    mean_of_groups_backward(backend_, dcondition, deach);
    const auto dh = workspace_.template matrix<Real>(embedded.h().rows, Config::embedding_size);
    const auto dv = workspace_.template matrix<Real>(embedded.v().rows, Config::embedding_size);
    state_.condition_backward(backend_, deach, dh, dv);
    Model::EmbedderModel::backward(backend_, w.embedder, embedded, MatrixView<const Real>(),
                                   MatrixView<const Real>(dh), MatrixView<const Real>(dv), g.embedder,
                                   workspace_);
    return loss;
  }

  // Mean squared error of the actions of policies generated for prompts of the validation tasks, as
  // deployment generates them, or without their condition for Keep::best_fallback; none without such tasks.
  std::optional<double> validation(std::span<const Real> weights) {
    const auto& tasks = data_.validation_tasks;
    if (tasks.empty()) {
      return std::nullopt;
    }
    const auto session = backend_.session();
    workspace_.reset();
    host_.reset();
    const Rng rng(0x76616c6964u);  // the same prompts and noise for every fit, so that fits compare
    auto options = options_;
    options.augmentation = {};
    options.prompt_action_noise = 0;
    const Index group = options_.demonstrations.front();
    const Index count = options_.validation_prompts * static_cast<Index>(tasks.size());
    const auto in_turn = [&](Index i, Rng&) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(i) % tasks.size()];
    };
    const Batch made(data_, state_, options, count, group, in_turn, rng.fork(0), host_);
    const auto batch = uploaded_batch(made);
    const auto w = bind<Part>(weights);
    const auto embedded = Model::EmbedderModel::forward(backend_, w.embedder, batch.trajectory_features,
                                                        batch.success_features, workspace_);
    const auto condition = conditions(embedded, count);
    static constexpr std::array<double, 1> unconditioned{0};
    const auto guidance = options_.keep == Keep::best_fallback ? std::span<const double>(unconditioned)
                                                               : std::span<const double>(state_.guidance);
    const auto policies =
        Generation<Network, Config, Backend>(backend_, state_, w, workspace_)
            .generate(condition,
                      {made.prompt_observations, made.prompt_actions, group, !state_.restoring_pairs.empty()},
                      guidance, ChoiceMargin(GenerateOptions()), false, false, sample_streams(rng, 1, count),
                      state_.sampling, true);
    return read(backend_, action_loss(policies, batch, MatrixView<Real>()));
  }
  // What is kept of the best validation.
  Keep keep() const { return options_.keep; }

  // The policy that `weights` make without a condition, and their head.
  void write_fallback(std::span<const float> weights, State& state) {
    const auto session = backend_.session();
    workspace_.reset();
    const auto count = std::ssize(weights);
    const auto w =
        bind<Part>(uploaded(backend_, MatrixView<const float>(weights.data(), 1, count), workspace_).span());
    const auto none = workspace_.template matrix<Real>(1, Model::condition_size);
    fill_zero(backend_, none);
    std::vector<Rng> stream{Rng(0x66616c6c)};
    const auto policy = Generation<Network, Config, Backend>(backend_, state_, w, workspace_)
                            .sample(none, 1, stream, state_.sampling, {});
    state.fallback_policy = Buffer<float>(policy.cols);
    download(backend_, std::span<const Real>(policy.span()), state.fallback_policy.span());
    if constexpr (Model::has_head) {
      constexpr auto size = static_cast<std::size_t>(parameter_count<typename Model::HeadModel>);
      state.fallback_head = Buffer<float>(weights.last(size));  // the last of the description
    }
  }

 private:
  using Batch = BehaviorBatch<Network, Config>;

  // A batch where ops can read it.
  struct DeviceBatch {
    MatrixView<const Real> trajectory_features;
    MatrixView<const Real> success_features;
    SequenceView<const Real> prompt_observations;
    SequenceView<const Real> prompt_actions;
    SequenceView<const Real> observations;
    SequenceView<const Real> actions;
  };
  DeviceBatch uploaded_batch(const Batch& batch) {
    const auto matrix = [&](MatrixView<const float> from) { return uploaded(backend_, from, workspace_); };
    const auto sequence = [&](SequenceView<const float> from) {
      return uploaded(backend_, from, workspace_);
    };
    return {matrix(batch.trajectory_features),   matrix(batch.success_features),
            sequence(batch.prompt_observations), sequence(batch.prompt_actions),
            sequence(batch.observations),        sequence(batch.actions)};
  }
  template <class TaskFor>
  DeviceBatch uploaded_batch(const BehaviorOptions& options, Index count, Index group,
                             const TaskFor& task_for, const Rng& rng) {
    return uploaded_batch(Batch(data_, state_, options, count, group, task_for, rng, host_));
  }

  // [prompts, condition_size]
  MatrixView<Real> conditions(const typename Model::EmbedderModel::template Saved<Real>& embedded,
                              Index prompts) {
    const auto each =
        workspace_.template matrix<Real>(embedded.h().rows / Data::segments, Model::condition_size);
    state_.condition_from(backend_, embedded.h(), embedded.v(), each);
    const auto result = workspace_.template matrix<Real>(prompts, Model::condition_size);
    mean_of_groups(backend_, each, result);
    return result;
  }
  // Of normalised latents [policies, latent_numbers].
  auto decode(const typename Model::template Weights<const Real>& w, MatrixView<const Real> latents) {
    const auto unscaled =
        workspace_.template sequence<Real>(latents.rows, Network::token_count, Config::latent_size);
    copy_matrix(backend_, latents, unscaled.per_sample());
    state_.scale_latents(backend_, unscaled.per_sample());
    return Model::AutoencoderModel::decode(backend_, w.autoencoder, SequenceView<const Real>(unscaled),
                                           workspace_);
  }

  // The clean latents that `noisy` ones are estimated to come from; returns what the denoiser saved.
  auto estimate(const typename Model::template Weights<const Real>& w, MatrixView<const Real> noisy,
                std::span<const Index> timesteps, MatrixView<const Real> condition, MatrixView<Real> clean) {
    const SequenceView<const Real> x(noisy.data, noisy.rows, Network::token_count, Config::latent_size);
    auto denoised = Model::DenoiserModel::forward(backend_, w.denoiser, x, timesteps, condition, workspace_);
    schedule_.clean_estimate(backend_, noisy, denoised.output.per_sample(), timesteps, clean);
    return denoised;
  }

  // The loss of the policies estimated from `noisy` and its gradients (dcondition overwritten).
  auto pass(const typename Model::template Weights<const Real>& w,
            const typename Model::template Weights<Real>& g, const DeviceBatch& batch,
            MatrixView<const Real> noisy, std::span<const Index> timesteps, MatrixView<const Real> condition,
            MatrixView<Real> dcondition) {
    const auto scope = workspace_.scope();
    using Denoiser = typename Model::DenoiserModel;
    using Codec = typename Model::AutoencoderModel;
    const Index count = noisy.rows;
    const auto clean = workspace_.template matrix<Real>(count, Model::latent_numbers);
    const auto denoised = estimate(w, noisy, timesteps, condition, clean);
    const auto decoded = decode(w, clean);
    const auto matrix = [&] { return workspace_.template matrix<Real>(count, Codec::parameter_size); };
    const auto policies = matrix();
    copy_matrix(backend_, decoded.parameters, policies);
    state_.standardizer.to_normalized(backend_, policies);

    const auto dpolicies = matrix();
    const auto loss = policy_loss(w, g, batch, policies, dpolicies);
    state_.standardizer.to_normalized_backward(backend_, dpolicies);
    const auto dlatent = workspace_.template sequence<Real>(count, Network::token_count, Config::latent_size);
    Codec::decode_backward(backend_, w.autoencoder, decoded, MatrixView<const Real>(dpolicies), g.autoencoder,
                           dlatent, workspace_);
    state_.scale_latents_backward(backend_, dlatent.per_sample());
    schedule_.clean_estimate_backward(backend_, clean, timesteps, dlatent.per_sample());
    Denoiser::backward(backend_, w.denoiser, denoised, SequenceView<const Real>(dlatent), g.denoiser,
                       dcondition, SequenceView<Real>(), workspace_);
    return loss;
  }
  // The loss of policies after their heads are fitted, if they have such, and its gradient.
  auto policy_loss(const typename Model::template Weights<const Real>& w,
                   const typename Model::template Weights<Real>& g, const DeviceBatch& batch,
                   MatrixView<const Real> policies, MatrixView<Real> dpolicies) {
    if constexpr (Model::has_head) {
      using Head = typename Model::HeadModel;
      const auto corrected = workspace_.template matrix<Real>(policies.rows, policies.cols);
      const auto dcorrected = workspace_.template matrix<Real>(policies.rows, policies.cols);
      const auto saved = Head::forward(backend_, layout_, w.head, policies, batch.prompt_observations,
                                       batch.prompt_actions, corrected, workspace_);
      const auto loss = action_loss(corrected, batch, dcorrected);
      Head::backward(backend_, layout_, w.head, policies, batch.prompt_observations, batch.prompt_actions,
                     saved, MatrixView<const Real>(dcorrected), g.head, dpolicies, workspace_);
      return loss;
    } else {
      return action_loss(policies, batch, dpolicies);
    }
  }

  // Mean squared error of the squashed actions; or, if wanted, the loss that is trained for and its gradient
  // for the policies' weights.
  auto action_loss(MatrixView<const Real> policies, const DeviceBatch& batch, MatrixView<Real> dpolicies) {
    const auto scope = workspace_.scope();
    const auto& target = batch.actions;
    const auto like = [&] {
      return workspace_.template sequence<Real>(target.batch, target.length, target.channels);
    };
    const auto raw = like();
    const auto action = like();
    const auto daction = like();
    const auto saved = policy_batch_forward(backend_, layout_, policies, batch.observations, workspace_, raw);
    constexpr auto squash = Network::squash == Squash::tanh ? Activation::tanh : Activation::identity;
    activation_forward(backend_, squash, raw.span(), action.span());
    if (dpolicies.data == nullptr) {
      return mse_loss(backend_, action.flat(), target.flat(), MatrixView<Real>());
    }
    const double width = options_.huber_width;
    const auto loss = width > 0 ? huber_loss(backend_, width, action.flat(), target.flat(), daction.flat())
                                : mse_loss(backend_, action.flat(), target.flat(), daction.flat());
    activation_backward(backend_, squash, raw.span(), daction.span(), daction.span());
    fill_zero(backend_, dpolicies);
    policy_batch_backward(backend_, layout_, policies, batch.observations, saved, daction,
                          SequenceView<const Real>(), dpolicies);
    return loss;
  }

  const Backend& backend_;
  const Data& data_;
  const State& state_;
  BehaviorOptions options_;
  DiffusionSchedule schedule_;
  std::vector<Index> visited_;
  MlpLayout layout_;
  Workspace host_;
  WorkspaceOf<Backend> workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
