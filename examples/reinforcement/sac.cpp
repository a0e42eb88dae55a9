#include "sac.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <maa/backend/cpu/optimizer.hpp>
#include <maa/core/finite.hpp>
#include <maa/io/safetensors.hpp>

#include "sac_loss.hpp"

namespace maa::examples::reinforcement {
namespace {

constexpr Index recent = 10;  // episodes that a status is about

// What random numbers are for: each purpose has streams of its own.
enum class Purpose : std::uint64_t {
  actor,
  critics,
  placement,
  warmup,
  exploration,
  batch,
  next_noise,
  noise
};

// One run, without its environment.
struct RunState {
  detail::Learned actor, critics;  // [P] and [2, C]
  Buffer<float> targets;           // [2, C]
  Buffer<double> temperature{3};   // log alpha and its moments
  Buffer<float> replay;            // [capacity, O + A + 1 + O]: observation, action, reward, next observation
  // The present episode.
  Buffer<float> observation;                          // [O]
  Buffer<float> actions;                              // [max_episode_steps, A]
  Buffer<double> sums{2};                             // return so far, whether a step succeeded
  Buffer<std::int64_t> counts{2};                     // episodes before it, steps of it
  Buffer<double> returns{recent}, successes{recent};  // of finished episodes; number n is at n % recent
  Buffer<double> last_update{2};                      // critic loss, entropy

  RunState(Index actor_size, Index critics_size, Index replay_size, Index observation_size,
           Index actions_size)
      : actor(actor_size),
        critics(critics_size),
        targets(critics_size),
        replay(replay_size),
        observation(observation_size),
        actions(actions_size) {}

  // visit(name, buffer) for everything.
  template <class Self, class Visit>
  static void each(Self& self, const Visit& visit) {
    visit("actor.weights", self.actor.weights);
    visit("actor.first_moment", self.actor.first_moment);
    visit("actor.second_moment", self.actor.second_moment);
    visit("critics.weights", self.critics.weights);
    visit("critics.first_moment", self.critics.first_moment);
    visit("critics.second_moment", self.critics.second_moment);
    visit("targets", self.targets);
    visit("temperature", self.temperature);
    visit("replay", self.replay);
    visit("observation", self.observation);
    visit("actions", self.actions);
    visit("sums", self.sums);
    visit("counts", self.counts);
    visit("returns", self.returns);
    visit("successes", self.successes);
    visit("last_update", self.last_update);
  }

  std::int64_t& episode() { return counts[0]; }
  std::int64_t& episode_step() { return counts[1]; }
};

}  // namespace

struct SacTrainer::State {
  const NetworkType& network;
  MlpLayout critic;  // reads [observation, action]
  std::vector<SacRun> runs;
  SacOptions options;
  Index observation_size, action_size;
  Index capacity;  // rows of the replay memories
  ThreadPool pool;
  cpu::Backend serial{1};  // of the ops of one run: threads share runs among them
  std::vector<std::unique_ptr<Environment>> environments;
  std::vector<RunState> states;
  Index step = 0;

  State(const NetworkType& network_, Simulator& simulator, std::vector<SacRun> runs_,
        const SacOptions& options_, int threads)
      : network(network_),
        critic(detail::value_layout(network.layout, network.observation_size() + network.action_size())),
        runs(std::move(runs_)),
        options(options_),
        observation_size(network.observation_size()),
        action_size(network.action_size()),
        capacity(std::min(options.replay, options.steps)),
        pool(threads) {
    check_fields(options, "sac");
    require(network.shape.squash == Squash::tanh && network.layout.log_std.has_value(),
            "sac: expected policies squashed by tanh with a log_std head");
    require(!runs.empty(), "sac: expected runs, found none");
    for (const auto& run : runs) {
      const auto& environment =
          *environments.emplace_back(detail::environment_for(run, simulator, network, "sac"));
      states.push_back(initial_state(run, environment));
    }
    for_runs([&](Index g) { begin_episode(g); });
  }

