// Behaviour in, policies out: the library's front door.
//
//     auto generator  = maa::Generator<maa::MetaWorldPolicy>::load("generator.safetensors");
//     auto trajectory = maa::load_trajectory("demonstration.npz");
//     auto policies   = generator.generate(trajectory, {.count = 10, .seed = 7});
#pragma once

#include <maa/backend/cpu.hpp>
#include <maa/generator/file.hpp>
#include <maa/generator/fitting.hpp>
#include <maa/io/policy_file.hpp>
#include <maa/models/policy.hpp>

MAA_NAMESPACE_BEGIN

// A movable value. Const members may be called from several threads at once. A member that throws, and a fit
// that is stopped, leave the generator as it was.
template <class PolicyT, class Config = FixedConfig, class Backend = cpu::Backend>
class Generator {
 public:
  using Policy = PolicyT;
  using Network = typename PolicyT::Network;
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;

  // Untrained; generate() is an Error until fit() or load().
  explicit Generator(Backend backend = Backend()) : backend_(std::move(backend)) {}

  static Generator load(const std::filesystem::path& path, Backend backend = Backend()) {
    Generator generator(std::move(backend));
    generator.set_state(std::make_unique<State>(detail::load_generator<Network, Config>(path)));
    return generator;
  }
  void save(const std::filesystem::path& path) const { detail::save_generator(path, trained_state()); }

  // Trains autoencoder, embedder and denoiser in order, then all of them on behaviour (options.behavior).
  // Returns false if the callback stopped it.
  bool fit(const Dataset& dataset, const FitOptions& options = FitOptions::fixed(),
           const TrainCallback& callback = {}) {
    detail::Fitting<Network, Config, Backend> fitting(backend_, dataset, options, callback);
    if (!fitting.run()) {
      return false;
    }
    auto state = std::make_unique<State>(fitting.take_state());
    state->provenance = {{"policies", concatenate(dataset.policy_count())},
                         {"trajectories", concatenate(dataset.trajectories.size())},
                         {"seed", concatenate(options.seed)}};
    for (std::size_t i = 0; i < dataset.tasks.size(); ++i) {
      state->provenance["task." + concatenate(i)] = dataset.tasks[i];
    }
    set_state(std::move(state));
    return true;
  }

  bool trained() const { return state_ != nullptr; }
  const State& state() const { return trained_state(); }
  const Backend& backend() const { return backend_; }

  // options.count policies that behave like the demonstration. Error if it is too short, of other sizes, or
  // lacks the success that the condition needs.
  std::vector<Policy> generate(const Trajectory& demonstration, const GenerateOptions& options = {}) const {
    return generate(std::span<const Trajectory>(&demonstration, 1), options);
  }
  // One prompt made of several demonstrations of one behaviour: their conditions are averaged.
  std::vector<Policy> generate(std::span<const Trajectory> demonstrations,
                               const GenerateOptions& options = {}) const {
    require(!demonstrations.empty(), "generate: expected at least one demonstration, found none");
    auto all = options;
    all.demonstrations_per_prompt = static_cast<Index>(demonstrations.size());
    return generate_each(demonstrations, all);
  }
  // options.count policies for every prompt, prompt by prompt, in one batch. A prompt is one demonstration,
  // or options.demonstrations_per_prompt in a row.
  std::vector<Policy> generate_each(std::span<const Trajectory> demonstrations,
                                    const GenerateOptions& options = {}) const {
    const Index share = options.demonstrations_per_prompt;
    const auto total = static_cast<Index>(demonstrations.size());
    require(share > 0 && total % share == 0, "generate: expected demonstrations in groups of ", share,
            ", found ", total);
    const auto rows = embed(demonstrations);
    Buffer<float> conditions(total / share * Model::condition_size);
    for (Index i = 0; i < rows.size(); ++i) {
      const Index prompt = i / Model::condition_size / share;
      conditions[prompt * Model::condition_size + i % Model::condition_size] +=
          rows[i] / static_cast<float>(share);
    }
    return from_conditions(MatrixView<const float>(conditions.data(), total / share, Model::condition_size),
                           demonstrations, options);
  }

