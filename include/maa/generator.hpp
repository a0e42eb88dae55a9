// Behaviour in, policies out: the library's front door.
//
//     auto generator  = maa::Generator<maa::MetaWorldPolicy>::load("generator.safetensors");
//     auto trajectory = maa::load_trajectory("demonstration.npz");
//     auto policies   = generator.generate(trajectory, {.count = 10, .seed = 7});
#pragma once

#include <maa/backend/cpu.hpp>
#include <maa/compiled/cpu_instances.hpp>
#include <maa/data/dataset_check.hpp>
#include <maa/generator/behavior_training.hpp>
#include <maa/generator/file.hpp>
#include <maa/generator/generation.hpp>
#include <maa/io/policy_file.hpp>
#include <maa/models/denoiser.hpp>
#include <maa/models/head_posterior.hpp>
#include <maa/models/policy.hpp>

#if !defined(__OPTIMIZE__) && !defined(NDEBUG) && !defined(MAA_ALLOW_UNOPTIMIZED)
#pragma message("maa: without optimisation training takes ten times as long (-O2, CMAKE_BUILD_TYPE=Release)")
#endif

MAA_NAMESPACE_BEGIN

// Writes policies that behave like what they are shown (Make-An-Agent, arXiv 2407.10973; docs/method.md says
// where this differs). PolicyT: an MlpPolicy of O observations, A actions and P = Policy::parameter_size
// weights. Config: the models' sizes (generator/config.hpp). Backend: where they run.
//
// A movable value. Const members may be called from several threads at once. A member that throws an Error,
// and a fit that is stopped, leave the generator as it was. Observations and actions are in the caller's
// units: training fits the maps to the range that networks see.
template <class PolicyT, class ConfigT = DefaultConfig, class BackendT = cpu::Backend>
class Generator {
 public:
  // As above; the policies' network; all that training leaves (generator/state.hpp), and its models.
  using Policy = PolicyT;
  using Config = ConfigT;
  using Backend = BackendT;
  using Network = typename PolicyT::Network;
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  static_assert(Denoiser<typename Model::DenoiserModel, Backend>,
                "Config::Denoiser: see models/denoiser.hpp for what it must offer");

  // Untrained; generate() is an Error until fit() or load().
  explicit Generator(Backend backend = Backend()) : backend_(std::move(backend)) {}

  // One of a state that is whole.
  explicit Generator(std::unique_ptr<const State> state, Backend backend = Backend())
      : Generator(std::move(backend)) {
    require(state != nullptr, "generator: expected a state, found none");
    set_state(std::move(state));
  }

  // A copy of one on another backend: to go on with the CPU where a device fails, say.
  template <class Other>
  explicit Generator(const Generator<PolicyT, Config, Other>& other, Backend backend = Backend())
      : Generator(std::move(backend)) {
    if (other.trained()) {
      set_state(std::make_unique<State>(other.state()));
    }
  }

  // A generator that save() wrote (one safetensors file, docs/formats.md). Error, which names the file, if it
  // cannot be read, is damaged, or was written for another policy type or configuration: then with each
  // constant that differs; or, unless they are allowed, if it has other tensors.
  static Generator load(const std::filesystem::path& path, Backend backend = Backend(),
                        Unread unread = Unread::refuse) {
    Generator generator(std::move(backend));
    generator.set_state(std::make_unique<State>(detail::load_generator<Network, Config>(path, unread)));
    return generator;
  }
  // Replaces the file at once or, with an Error, not at all.
  void save(const std::filesystem::path& path) const { detail::save_generator(path, trained_state()); }