  Index replay_width() const { return 2 * observation_size + action_size + 1; }
  Rng random(Index g, Purpose purpose, Index at) const {
    return Rng(run(g).seed).fork(static_cast<std::uint64_t>(purpose)).fork(static_cast<std::uint64_t>(at));
  }
  const SacRun& run(Index g) const { return runs[static_cast<std::size_t>(g)]; }
  RunState& state(Index g) { return states[static_cast<std::size_t>(g)]; }
  Environment& environment(Index g) { return *environments[static_cast<std::size_t>(g)]; }

  RunState initial_state(const SacRun& run, const Environment& environment) const {
    RunState state(network.parameter_count(), 2 * critic.parameter_count, capacity * replay_width(),
                   observation_size, environment.max_episode_steps() * action_size);
    const Rng rng(run.seed);
    network.initialize(state.actor.weights.span(), rng.fork(static_cast<std::uint64_t>(Purpose::actor)));
    const auto size = static_cast<std::size_t>(critic.parameter_count);
    for (std::size_t i = 0; i < 2; ++i) {
      detail::initialize_values(critic, state.critics.weights.span().subspan(i * size, size),
                                rng.fork(static_cast<std::uint64_t>(Purpose::critics)).fork(i));
    }
    state.targets = state.critics.weights;
    state.temperature[0] = std::log(options.initial_temperature);
    return state;
  }

  template <class Body>
  void for_runs(const Body& body) {
    detail::for_runs(pool, runs, "sac", body);
  }

  void reset(Index g, std::int64_t episode, std::span<float> observation) {
    auto rng = random(g, Purpose::placement, episode);
    environment(g).reset(environment(g).draw_placement(rng.next_u64()), observation);
  }
  void begin_episode(Index g) {
    auto& own = state(g);
    own.episode_step() = 0;
    own.sums[0] = own.sums[1] = 0;
    reset(g, own.episode(), own.observation.span());
  }

  // Brings the environment to where the run's present episode is.
  void repeat_episode(Index g) {
    auto& own = state(g);
    std::vector<float> observation(own.observation.span().size());
    reset(g, own.episode(), observation);
    for (Index i = 0; i < own.episode_step(); ++i) {
      const float* const action = own.actions.data() + i * action_size;
      environment(g).step({action, static_cast<std::size_t>(action_size)}, observation);
    }
    require(std::ranges::equal(observation, own.observation),
            "expected the observation that was saved after repeating ", own.episode_step(),
            " steps of the episode, found another");
  }

  void act(Index g, std::span<float> action) {
    auto& own = state(g);
    if (step < options.warmup) {
      random(g, Purpose::warmup, step).fill_uniform(action, -1, 1);
      return;
    }
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const auto mean = scratch.matrix<float>(1, action_size), log_std = scratch.matrix<float>(1, action_size);
    const auto noise = scratch.matrix<float>(1, action_size);
    random(g, Purpose::exploration, step).fill_normal(noise.span());
    float log_prob = 0;
    cpu::policy_batch_infer<float>(serial, network.layout, weights_of(own),
                                   MatrixView<const float>(own.observation.data(), 1, observation_size),
                                   {mean.data, 1, 1, action_size}, {log_std.data, 1, 1, action_size});
    squashed_gaussian<float>(mean, log_std, noise, {action.data(), 1, action_size}, {&log_prob, 1});
  }

  // One environment step of a run, and its update if one is due.
  void advance(Index g) {
    auto& own = state(g);
    auto& simulation = environment(g);
    const auto sized = [](float* data, Index size) {
      return std::span<float>(data, static_cast<std::size_t>(size));
    };
    float* const row = own.replay.data() + step % capacity * replay_width();
    const auto action = sized(row + observation_size, action_size);
    const auto next = sized(action.data() + action_size + 1, observation_size);
    std::copy(own.observation.begin(), own.observation.end(), row);
    act(g, action);
    std::copy(action.begin(), action.end(), own.actions.data() + own.episode_step() * action_size);
    const auto result = simulation.step(action, next);
    row[observation_size + action_size] = static_cast<float>(result.reward);
    std::copy(next.begin(), next.end(), own.observation.begin());
    own.sums[0] += result.reward;
    own.sums[1] = result.success ? 1 : own.sums[1];
    if (++own.episode_step() == simulation.max_episode_steps()) {
      own.returns[own.episode() % recent] = own.sums[0];
      own.successes[own.episode() % recent] = own.sums[1];
      ++own.episode();
      begin_episode(g);
    }
    if (updates_by(step + 1) > updates_by(step)) {
      update(g);
    }
  }