  // The conditions of prompts, [prompts, condition_size].
  Buffer<float> embed(std::span<const Trajectory> prompts) const {
    const auto& state = trained_state();
    constexpr Index segments = Config::prompt.segments;
    const auto count = static_cast<Index>(prompts.size());
    Workspace workspace;
    const auto h_in = workspace.matrix<float>(count * segments, Model::EmbedderModel::Phi::in);
    const auto v_in = workspace.matrix<float>(count * segments, Model::EmbedderModel::Psi::in);
    for (Index i = 0; i < count; ++i) {
      const auto& prompt = prompts[static_cast<std::size_t>(i)];
      state.prompt_encoder.require_usable(prompt, Config::condition != ConditionParts::h);
      state.prompt_encoder.write_trajectory(prompt, h_in.row_range(i * segments, segments));
      state.prompt_encoder.write_success(prompt, v_in.row_range(i * segments, segments));
    }
    const auto w = bind<Model>(state.parameters).embedder;
    const auto h =
        Model::EmbedderModel::Phi::forward(backend_, w.phi, MatrixView<const float>(h_in), workspace);
    const auto v =
        Model::EmbedderModel::Psi::forward(backend_, w.psi, MatrixView<const float>(v_in), workspace);
    Buffer<float> conditions(count * Model::condition_size);
    state.condition_from(backend_, h.output(), v.output(), {conditions.data(), count, Model::condition_size});
    return conditions;
  }

  // Refits the mean heads of policies to demonstrations in closed form, as those of generated ones are
  // (ridge_head.hpp): each policy to an equal share of the demonstrations, in order. Only for configurations
  // with that correction.
  std::vector<Policy> adapt(std::span<const Policy> policies,
                            std::span<const Trajectory> demonstrations) const requires(Model::has_head) {
    const auto& state = trained_state();
    require(!policies.empty() && !demonstrations.empty() && demonstrations.size() % policies.size() == 0,
            "adapt: expected the same number of demonstrations for each of ", policies.size(),
            " policies, found ", demonstrations.size());
    for (const auto& demonstration : demonstrations) {
      state.prompt_encoder.require_usable(demonstration, false);
    }
    Workspace workspace;
    const auto weights = workspace.matrix<float>(static_cast<Index>(policies.size()), Policy::parameter_size);
    for (std::size_t i = 0; i < policies.size(); ++i) {
      state.standardizer.unfold(policies[i].weights().data(), weights.row(static_cast<Index>(i)));
    }
    return to_policies(correct_heads(weights, demonstrations, 1, workspace));
  }

  // The latents of policies as the denoiser sees them, [policies, latent_numbers].
  Buffer<float> encode(std::span<const Policy> policies) const {
    const auto& state = trained_state();
    const auto count = static_cast<Index>(policies.size());
    Workspace workspace;
    const auto x = workspace.matrix<float>(count, Policy::parameter_size);
    for (Index i = 0; i < count; ++i) {
      state.standardizer.standardize(policies[static_cast<std::size_t>(i)].weights().data(), x.row(i));
    }
    const auto w = bind<Model>(state.parameters).autoencoder;
    const auto encoded = Model::AutoencoderModel::encode(backend_, w, MatrixView<const float>(x), workspace);
    Buffer<float> latents{encoded.latent.span()};
    state.latent.apply({latents.data(), count, Model::latent_numbers});
    return latents;
  }

 private:
  const State& trained_state() const {
    require(state_ != nullptr, "generator: expected a trained generator; call fit() or load() first");
    return *state_;
  }

