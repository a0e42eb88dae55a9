// How noisy generated policies are: the part of the decoder that writes their log_std heads. It is fitted
// after all else, for a loss on actions says nothing about it, and changes nothing else.
#pragma once

#include <maa/backend/cpu.hpp>
#include <maa/generator/behavior_recipe.hpp>
#include <maa/generator/fitting.hpp>
#include <maa/generator/generation.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Who says how noisy a prompt's policy is.
enum class NoiseSource { policy, target_actions, generated };

template <class Network, class Config, class Backend>
class LogStdFit {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Codec = typename Model::AutoencoderModel;

  explicit LogStdFit(Fitting<Network, Config, Backend>& fitting)
      : fitting_(fitting), data_(fitting.data()), state_(fitting.state()) {}

  // Adam on the mean of r^2 exp(-2 log_std) / 2 + log_std over states of prompts and policies generated for
  // them. r is the deviation, before squashing, of the policy that made the prompt; where none is known, what
  // was done less target_actions, if they differ; else the deviation of another policy of its run or task;
  // and without policies what was done less what the generated policy does.
  MAA_COLD void run() {
    const bool of_zoo = !data_.dataset.policies.empty();
    const auto deviations = of_head(state_.standardizer.deviation().span());
    if (std::ranges::all_of(deviations, [](float deviation) { return deviation == 0; })) {
      return;  // the zoo's policies are equally noisy
    }
    const TensorInfo tensor{"log_std", {numbers, inputs}, 0, numbers * inputs, {}, Role::weight};
    const TrainOptions options{.steps = rounds * round_steps,
                               .learning_rate = {.base = 1e-2, .warmup = round_steps / 5},
                               .clip_norm = 1};
    const auto map = state_.parameters.span()
                         .first(static_cast<std::size_t>(parameter_count<Codec>))
                         .last(static_cast<std::size_t>(numbers * inputs));
    Trainer<float, cpu::Backend> trainer(backend_, {tensor}, options, std::span<const float>(map));
    Rng rng(0x6c6f6773u);
    for (Index round = 0; round < rounds; ++round) {
      host_.reset();
      const auto queries = generate_for_prompts(round, rng);
      if (round == 0 && !of_zoo) {
        start_from(queries);
      }
      for (Index step = 0; step < round_steps; ++step) {
        trainer.step([&](std::span<const float> weights, std::span<float> gradients) {
          return loss(queries, weights, gradients);
        });
      }
    }
    std::ranges::copy(trainer.weights(), map.begin());
  }

 private:
  static constexpr auto actions = Network::action_size;
  static constexpr auto units = Network::last_hidden;
  const Index numbers = (units + 1) * actions;  // of the log_std head, the network's last
  static constexpr Index inputs =
      Config::decoder_depth == 1 ? Config::latent_size : Config::autoencoder_hidden;
  // Actions beyond this do not count: they may have been cut off.
  static constexpr float saturated = 0.97f;
  static constexpr Index rounds = 4, round_steps = 75, prompts = 128, queries_per_prompt = 64;

  // At states of prompts.
  struct Queries {
    MatrixView<const float> inputs;       // of the decoder's last layer [prompts, inputs]
    SequenceView<const float> features;   // of the generated policies [prompts, queries, units]
    SequenceView<const float> deviation;  // r above [prompts, queries, actions]
    SequenceView<const float> counts;     // 1, or 0 where r is not known
  };

  // The log_std head's among a policy's numbers [P].
  template <class T>
  std::span<T> of_head(std::span<T> of_policy) const {
    return of_policy.last(static_cast<std::size_t>(numbers));
  }
  static bool squashed() { return Network::squash == Squash::tanh; }
  static bool is_saturated(float action) { return squashed() && std::abs(action) > saturated; }
  static float before_squashing(float action) {
    return squashed() ? std::atanh(std::clamp(action, -saturated, saturated)) : action;
  }

  MAA_COLD std::pair<NoiseSource, Index> source_of(Index number, Rng& rng) const {
    const auto maker = data_.makers[static_cast<std::size_t>(number)];
    if (maker >= 0) {
      return {NoiseSource::policy, maker};
    }
    const auto& trajectory = data_.trajectory(number);
    if (trajectory.has_target_actions() &&
        !std::ranges::equal(trajectory.target_actions().span(), trajectory.actions().span())) {
      return {NoiseSource::target_actions, -1};
    }
    std::vector<Index> of_run, of_task;
    for (const Index i : data_.split.train.policies) {
      const auto& record = data_.dataset.policies[static_cast<std::size_t>(i)];
      if (record.task == data_.task_of_trajectory[static_cast<std::size_t>(number)]) {
        of_task.push_back(i);
        if (record.run == trajectory.run) {
          of_run.push_back(i);
        }
      }
    }
    const auto& from = of_run.empty() ? of_task : of_run;
    return from.empty()
               ? std::pair(NoiseSource::generated, Index{-1})
               : std::pair(NoiseSource::policy, from[static_cast<std::size_t>(rng.below(std::ssize(from)))]);
  }