  // Trains by a recipe: BehaviorRecipe, the default, or one whose header is included beside this one
  // (generator/paper_training.hpp). `dataset`: policies [N, P] of the network's sizes, or none where the
  // recipe does without, and trajectories of O observations and A actions (data/dataset.hpp); what they must
  // have as prompts is said at PromptShape. `callback` is called after each step, on this thread; false
  // stops. Returns false if it was stopped. Error for data that does not suit the policy type or the recipe,
  // policies that do not do what the trajectories show (FitOptions::check), options out of range, a
  // checkpoint of another run or where none can be written, names that no file can hold: all these before the
  // first step; and for a loss that is not finite. If only the last checkpoint cannot be written, the
  // generator is trained and the Error says so. The same arguments give the same bits for any number of
  // threads.
  template <class Recipe = BehaviorRecipe>
  bool fit(const Dataset& dataset, const Recipe& recipe = Recipe(), const TrainCallback& callback = {}) {
    return fit(dataset, recipe, WarmStart(), callback);
  }
  // Begins with another generator's numbers where they fit (generator/warm_start.hpp), as if trained for a
  // task and fine-tuned for another; state().provenance["start"] says which. A checkpoint of another start is
  // an Error.
  template <class Recipe>
  bool fit(const Dataset& dataset, const Recipe& recipe, const WarmStart& start,
           const TrainCallback& callback = {}) {
    static_assert(
        requires(detail::Fitting<Network, Config, Backend> & with) { train_stages(with, recipe); },
        "fit: include the header of the recipe's stages: <maa/generator/paper_training.hpp> for PaperRecipe");
    check_fields(recipe, "fit");
    require(recipe.checkpoint_every > 0, "fit: expected a positive checkpoint_every, found ",
            recipe.checkpoint_every);
    if (dataset.interface.transforms()) {
      return fit_inside(dataset.inside(), dataset.interface, recipe, start, callback);
    }
    return fit_inside(dataset, dataset.interface, recipe, start, callback);
  }

  // Whether there is a state to generate by; the state (Error without), and the backend.
  bool trained() const { return state_ != nullptr; }
  const State& state() const { return trained_state(); }
  const Backend& backend() const { return backend_; }
  // Of the data set that it was trained on, and of the policies that it makes.
  const PolicyInterface& interface() const { return trained_state().interface; }