  // conditions [prompts, condition_size]; each prompt is an equal share of the demonstrations, in order.
  std::vector<Policy> from_conditions(MatrixView<const float> prompts,
                                      std::span<const Trajectory> demonstrations,
                                      const GenerateOptions& options) const {
    const auto& state = trained_state();
    require(options.count > 0, "generate: expected a positive count, found ", options.count);
    const auto session = backend_.session();
    const Index count = prompts.rows * options.count;
    Workspace workspace;
    const auto condition = workspace.matrix<float>(count, Model::condition_size);
    const auto none = workspace.matrix<float>(count, Model::condition_size);
    fill_zero(backend_, none);
    for (Index i = 0; i < count; ++i) {
      copy_matrix(backend_, prompts.row_range(i / options.count, 1), condition.row_range(i, 1));
    }
    const auto latent = workspace.sequence<float>(count, Network::token_count, Config::latent_size);
    const auto w = bind<Model>(state.parameters);
    const Backend& backend = prepared_[static_cast<std::size_t>(options.precision)];
    const DiffusionSchedule schedule(state.diffusion);
    const auto sampling = options.sampling.value_or(state.sampling);
    const auto visited = schedule.timesteps(sampling.steps, sampling.spacing);
    const auto denoiser = [&](MatrixView<const float> with) {
      const auto modulation = Model::DenoiserModel::modulation(backend, w.denoiser, visited, with, workspace);
      return [&, modulation](MatrixView<const float> x, std::span<const Index> timesteps,
                             MatrixView<float> prediction) {
        const Workspace::Scope scope(workspace);
        const SequenceView<const float> noisy(x.data, x.rows, Network::token_count, Config::latent_size);
        const Index step = std::ranges::find(visited, timesteps[0]) - visited.begin();
        const auto output =
            Model::DenoiserModel::infer(backend, w.denoiser, noisy, modulation, step, workspace);
        copy_matrix(backend, output.per_sample(), prediction);
      };
    };
    auto streams = sample_streams(Rng(options.seed), 0, count);
    const auto sample = [&](auto&& denoise) {
      return draw_samples<float>(schedule, sampling, streams, latent.per_sample(), denoise, options.progress);
    };
    const bool finished =
        options.guidance == 1
            ? sample(denoiser(condition))
            : sample(guided_denoiser<float>(denoiser(condition), denoiser(none), options.guidance));
    require(finished, "generate: stopped by the progress callback");
    state.latent.invert(latent.per_sample());
    const auto decoded =
        Model::AutoencoderModel::decode(backend, w.autoencoder, SequenceView<const float>(latent), workspace);
    auto weights = decoded.parameters;
    for (Index i = 0; i < count; ++i) {
      state.standardizer.to_normalized(weights.row(i));
    }
    if constexpr (Model::has_head) {
      if (options.correct_head) {
        weights = correct_heads(weights, demonstrations, options.count, workspace);
      }
    }
    return to_policies(weights);
  }

  // Policies for raw observations from weights for normalised ones, which are changed.
  std::vector<Policy> to_policies(MatrixView<float> weights) const {
    std::vector<Policy> policies;
    policies.reserve(static_cast<std::size_t>(weights.rows));
    for (Index i = 0; i < weights.rows; ++i) {
      trained_state().standardizer.fold(weights.row(i));
      policies.emplace_back(std::span<const float>(weights.row_span(i)));
    }
    return policies;
  }

  // policies [prompts * per_prompt, parameters] for normalised observations; the result lies in `workspace`.
  MatrixView<float> correct_heads(MatrixView<float> policies, std::span<const Trajectory> demonstrations,
                                  Index per_prompt, Workspace& workspace) const {
    const auto& state = trained_state();
    const Index prompts = policies.rows / per_prompt;
    const Index share = static_cast<Index>(demonstrations.size()) / prompts;
    constexpr Index pairs = Config::prompt.pairs();
    const auto observations =
        workspace.sequence<float>(policies.rows, share * pairs, Network::observation_size);
    const auto actions = workspace.sequence<float>(policies.rows, share * pairs, Network::action_size);
    for (Index i = 0; i < policies.rows; ++i) {
      for (Index k = 0; k < share; ++k) {
        const Index row = (i * share + k) * pairs;
        state.prompt_encoder.write_pairs(demonstrations[static_cast<std::size_t>(i / per_prompt * share + k)],
                                         observations.flat().row_range(row, pairs),
                                         actions.flat().row_range(row, pairs));
      }
    }
    state.standardizer.observations().apply(observations.flat());
    const auto corrected = workspace.matrix<float>(policies.rows, policies.cols);
    Model::HeadModel::forward(backend_, Network::layout(), bind<Model>(state.parameters).head,
                              MatrixView<const float>(policies), SequenceView<const float>(observations),
                              SequenceView<const float>(actions), corrected, workspace);
    return corrected;
  }

  void set_state(std::unique_ptr<const State> state) {
    prepared_.clear();
    for (const auto precision : {Precision::fp32, Precision::bf16_weights, Precision::bf16}) {
      prepared_.push_back(backend_.prepared(state->parameters.span(), precision));
    }
    state_ = std::move(state);
  }

  Backend backend_;
  std::unique_ptr<const State> state_;
  std::vector<Backend> prepared_;  // by precision
};

MAA_NAMESPACE_END