  // Updates that are done when so many environment steps are.
  Index updates_by(Index steps) const {
    return steps < options.warmup
               ? 0
               : steps / options.updates_every - (options.warmup - 1) / options.updates_every;
  }

  MatrixView<const float> weights_of(const RunState& own) const {
    return {own.actor.weights.data(), 1, network.parameter_count()};
  }
  MatrixView<const float> two(const Buffer<float>& critics) const {
    return {critics.data(), 2, critic.parameter_count};
  }

  // The order of the steps is that of Stable-Baselines3.
  void update(Index g) {
    auto& own = state(g);
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const Index batch = options.batch, width = observation_size + action_size;
    const auto inputs = scratch.matrix<float>(batch, width), next = scratch.matrix<float>(batch, width);
    const auto rewards = scratch.span<float>(batch), targets = scratch.span<float>(batch);
    auto rng = random(g, Purpose::batch, step);
    const Index filled = std::min(step + 1, capacity);
    for (Index i = 0; i < batch; ++i) {
      const float* const row = own.replay.data() + rng.below(filled) * replay_width();
      std::copy_n(row, width, inputs.row(i));
      rewards[static_cast<std::size_t>(i)] = row[width];
      std::copy_n(row + width + 1, observation_size, next.row(i));
    }
    const auto noise = scratch.matrix<float>(batch, action_size);
    random(g, Purpose::next_noise, step).fill_normal(noise.span());
    const double alpha = std::exp(own.temperature[0]);
    critic_targets<float>(serial, network.layout, weights_of(own), critic, two(own.targets),
                          static_cast<float>(alpha), static_cast<float>(options.discount), rewards, next,
                          noise, targets);

    AdamWStep adam;
    adam.step = updates_by(step + 1);
    const auto critic_gradients = scratch.matrix<float>(2, critic.parameter_count);
    const double loss =
        critic_loss<float>(serial, critic, two(own.critics.weights), inputs, targets, critic_gradients);
    require(is_finite(loss), "the critics' loss is not finite at step ", step,
            "; lower the learning rates or check the rewards");
    adam.learning_rate = options.critic_learning_rate;
    adam.ema_decay = 1 - options.target_rate;
    cpu::adamw(serial, adam, own.critics.weights.span(), critic_gradients.span(),
               own.critics.first_moment.span(), own.critics.second_moment.span(), own.targets.span());

    random(g, Purpose::noise, step).fill_normal(noise.span());
    const auto actor_gradients = scratch.matrix<float>(1, network.parameter_count());
    const auto actor =
        actor_loss<float>(serial, network.layout, weights_of(own), critic, two(own.critics.weights),
                          static_cast<float>(alpha), inputs, noise, actor_gradients);
    require(is_finite(actor.loss), "the actor's loss is not finite at step ", step,
            "; lower the learning rates or check the rewards");
    adam.learning_rate = options.actor_learning_rate;
    adam.ema_decay = -1;
    cpu::adamw(serial, adam, own.actor.weights.span(), actor_gradients.span(), own.actor.first_moment.span(),
               own.actor.second_moment.span(), std::span<float>());

    const double target = -options.target_entropy * static_cast<double>(action_size);
    const double slope = temperature_loss(own.temperature[0], actor.log_prob, target).slope;
    adam.learning_rate = options.temperature_learning_rate;
    const auto temperature = own.temperature.span();
    cpu::adamw(serial, adam, temperature.first(1), std::span<const double>(&slope, 1),
               temperature.subspan(1, 1), temperature.last(1), std::span<double>());
    own.last_update[0] = loss / 2;
    own.last_update[1] = -actor.log_prob;
  }