  // options.count policies that behave like the demonstration [T, O], [T, A]: any episode in the default
  // configuration (PromptSteps). They read raw observations, and have the interface of the data
  // set: without one they give actions in [-1, 1] where the network squashes. Equal seeds give equal
  // policies. Error if the demonstration is too short, of other sizes, or lacks the success that the
  // condition needs, for options out of range, and if options.progress stopped it.
  std::vector<Policy> generate(const Trajectory& demonstration, const GenerateOptions& options = {}) const {
    return generate(std::span<const Trajectory>(&demonstration, 1), options);
  }
  // One prompt made of several demonstrations of one behaviour: their conditions are averaged.
  std::vector<Policy> generate(std::span<const Trajectory> demonstrations,
                               const GenerateOptions& options = {}) const {
    auto all = options;
    all.demonstrations_per_prompt = std::max<Index>(1, std::ssize(demonstrations));
    return generate_each(demonstrations, all);
  }
  // options.count policies for every prompt, prompt by prompt, in one batch. A prompt is one demonstration,
  // or options.demonstrations_per_prompt in a row.
  std::vector<Policy> generate_each(std::span<const Trajectory> shown,
                                    const GenerateOptions& options = {}) const {
    check_fields(options, "generate");
    if (options.sampling) {
      check_sampling(*options.sampling, trained_state().settings.diffusion, "generate");
    }
    const Index share = options.demonstrations_per_prompt;
    const auto total = static_cast<Index>(shown.size());
    require(total % share == 0, "generate: expected demonstrations in groups of ", share, ", found ", total);
    const auto& state = trained_state();
    const auto seen = inside(shown);
    const auto demonstrations = seen.all();
    const auto session = backend_.session();
    auto& workspace = session.workspace();
    const auto prompts = embed_in(demonstrations, total / share, workspace);
    const Index count = prompts.rows * options.count;
    const auto condition = workspace.template matrix<Real>(count, Model::condition_size);
    for (Index i = 0; i < options.count; ++i) {  // the i-th policies of all prompts
      copy_matrix(
          backend_, prompts,
          MatrixView<Real>(condition.row(i), prompts.rows, condition.cols, options.count * condition.stride));
    }
    const auto w = bind<Model>(parameters_.span());
    Generation generation(packed_[static_cast<std::size_t>(options.precision)], state, w, workspace);
    const auto policies =
        generation.generate(condition, generation.support(demonstrations, count, options.count), options,
                            sample_streams(Rng(options.seed), 0, count));
    auto result = to_policies(policies, total);
    std::vector<Index> found;
    if (options.look_up && !kept_.empty()) {
      found = detail::look_up<Policy>(host_backend(), kept_, shown, share, result, options.count);
    }
    if (options.polish.steps > 0) {
      detail::Polishing<Backend>(backend_, Network::layout(), Network::squashing(),
                                 state.standardizer.observations(), demonstrations, share, options.polish,
                                 workspace)
          .apply(policies, Rng(options.seed).fork(0x706f6c697368), options.progress);
      result = to_policies(policies, total);
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] >= 0) {
        result[i * static_cast<std::size_t>(options.count)] = kept_[static_cast<std::size_t>(found[i])];
      }
    }
    return result;
  }

  // The conditions of prompts as the denoiser sees them, [prompts, condition_size]: h and v of eq. 6,
  // normalised. Error as in generate().
  Buffer<float> embed(std::span<const Trajectory> prompts) const {
    const auto session = session_of_trained();
    const auto seen = inside(prompts);
    return downloaded_buffer(embed_in(seen.all(), std::ssize(prompts), session.workspace()));
  }

  // How unlike the prompts of training each prompt is: the distance of its condition to the nearest of
  // theirs, in radii within which nine of ten of them have another. Up to 1, and it is like them. What is
  // generated for prompts far beyond leans on few pairs of one demonstration; no test tells but trying it.
  // Infinite if the prompts of training do not differ.
  std::vector<double> novelty(std::span<const Trajectory> prompts) const {
    const auto conditions = embed(prompts);
    std::vector<double> result;
    for (Index i = 0; i < static_cast<Index>(prompts.size()); ++i) {
      result.push_back(trained_state().known_prompts.novelty(
          {conditions.data() + i * Model::condition_size, static_cast<std::size_t>(Model::condition_size)}));
    }
    return result;
  }

  // Whether a policy is one of the data set, which generate() gives where it acts more like the prompt than
  // what is generated (GenerateOptions::look_up).
  bool looked_up(const Policy& policy) const {
    return std::ranges::any_of(
        kept_, [&](const Policy& kept) { return std::ranges::equal(kept.weights(), policy.weights()); });
  }

  // Any policies [N] for raw observations with their heads refitted in closed form, as those of
  // generated ones are (models/bayesian_head.hpp): each to an equal share of the demonstrations, in order.
  // log_std stays as it was. Only for configurations with such a head. Error if the demonstrations cannot be
  // shared equally, or as in generate(); success is not needed.
  std::vector<Policy> fit_heads(std::span<const Policy> policies, std::span<const Trajectory> shown) const
      requires(Model::has_head) {
    const auto& state = trained_state();
    const auto seen = inside(shown);
    const auto demonstrations = seen.all();
    require_shares(policies, demonstrations, "fit_heads");
    const auto session = session_of_trained();
    auto& workspace = session.workspace();
    const auto count = static_cast<Index>(policies.size());
    Workspace host;
    const auto weights = host.matrix<float>(count, Policy::parameter_size);
    for (Index i = 0; i < count; ++i) {
      state.standardizer.unfold(policies[static_cast<std::size_t>(i)].weights().data(), weights.row(i));
    }
    const auto w = bind<Model>(parameters_.span());
    Generation generation(backend_, state, w, workspace);
    return to_policies(generation.fit_heads(uploaded(backend_, MatrixView<const float>(weights), workspace),
                                            generation.support(demonstrations, count, 1), w.head),
                       std::ssize(demonstrations));
  }

  // How sure policies [N] are that were generated for, or whose heads were fitted to, an equal share of the
  // demonstrations each, in order: what those leave open about their heads. Errors as fit_heads().
  std::vector<maa::Uncertainty<Policy, Config::head_rank>> uncertainty(
      std::span<const Policy> policies, std::span<const Trajectory> shown) const requires(Model::has_head) {
    using Head = typename Model::HeadModel;
    const auto& state = trained_state();
    const auto seen = inside(shown);
    const auto demonstrations = seen.all();
    require_shares(policies, demonstrations, "uncertainty");
    const Index share = std::ssize(demonstrations) / std::ssize(policies);
    const detail::PromptPath<Network, Config> path(state);
    // The last of the description.
    const auto w = bind<Head>(state.parameters.span().last(static_cast<std::size_t>(parameter_count<Head>)));
    std::vector<maa::Uncertainty<Policy, Config::head_rank>> result;
    for (std::size_t i = 0; i < policies.size(); ++i) {
      Workspace host;
      const auto support = path.allocate_support(1, share, 1, host);
      for (Index k = 0; k < share; ++k) {
        path.write_support(demonstrations[i * static_cast<std::size_t>(share) + static_cast<std::size_t>(k)],
                           k, Rng(0), support);
      }
      const auto& normalizer = state.standardizer.observations();
      unstandardize_columns(cpu::Backend(1), normalizer.offset.span(), normalizer.scale.span(),
                            support.observations.flat());
      const auto features =
          maa::Uncertainty<Policy, Config::head_rank>::features_of(policies[i], support.observations.span());
      const double noise = cpu::value_of(Head::noise(w, support.observations.length));
      result.emplace_back(
          policies[i], HeadPosterior<Network, Config::head_rank>(w, features.span(), noise,
                                                                 static_cast<double>(state.variance_scale)));
    }
    return result;
  }

  // The latents of policies [N] as the denoiser sees them, normalised, [N, tokens * latent_size] (eq. 5's
  // encoder; the default recipe does not train it).
  Buffer<float> encode(std::span<const Policy> policies) const {
    require(!policies.empty(), "encode: expected at least one policy, found none");
    const auto session = session_of_trained();
    const auto& state = trained_state();
    auto& workspace = session.workspace();
    const auto count = static_cast<Index>(policies.size());
    Workspace host;
    const auto x = host.matrix<float>(count, Policy::parameter_size);
    for (Index i = 0; i < count; ++i) {
      state.standardizer.standardize(policies[static_cast<std::size_t>(i)].weights().data(), x.row(i));
    }
    const auto w = bind<Model>(parameters_.span()).autoencoder;
    const auto encoded = Model::AutoencoderModel::encode(
        backend_, w, MatrixView<const Real>(uploaded(backend_, MatrixView<const float>(x), workspace)),
        workspace);
    auto latents = downloaded_buffer(encoded.latent.per_sample());
    state.latent.apply({latents.data(), count, Model::latent_numbers});
    return latents;
  }
  // The policies that such latents [N, tokens * latent_size] stand for (eq. 5's decoder), with the interface
  // of the data set and their heads as decoded. Error if the size does not fit.
  std::vector<Policy> decode(std::span<const float> latents) const {
    const Index count = std::ssize(latents) / Model::latent_numbers;
    require(count > 0 && std::ssize(latents) == count * Model::latent_numbers,
            "decode: expected latents [N, ", Model::latent_numbers, "], found ", latents.size(), " numbers");
    const auto session = session_of_trained();
    auto& workspace = session.workspace();
    const auto w = bind<Model>(parameters_.span()).autoencoder;
    const auto path = detail::LatentPath<Network, Config, Real>::forward(
        backend_, trained_state(), w,
        uploaded(backend_, MatrixView<const float>(latents.data(), count, Model::latent_numbers), workspace),
        workspace);
    return to_policies(path.policies(), count);
  }

 private:
  using Generation = detail::Generation<Network, Config, Backend>;
  using Real = typename Backend::template Element<float>;

  // With a dataset as networks see it.
  template <class Recipe>
  MAA_COLD bool fit_inside(const Dataset& dataset, const PolicyInterface& interface, const Recipe& recipe,
                           const WarmStart& start, const TrainCallback& callback) {
    auto fields = fields_of(recipe, "recipe.");
    detail::Fitting<Network, Config, Backend> fitting(backend_, dataset, recipe, recipe.data_use(), fields,
                                                      start, callback);
    fitting.state().interface = interface;
    auto& provenance = fitting.state().provenance;
    provenance = {{"policies", concatenate(dataset.policy_count())},
                  {"trajectories", concatenate(dataset.trajectories.size())}};
    if (!start.empty()) {
      provenance["start"] = fitting.copied();
    }
    for (auto& [name, text] : fields) {
      provenance[std::move(name)] = std::move(text);
    }
    for (std::size_t i = 0; i < dataset.tasks.size(); ++i) {
      provenance["task." + concatenate(i)] = dataset.tasks[i];
    }
    static_cast<void>(detail::generator_metadata(fitting.state()));  // an Error now rather than in save()
    const auto found = checked(dataset, recipe.check);
    provenance["check"] = found.summary;
    fitting.set_makers(found);
    if (!train_stages(fitting, recipe)) {
      return false;
    }
    fitting.run().finish();
    fitting.state().check("fit: training leads nowhere (lower the learning rate or check the data)");
    set_state(std::make_unique<State>(std::move(fitting.state())));
    fitting.run().require_written();
    return true;
  }

  const State& trained_state() const {
    require(state_ != nullptr, "generator: expected a trained generator; call fit() or load() first");
    return *state_;
  }
  auto session_of_trained() const {
    trained_state();
    return backend_.session();
  }

  MAA_COLD void require_shares(std::span<const Policy> policies, std::span<const Trajectory> demonstrations,
                               const char* where) const {
    require(!policies.empty() && !demonstrations.empty() && demonstrations.size() % policies.size() == 0,
            where, ": expected the same number of demonstrations for each of ", policies.size(),
            " policies, found ", demonstrations.size());
    for (const auto& policy : policies) {
      require(policy.box() == interface().template box<Policy>() &&
                  policy.scaling() == interface().template scaling<Policy>(),
              where,
              ": expected policies with the action box and observation scaling of this generator's "
              "interface, found others");
    }
    require_usable(demonstrations, ConditionParts::h);
  }
  // Demonstrations as networks see them: themselves, or copies through the interface.
  class Inside {
   public:
    explicit Inside(std::span<const Trajectory> shown) : all_(shown) {}
    explicit Inside(std::vector<Trajectory> copies) : copies_(std::move(copies)), all_(copies_) {}
    std::span<const Trajectory> all() const { return all_; }

   private:
    std::vector<Trajectory> copies_;
    std::span<const Trajectory> all_;
  };
  MAA_COLD Inside inside(std::span<const Trajectory> shown) const {
    if (!interface().transforms()) {
      return Inside(shown);
    }
    std::vector<Trajectory> copies;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      try {
        trained_state().prompt_encoder.require_sizes(shown[i]);
        copies.push_back(interface().inside(shown[i]));
      } catch (const Error& error) {
        fail(numbered(i, shown.size()), error.what());
      }
    }
    return Inside(std::move(copies));
  }
  // Error, which says which one, unless all demonstrations can be prompts of which `condition` is read.
  MAA_COLD void require_usable(std::span<const Trajectory> demonstrations, ConditionParts condition) const {
    for (std::size_t i = 0; i < demonstrations.size(); ++i) {
      try {
        trained_state().prompt_encoder.require_usable(demonstrations[i], Config::prompt.needs(condition));
      } catch (const Error& error) {
        fail(numbered(i, demonstrations.size()), error.what());
      }
    }
  }
  // "demonstration 2 of 5: ", counted from 1; nothing for the only one.
  static std::string numbered(std::size_t i, std::size_t count) {
    return count == 1 ? std::string() : concatenate("demonstration ", i + 1, " of ", count, ": ");
  }
  MAA_COLD DatasetCheck checked(const Dataset& dataset, bool refuse) const {
    auto found = maa::check<Policy>(dataset, host_backend());
    require(!refuse || found.plausible,
            "fit: expected policies that do what the trajectories show (check = false trains all "
            "the same), found: ",
            found.summary);
    return found;
  }

  // The conditions of `count` prompts, each an equal share of the demonstrations in order, where ops can read
  // them.
  MatrixView<Real> embed_in(std::span<const Trajectory> demonstrations, Index count,
                            WorkspaceOf<Backend>& workspace) const {
    const auto& state = trained_state();
    require(!demonstrations.empty(), "prompt: expected at least one demonstration, found none");
    require_usable(demonstrations, state.condition_parts());
    const detail::PromptPath<Network, Config> path(state);
    Workspace host;
    const auto features = path.allocate_features(static_cast<Index>(demonstrations.size()), host);
    for (std::size_t i = 0; i < demonstrations.size(); ++i) {
      path.write_features(demonstrations[i], static_cast<Index>(i), features);
    }
    const auto w = bind<Model>(parameters_.span()).embedder;
    return path
        .forward(backend_, w, detail::uploaded_features(backend_, features, workspace), count, workspace)
        .condition;
  }

  Buffer<float> downloaded_buffer(MatrixView<const Real> values) const {
    Buffer<float> result(values.size());
    download(backend_, values.span(), result.span());
    return result;
  }
  // Error, which says whose they are, unless all weights [rows, ...] of an equal number of policies for each
  // prompt are finite.
  static void require_finite(const Buffer<float>& weights, Index rows, Index demonstrations) {
    const auto bad = first_nonfinite(weights.span());
    if (bad >= 0) {
      const Index row = bad / (weights.size() / rows);
      fail(numbered(static_cast<std::size_t>(row * demonstrations / rows),
                    static_cast<std::size_t>(demonstrations)),
           "generate: expected finite weights, found ", weights[bad],
           ": numbers of the prompt or of the generator are too large");
    }
  }
  // Policies for raw observations from weights for normalised ones.
  std::vector<Policy> to_policies(MatrixView<const Real> weights, Index demonstrations) const {
    auto values = downloaded_buffer(weights);
    for (Index i = 0; i < weights.rows; ++i) {
      trained_state().standardizer.fold(values.data() + i * weights.cols);
    }
    require_finite(values, weights.rows, demonstrations);
    return policies_of(std::as_const(values).span(), interface());
  }
  // Of flat weights [N, P].
  static std::vector<Policy> policies_of(std::span<const float> weights, const PolicyInterface& interface) {
    const auto size = static_cast<std::size_t>(Policy::parameter_size);
    const auto box = interface.template box<Policy>();
    const auto scaling = interface.template scaling<Policy>();
    std::vector<Policy> policies;
    policies.reserve(weights.size() / size);
    for (std::size_t first = 0; first < weights.size(); first += size) {
      policies.emplace_back(weights.subspan(first, size), box, scaling);
    }
    return policies;
  }
  // What works on the processor's memory.
  cpu::Backend host_backend() const {
    if constexpr (std::is_same_v<Backend, cpu::Backend>) {
      return backend_;
    } else {
      return cpu::Backend();
    }
  }

  MAA_COLD void set_state(std::unique_ptr<const State> state) {
    const auto session = backend_.session();
    Constants parameters(backend_, state->parameters.span());
    std::vector<Backend> packed;
    for (const auto precision : {Precision::fp32, Precision::bf16_weights, Precision::bf16}) {
      packed.push_back(backend_.packed(parameters.span(), precision));
    }
    kept_ = policies_of(state->kept_policies.span(), state->interface);
    packed_ = std::move(packed);
    parameters_ = std::move(parameters);
    state_ = std::move(state);
  }

  using Constants = typename Backend::template Constants<float>;

  Backend backend_;
  std::unique_ptr<const State> state_;
  Constants parameters_;         // of the state, where ops can read them
  std::vector<Policy> kept_;     // the state's kept_policies
  std::vector<Backend> packed_;  // by precision
};

MAA_NAMESPACE_END