  MAA_COLD Queries generate_for_prompts(Index round, Rng& rng) {
    const PromptPath<Network, Config> path(state_);
    const auto& tasks = data_.training_tasks;
    const auto like_actions = [&] {
      return host_.template sequence<float>(prompts, queries_per_prompt, actions);
    };
    const auto features = path.allocate_features(prompts, host_);
    const auto support = path.allocate_support(prompts, 1, 1, host_);
    const auto seen = host_.template sequence<float>(prompts, queries_per_prompt, Network::observation_size);
    const auto deviation = like_actions(), counts = like_actions(), mean = like_actions(),
               log_std = like_actions();
    const auto made_by = host_.template matrix<float>(prompts, parameter_count<Network>);
    std::ranges::fill(made_by.span(), 0.0f);
    std::vector<NoiseSource> sources;
    for (Index i = 0; i < prompts; ++i) {
      const auto& task = tasks[static_cast<std::size_t>((round * prompts + i) % std::ssize(tasks))];
      const auto number = task.prompts[static_cast<std::size_t>(rng.below(std::ssize(task.prompts)))];
      const auto& trajectory = data_.trajectory(number);
      path.write_features(trajectory, i, features);
      path.write_support(trajectory, i, rng.fork(static_cast<std::uint64_t>(i)), support);
      const auto [source, policy] = source_of(number, rng);
      sources.push_back(source);
      if (policy >= 0) {
        std::ranges::copy(data_.dataset.weight_matrix().row_span(policy), made_by.row(i));
      }
      for (Index q = 0; q < queries_per_prompt; ++q) {
        const Index row = i * queries_per_prompt + q, step = rng.below(trajectory.length());
        std::ranges::copy(trajectory.observations().row_span(step), seen.flat().row(row));
        for (Index j = 0; j < actions; ++j) {
          const float done = trajectory.actions()(step, j);
          const float target =
              source == NoiseSource::target_actions ? trajectory.target_actions()(step, j) : 0.0f;
          counts.flat()(row, j) =
              source == NoiseSource::policy || !(is_saturated(done) || is_saturated(target)) ? 1.0f : 0.0f;
          deviation.flat()(row, j) = before_squashing(done) - before_squashing(target);
        }
      }
    }
    policy_batch_infer(backend_, Network::layout(), MatrixView<const float>(made_by),
                       SequenceView<const float>(seen), mean, log_std);
    for (Index i = 0; i < prompts; ++i) {
      for (Index k = 0;
           sources[static_cast<std::size_t>(i)] == NoiseSource::policy && k < queries_per_prompt * actions;
           ++k) {
        deviation.per_sample()(i, k) = std::exp(std::clamp(log_std.per_sample()(i, k), -20.0f, 2.0f));
      }
    }

    const Index offset = parameter_count<Model> - parameter_count<typename Model::WithoutEncoders>;
    const auto& backend = fitting_.backend();
    const auto constants = fitting_.template constants<typename Model::WithoutEncoders>(offset);
    const auto session = backend.session();
    auto& workspace = session.workspace();
    const auto w = bind<typename Model::WithoutEncoders>(constants.span());
    using Real = typename Backend::template Element<float>;
    Generation<Network, Config, Backend> generation(backend, state_, w, workspace);
    const auto condition =
        path.forward(backend, w.embedder, uploaded_features(backend, features, workspace), prompts, workspace)
            .condition;
    auto streams = sample_streams(rng.fork(0x73616d70u), 0, prompts);
    const auto made = generation.decode(condition, 1, streams, state_.settings.sampling, {});
    auto policies = made.policies();
    if constexpr (Model::has_head) {
      policies = generation.fit_heads(policies, support, w.head);
    }
    state_.standardizer.observations().apply(seen.flat());
    const auto of_policies = host_.template sequence<float>(prompts, queries_per_prompt, units);
    policy_batch_infer(backend_, Network::layout(),
                       MatrixView<const float>(downloaded(backend, MatrixView<const Real>(policies), host_)),
                       SequenceView<const float>(seen), mean, SequenceView<float>(), of_policies);
    for (Index i = 0; i < prompts; ++i) {
      for (Index k = 0;
           sources[static_cast<std::size_t>(i)] == NoiseSource::generated && k < queries_per_prompt * actions;
           ++k) {
        deviation.per_sample()(i, k) -= mean.per_sample()(i, k);
      }
    }
    const auto& decoder = made.decoded.decoders[static_cast<std::size_t>(Network::token_count - 1)];
    const auto decoded_from = decoder.input_of(decoder.outputs.size() - 1);
    const auto rows = workspace.template matrix<Real>(prompts, inputs);
    copy_matrix(backend, decoded_from, rows);
    const auto kept = host_.template matrix<float>(prompts, inputs);
    download(backend, std::span<const Real>(rows.span()), kept.span());
    return {kept, of_policies, deviation, counts};
  }

