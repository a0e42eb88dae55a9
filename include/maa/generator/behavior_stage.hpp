// Last stage: all models together, by what the generated policies do.
#pragma once

#include <maa/generator/behavior_batch.hpp>
#include <maa/generator/generation.hpp>
#include <maa/generator/latent_path.hpp>

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

  MAA_COLD BehaviorStage(const Backend& backend, const Data& data, State& state,
                         const BehaviorOptions& options)
      : backend_(backend),
        data_(data),
        state_(state),
        options_(options),
        path_(state),
        schedule_(state.settings.diffusion),
        visited_(schedule_.timesteps(state.settings.sampling.steps, state.settings.sampling.spacing)),
        layout_(Network::layout()),
        workspace_(backend.make_workspace()) {
    require(!options.demonstrations.empty(),
            "fit: expected numbers of demonstrations per prompt, found none");
  }

  const TrainOptions& options() const { return options_.train; }

  auto loss(std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index) {
    workspace_.reset();
    host_.reset();
    auto choice = rng.fork(3);
    const auto& choices = options_.demonstrations;
    const Index group = choices[static_cast<std::size_t>(choice.below(static_cast<Index>(choices.size())))];
    const Index count = options_.train.batch;
    head_fit_.known = choice.uniform() < 0.5;
    const auto& tasks = data_.training_tasks;
    const auto any_task = [&](Index, Rng& draw) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(draw.below(static_cast<Index>(tasks.size())))];
    };
    const auto batch =
        uploaded_batch(Batch(data_, state_, options_, count, group, any_task, rng.fork(1), host_));
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto prompt = path_.forward(backend_, w.embedder, batch.features, count, workspace_);
    const auto condition = prompt.condition;
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

    path_.backward(backend_, w.embedder, prompt, MatrixView<const Real>(dcondition), g.embedder, workspace_);
    return loss;
  }

  // Mean squared error of the actions of policies that are generated for prompts of the validation tasks, by
  // default without a condition; none without such tasks.
  std::optional<double> validation(std::span<const Real> weights) { return validation(weights, 0); }
  MAA_COLD std::optional<double> validation(std::span<const Real> weights, double guidance) {
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
    options.maker_queries = 0;
    const Index group = options_.demonstrations.front();
    const Index count = validation_prompts * static_cast<Index>(tasks.size());
    const auto in_turn = [&](Index i, Rng&) -> const TaskTrajectories& {
      return tasks[static_cast<std::size_t>(i) % tasks.size()];
    };
    const Batch made(data_, state_, options, count, group, in_turn, rng.fork(0), host_);
    const auto batch = uploaded_batch(made);
    const auto w = bind<Part>(weights);
    const auto condition =
        guidance == 0 ? no_condition(count)
                      : MatrixView<const Real>(
                            path_.forward(backend_, w.embedder, batch.features, count, workspace_).condition);
    auto streams = sample_streams(rng, 1, count);
    Generation<Network, Config, Backend> generation(backend_, state_, w, workspace_);
    MatrixView<Real> policies = generation.sample(condition, guidance, streams, state_.settings.sampling, {});
    if constexpr (Model::has_head) {
      policies = generation.fit_heads(policies, made.support, w.head);
    }
    return read(backend_, action_loss(policies, batch, MatrixView<Real>()));
  }

  // The policy that `weights` make without a condition, and their head.
  MAA_COLD void write_fallback(std::span<const float> weights) requires(Model::has_head) {
    const auto session = backend_.session();
    workspace_.reset();
    const auto count = std::ssize(weights);
    const auto w =
        bind<Part>(uploaded(backend_, MatrixView<const float>(weights.data(), 1, count), workspace_).span());
    std::vector<Rng> stream{Rng(0x66616c6c)};
    const auto policy = Generation<Network, Config, Backend>(backend_, state_, w, workspace_)
                            .sample(no_condition(1), 1, stream, state_.settings.sampling, {});
    state_.fallback_policy = Buffer<float>(policy.cols);
    download(backend_, std::span<const Real>(policy.span()), state_.fallback_policy.span());
    const auto size = static_cast<std::size_t>(parameter_count<typename Model::HeadModel>);
    state_.fallback_head = Buffer<float>(weights.last(size));  // the last of the description
  }

 private:
  using Batch = BehaviorBatch<Network, Config>;
  using Latents = LatentPath<Network, Config, Real>;

  static constexpr Index validation_prompts = 8;  // of each task

  // A batch where ops can read it.
  struct DeviceBatch {
    PromptFeatures<const Real> features;
    SequenceView<const Real> support_observations;
    SequenceView<const Real> support_actions;
    SequenceView<const Real> observations;
    SequenceView<const Real> actions;
  };
  DeviceBatch uploaded_batch(const Batch& batch) {
    const auto sequence = [&](SequenceView<const float> from) {
      return uploaded(backend_, from, workspace_);
    };
    return {uploaded_features(backend_, batch.features, workspace_), sequence(batch.support.observations),
            sequence(batch.support.actions), sequence(batch.observations), sequence(batch.actions)};
  }
  MatrixView<const Real> no_condition(Index prompts) {
    const auto none = workspace_.template matrix<Real>(prompts, Model::condition_size);
    fill_zero(backend_, none);
    return none;
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
    const auto made = Latents::forward(backend_, state_, w.autoencoder, clean, workspace_);
    const auto dpolicies = workspace_.template matrix<Real>(count, Codec::parameter_size);
    const auto loss = policy_loss(w, g, batch, made.policies(), dpolicies);
    const auto dlatent = workspace_.template sequence<Real>(count, Network::token_count, Config::latent_size);
    Latents::backward(backend_, state_, w.autoencoder, made, dpolicies, g.autoencoder, dlatent.per_sample(),
                      workspace_);
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
      const auto saved = Head::forward(backend_, layout_, w.head, policies, batch.support_observations,
                                       batch.support_actions, corrected, workspace_, head_fit_);
      const auto loss = action_loss(corrected, batch, dcorrected);
      Head::backward(backend_, layout_, w.head, policies, batch.support_observations, batch.support_actions,
                     saved, MatrixView<const Real>(dcorrected), g.head, dpolicies, workspace_, head_fit_);
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
    const auto squash = Network::squashing();
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
  State& state_;
  BehaviorOptions options_;
  PromptPath<Network, Config> path_;
  DiffusionSchedule schedule_;
  std::vector<Index> visited_;
  MlpLayout layout_;
  HeadFit head_fit_;  // of the present step: policies must suit both kinds of prompts
  Workspace host_;
  WorkspaceOf<Backend> workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