  detail::Fingerprint<SacOptions> fingerprint() const { return {network, runs, options}; }
};

SacTrainer::SacTrainer(const NetworkType& network, Simulator& simulator, std::vector<SacRun> runs,
                       const SacOptions& options, int threads)
    : state_(std::make_unique<State>(network, simulator, std::move(runs), options, threads)) {}

SacTrainer::~SacTrainer() = default;

const SacOptions& SacTrainer::options() const {
  return state_->options;
}
const std::vector<SacRun>& SacTrainer::runs() const {
  return state_->runs;
}
Index SacTrainer::steps() const {
  return options().steps;
}
double SacTrainer::mean_return(Index run) const {
  return status(run).mean_return;
}
Index SacTrainer::step_count() const {
  return state_->step;
}

void SacTrainer::step() {
  require(!finished(), "sac: all ", options().steps, " steps are done");
  state_->for_runs([&](Index g) { state_->advance(g); });
  ++state_->step;
}

SacStatus SacTrainer::status(Index run) const {
  require(run >= 0 && run < run_count(), "sac: expected a run below ", run_count(), ", found ", run);
  auto& own = state_->state(run);
  SacStatus status;
  status.episodes = own.episode();
  const Index count = std::min(status.episodes, recent);
  for (Index i = 0; i < count; ++i) {
    status.mean_return += own.returns[i] / static_cast<double>(count);
    status.success += own.successes[i] / static_cast<double>(count);
  }
  status.temperature = std::exp(own.temperature[0]);
  status.critic_loss = own.last_update[0];
  status.entropy = own.last_update[1];
  return status;
}

void SacTrainer::export_policies(MatrixView<float> weights) const {
  require_shape(weights, run_count(), state_->network.parameter_count(), "sac: exported policies");
  for (Index g = 0; g < run_count(); ++g) {
    std::ranges::copy(state_->state(g).actor.weights, weights.row(g));
  }
}

void SacTrainer::save(const std::filesystem::path& path) const {
  SafetensorsWriter writer;
  for (const auto& field : fields_of(state_->fingerprint())) {
    writer.set_metadata(field.name, field.text);
  }
  writer.add_scalar("step", static_cast<std::int64_t>(state_->step));
  for (Index g = 0; g < run_count(); ++g) {
    RunState::each(std::as_const(state_->state(g)), [&](const char* name, const auto& buffer) {
      writer.add(concatenate(g, ".", name), {buffer.size()}, buffer.span());
    });
  }
  writer.write(path);
}

void SacTrainer::load(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  auto& own = *state_;
  const auto differing = differences(fields_of(own.fingerprint()), reader.metadata(), "");
  require(differing.empty(), reader.path(), ": not a state of this training: ", differing);
  const Index step = reader.read<std::int64_t>("step", {})[0];
  require(step >= 0 && step <= own.options.steps, reader.path(), ": expected a step from 0 to ",
          own.options.steps, ", found ", step);
  auto loaded = own.states;
  for (Index g = 0; g < run_count(); ++g) {
    auto& state = loaded[static_cast<std::size_t>(g)];
    RunState::each(state, [&](const char* name, auto& buffer) {
      reader.read_into(concatenate(g, ".", name), std::array{buffer.size()}, buffer.span());
    });
    const Index most = own.environment(g).max_episode_steps();
    require(state.episode() >= 0 && state.episode_step() >= 0 && state.episode_step() < most &&
                state.episode() * most + state.episode_step() == step,
            reader.path(), ": run ", g, ": expected step ", step, " in episodes of ", most,
            ", found episode ", state.episode(), ", step ", state.episode_step());
  }
  own.states.swap(loaded);
  own.step = step;
  own.for_runs([&](Index g) { own.repeat_episode(g); });
}

}  // namespace maa::examples::reinforcement