  // The mean head becomes the same noise everywhere, as large as what counts: there is no zoo's.
  MAA_COLD void start_from(const Queries& queries) {
    Buffer<float> mean{state_.standardizer.mean()};
    std::ranges::fill(of_head(mean.span()), 0.0f);
    const auto deviation = queries.deviation.flat(), counts = queries.counts.flat();
    for (Index j = 0; j < actions; ++j) {
      double sum = 0, count = 0;
      for (Index i = 0; i < counts.rows; ++i) {
        const auto r = static_cast<double>(deviation(i, j));
        sum += static_cast<double>(counts(i, j)) * r * r;
        count += static_cast<double>(counts(i, j));
      }
      if (count > 0) {
        mean[mean.size() - actions + j] =
            static_cast<float>(std::clamp(0.5 * std::log(sum / count + 1e-12), -20.0, 2.0));
      }
    }
    if (!state_.fallback_policy.empty()) {
      std::ranges::copy(of_head(mean.span()), of_head(state_.fallback_policy.span()).begin());
    }
    state_.standardizer = WeightStandardizer<Network>(state_.standardizer.observations(), std::move(mean),
                                                      Buffer<float>(state_.standardizer.deviation()));
  }

  double loss(const Queries& queries, std::span<const float> weights, std::span<float> gradients) {
    const auto scope = host_.scope();
    const auto& [decoder_inputs, features, deviation, counts] = queries;
    const auto heads = host_.template matrix<float>(prompts, numbers);
    const auto dheads = host_.template matrix<float>(prompts, numbers);
    const auto log_std = host_.template matrix<float>(queries_per_prompt, actions);
    const auto dlog_std = host_.template matrix<float>(queries_per_prompt, actions);
    const auto none = host_.template matrix<float>(queries_per_prompt, actions);
    std::ranges::fill(none.span(), 0.0f);
    std::ranges::fill(dheads.span(), 0.0f);
    linear_forward(backend_, decoder_inputs, weights.data(), static_cast<const float*>(nullptr), heads);
    const auto scales = of_head(state_.standardizer.deviation().span());
    affine_columns(backend_, scales, of_head(state_.standardizer.mean().span()), heads);
    double sum = 0;
    for (Index i = 0; i < prompts; ++i) {
      const auto rows_of = [&](SequenceView<const float> of) {
        return of.flat().row_range(i * queries_per_prompt, queries_per_prompt);
      };
      const float* const head = heads.row(i);
      float* const dhead = dheads.row(i);
      linear_forward(backend_, rows_of(features), head, head + units * actions, log_std);
      sum += gaussian_nll_loss(backend_, MatrixView<const float>(none), MatrixView<const float>(log_std),
                               rows_of(deviation), MatrixView<float>(), dlog_std);
      std::ranges::transform(dlog_std.span(), rows_of(counts).span(), dlog_std.data, std::multiplies());
      linear_backward_weight(backend_, MatrixView<const float>(dlog_std), rows_of(features), dhead,
                             dhead + units * actions);
    }
    scale_columns(backend_, scales, dheads);
    linear_backward_weight(backend_, MatrixView<const float>(dheads), decoder_inputs, gradients.data(),
                           static_cast<float*>(nullptr));
    scale(backend_, 1.0f / prompts, MatrixView<float>(gradients.data(), 1, std::ssize(gradients)));
    return sum / prompts;
  }

  Fitting<Network, Config, Backend>& fitting_;
  const TrainingData<Network, Config>& data_;
  State& state_;
  cpu::Backend backend_;
  Workspace host_;
};

}  // namespace detail
MAA_NAMESPACE_END
