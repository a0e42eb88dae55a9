#include "ppo.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <maa/backend/cpu/optimizer.hpp>
#include <maa/core/finite.hpp>
#include <maa/io/safetensors.hpp>

#include "ppo_loss.hpp"

namespace maa::examples::reinforcement {
namespace {

constexpr Index recent_episodes = 20;  // that a status is about
constexpr double least_rate = 1e-5, greatest_rate = 1e-2, rate_step = 1.5;
constexpr double constant_deviation = 1e-3;  // observations that vary less say nothing and are only shifted

// What random numbers are for: each purpose has streams of its own.
enum class PpoPurpose : std::uint64_t { actor, critic, placement, noise, order };

// One run, without its environments.
struct PpoRunState {
  detail::Learned actor, critic;  // [P + A], the weights and then log_std of actions; [C]
  Buffer<double> moments;         // [1 + 2 O]: observations seen, their means, and sums of squares from these
  Buffer<double> learning_rate{1};
  // The present episodes.
  Buffer<float> observations;   // [E, O]
  Buffer<float> actions;        // [E, max_episode_steps, A]
  Buffer<double> sums;          // [E, 2]: return so far, whether a step succeeded
  Buffer<std::int64_t> counts;  // [E, 2]: its number among the environment's, steps of it
  // Of finished episodes: return, length, success of each; episode n at n % recent_episodes.
  Buffer<double> recent{3 * recent_episodes};
  Buffer<std::int64_t> finished{1};
  Buffer<double> last_update{3};  // divergence, clipped share, loss of the values

  PpoRunState(Index actor_size, Index critic_size, Index environments, Index observation_size,
              Index actions_size)
      : actor(actor_size),
        critic(critic_size),
        moments(1 + 2 * observation_size),
        observations(environments * observation_size),
        actions(environments * actions_size),
        sums(2 * environments),
        counts(2 * environments) {}

  // visit(name, buffer) for everything.
  template <class Self, class Visit>
  static void each(Self& self, const Visit& visit) {
    visit("actor.weights", self.actor.weights);
    visit("actor.first_moment", self.actor.first_moment);
    visit("actor.second_moment", self.actor.second_moment);
    visit("critic.weights", self.critic.weights);
    visit("critic.first_moment", self.critic.first_moment);
    visit("critic.second_moment", self.critic.second_moment);
    visit("moments", self.moments);
    visit("learning_rate", self.learning_rate);
    visit("observations", self.observations);
    visit("actions", self.actions);
    visit("sums", self.sums);
    visit("counts", self.counts);
    visit("recent", self.recent);
    visit("finished", self.finished);
    visit("last_update", self.last_update);
  }

  std::int64_t& episode(Index e) { return counts[2 * e]; }
  std::int64_t& episode_step(Index e) { return counts[2 * e + 1]; }
};

// What an iteration collects, step by step and environment by environment: row t E + e.
struct Collected {
  MatrixView<float> raw, observations, actions;
  std::span<float> log_prob, rewards, values, next_values, ends, advantages, targets;
};

}  // namespace

struct PpoTrainer::State {
  const NetworkType& network;
  MlpLayout critic;
  std::vector<LearningRun> runs;
  PpoOptions options;
  Index observation_size, action_size;
  ThreadPool pool;
  cpu::Backend serial{1};  // of the ops of one run: threads share runs among them
  std::vector<std::unique_ptr<Environment>> environments;  // [G, E]
  std::vector<PpoRunState> states;
  Index iteration = 0;

  State(const NetworkType& network_, Simulator& simulator, std::vector<LearningRun> runs_,
        const PpoOptions& options_, int threads)
      : network(network_),
        critic(detail::value_layout(network.layout, network.observation_size())),
        runs(std::move(runs_)),
        options(options_),
        observation_size(network.observation_size()),
        action_size(network.action_size()),
        pool(threads) {
    check_fields(options, "ppo");
    require(network.shape.squash != Squash::tanh && !network.layout.log_std,
            "ppo: expected policies that nothing squashes, without a log_std head");
    require(!runs.empty(), "ppo: expected runs, found none");
    require(options.minibatches <= rows(), "ppo: expected at most ", rows(), " minibatches, found ",
            options.minibatches);
    for (const auto& run : runs) {
      for (Index e = 0; e < options.environments; ++e) {
        environments.push_back(detail::environment_for(run, simulator, network, "ppo"));
      }
      states.push_back(initial_state(run, environments.back()->max_episode_steps()));
    }
    for_runs([&](Index g) {
      for (Index e = 0; e < options.environments; ++e) {
        begin_episode(g, e);
      }
    });
  }

  Index rows() const { return options.horizon * options.environments; }  // of an iteration
  Index iterations() const { return (options.steps + rows() - 1) / rows(); }
  Rng random(Index g, PpoPurpose purpose, Index a, Index b = 0) const {
    return Rng(runs[static_cast<std::size_t>(g)].seed)
        .fork(static_cast<std::uint64_t>(purpose))
        .fork(static_cast<std::uint64_t>(a))
        .fork(static_cast<std::uint64_t>(b));
  }
  PpoRunState& state(Index g) { return states[static_cast<std::size_t>(g)]; }
  Environment& environment(Index g, Index e) {
    return *environments[static_cast<std::size_t>(g * options.environments + e)];
  }
  template <class Body>
  void for_runs(const Body& body) {
    detail::for_runs(pool, runs, "ppo", body);
  }

  PpoRunState initial_state(const LearningRun& run, Index max_steps) const {
    PpoRunState state(network.parameter_count() + action_size, critic.parameter_count, options.environments,
                      observation_size, max_steps * action_size);
    const Rng rng(run.seed);
    const auto actor = state.actor.weights.span();
    const auto weights = actor.first(static_cast<std::size_t>(network.parameter_count()));
    network.initialize(weights, rng.fork(static_cast<std::uint64_t>(PpoPurpose::actor)));
    const auto& head = network.layout.mean;
    for (const auto& [offset, size] :
         {std::pair(head.weight_offset, head.in * head.out), std::pair(head.bias_offset, head.out)}) {
      for (float& weight :
           weights.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size))) {
        weight *= static_cast<float>(options.initial_head);
      }
    }
    std::ranges::fill(actor.last(static_cast<std::size_t>(action_size)),
                      static_cast<float>(std::log(options.initial_deviation)));
    detail::initialize_values(critic, state.critic.weights.span(),
                              rng.fork(static_cast<std::uint64_t>(PpoPurpose::critic)));
    state.learning_rate[0] = options.learning_rate;
    return state;
  }

  std::span<float> observation_of(Index g, Index e) {
    return state(g).observations.span().subspan(static_cast<std::size_t>(e * observation_size),
                                                static_cast<std::size_t>(observation_size));
  }
  float* actions_of(Index g, Index e) {
    return state(g).actions.data() + e * environment(g, e).max_episode_steps() * action_size;
  }
  void reset(Index g, Index e, std::span<float> observation) {
    auto rng = random(g, PpoPurpose::placement, state(g).episode(e), e);
    environment(g, e).reset(environment(g, e).draw_placement(rng.next_u64()), observation);
  }
  void begin_episode(Index g, Index e) {
    auto& own = state(g);
    own.episode_step(e) = 0;
    own.sums[2 * e] = own.sums[2 * e + 1] = 0;
    reset(g, e, observation_of(g, e));
  }
  // Brings the environment to where its present episode is.
  void repeat_episode(Index g, Index e) {
    std::vector<float> observation(static_cast<std::size_t>(observation_size));
    reset(g, e, observation);
    for (Index i = 0; i < state(g).episode_step(e); ++i) {
      environment(g, e).step({actions_of(g, e) + i * action_size, static_cast<std::size_t>(action_size)},
                             observation);
    }
    require(std::ranges::equal(observation, observation_of(g, e)),
            "expected the observation that was saved after repeating ", state(g).episode_step(e),
            " steps of environment ", e, "'s episode, found another");
  }

  // The identity before any observation is counted.
  Normalizer normalizer(Index g) const {
    const auto& moments = states[static_cast<std::size_t>(g)].moments;
    Normalizer result(observation_size);
    for (Index j = 0; j < observation_size && moments[0] > 0; ++j) {
      const double deviation = std::sqrt(moments[1 + observation_size + j] / moments[0]);
      result.offset[j] = static_cast<float>(moments[1 + j]);
      result.scale[j] = deviation < constant_deviation
                            ? 1.0f
                            : static_cast<float>(1 / std::max(deviation, options.least_deviation));
    }
    return result;
  }
  // Chan et al., 1979.
  void count(Index g, MatrixView<const float> observations) {
    auto& moments = state(g).moments;
    const auto added = static_cast<double>(observations.rows);
    const double before = moments[0], all = before + added;
    std::vector<double> mean(static_cast<std::size_t>(observation_size)), squares(mean.size());
    for (Index i = 0; i < observations.rows; ++i) {
      for (std::size_t j = 0; j < mean.size(); ++j) {
        mean[j] += static_cast<double>(observations.row(i)[j]) / added;
      }
    }
    for (Index i = 0; i < observations.rows; ++i) {
      for (std::size_t j = 0; j < mean.size(); ++j) {
        const double difference = static_cast<double>(observations.row(i)[j]) - mean[j];
        squares[j] += difference * difference;
      }
    }
    for (std::size_t j = 0; j < mean.size(); ++j) {
      double& own = moments[1 + static_cast<Index>(j)];
      const double change = mean[j] - own;
      own += change * added / all;
      moments[1 + observation_size + static_cast<Index>(j)] +=
          squares[j] + change * change * before * added / all;
    }
    moments[0] = all;
  }

  MatrixView<const float> actor_of(Index g) const {
    return {states[static_cast<std::size_t>(g)].actor.weights.data(), 1, network.parameter_count()};
  }
  std::span<const float> log_std_of(Index g) const {
    return states[static_cast<std::size_t>(g)].actor.weights.span().last(
        static_cast<std::size_t>(action_size));
  }
  void values_of(Index g, MatrixView<const float> observations, float* values) {
    cpu::policy_batch_infer<float>(
        serial, critic, MatrixView<const float>(state(g).critic.weights.data(), 1, critic.parameter_count),
        observations, SequenceView<float>(values, 1, observations.rows, 1));
  }

  void advance(Index g) {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const Index all = rows();
    const Collected found{scratch.matrix<float>(all, observation_size),
                          scratch.matrix<float>(all, observation_size),
                          scratch.matrix<float>(all, action_size),
                          scratch.span<float>(all),
                          scratch.span<float>(all),
                          scratch.span<float>(all),
                          scratch.span<float>(all),
                          scratch.span<float>(all),
                          scratch.span<float>(all),
                          scratch.span<float>(all)};
    collect(g, found);
    for (Index e = 0; e < options.environments; ++e) {
      const auto at = static_cast<std::size_t>(e);
      advantages_of(&found.rewards[at], &found.values[at], &found.next_values[at], &found.ends[at],
                    options.horizon, options.environments, options.discount, options.lambda,
                    &found.advantages[at]);
    }
    for (std::size_t i = 0; i < found.targets.size(); ++i) {
      found.targets[i] = found.advantages[i] + found.values[i];
    }
    standardize(found.advantages);
    update(g, found);
    count(g, found.raw);
  }

  static void standardize(std::span<float> numbers) {
    const auto size = static_cast<double>(numbers.size());
    double mean = 0, squares = 0;
    for (const float number : numbers) {
      mean += static_cast<double>(number) / size;
    }
    for (const float number : numbers) {
      squares += (static_cast<double>(number) - mean) * (static_cast<double>(number) - mean);
    }
    const double scale = 1 / (std::sqrt(squares / size) + 1e-8);
    for (float& number : numbers) {
      number = static_cast<float>((static_cast<double>(number) - mean) * scale);
    }
  }

  void collect(Index g, const Collected& to) {
    auto& own = state(g);
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const Index count = options.environments;
    const auto normalize = normalizer(g);
    const auto final_observation = scratch.matrix<float>(1, observation_size);
    const auto log_std = log_std_of(g);
    const MatrixView<const float> present(own.observations.data(), count, observation_size);
    for (Index t = 0; t < options.horizon; ++t) {
      const auto read = to.observations.row_range(t * count, count);
      const auto actions = to.actions.row_range(t * count, count);
      const auto part = [&](std::span<float> numbers) {
        return numbers.subspan(static_cast<std::size_t>(t * count), static_cast<std::size_t>(count));
      };
      std::copy_n(present.data, present.size(), to.raw.row(t * count));
      std::copy_n(present.data, present.size(), read.data);
      normalize.apply(read);
      const Workspace::Scope step_scope(scratch);
      const auto mean = scratch.matrix<float>(count, action_size);
      cpu::policy_batch_infer<float>(serial, network.layout, actor_of(g), MatrixView<const float>(read),
                                     SequenceView<float>(mean.data, 1, count, action_size));
      values_of(g, read, part(to.values).data());
      random(g, PpoPurpose::noise, iteration, t).fill_normal(actions.span());
      for (Index i = 0; i < count; ++i) {
        for (Index j = 0; j < action_size; ++j) {
          actions(i, j) = mean(i, j) + std::exp(log_std[static_cast<std::size_t>(j)]) * actions(i, j);
        }
      }
      gaussian_log_prob<float>(mean, log_std, actions, part(to.log_prob));
      for (Index e = 0; e < count; ++e) {
        const auto at = static_cast<std::size_t>(t * count + e);
        const auto result = act(g, e, actions.row_span(e));
        const bool in_time = own.episode_step(e) < environment(g, e).max_episode_steps();
        to.rewards[at] = static_cast<float>(result.reward);
        to.ends[at] = in_time && !result.failed ? 0.0f : 1.0f;
        to.next_values[at] = 0;
        if (to.ends[at] == 0) {
          continue;
        }
        if (!result.failed) {
          std::ranges::copy(observation_of(g, e), final_observation.data);
          normalize.apply(final_observation);
          values_of(g, final_observation, &to.next_values[at]);
        }
        end_episode(g, e);
      }
      if (t > 0) {
        follow(to, t - 1, part(to.values));
      }
    }
    const auto last = scratch.matrix<float>(count, observation_size);
    const auto values = scratch.span<float>(count);
    std::copy_n(present.data, present.size(), last.data);
    normalize.apply(last);
    values_of(g, last, values.data());
    follow(to, options.horizon - 1, values);
  }

  // Of episodes that go on, the value after a step is that of the next row.
  void follow(const Collected& to, Index t, std::span<const float> next) const {
    for (std::size_t e = 0; e < next.size(); ++e) {
      const auto at = static_cast<std::size_t>(t * options.environments) + e;
      if (to.ends[at] == 0) {
        to.next_values[at] = next[e];
      }
    }
  }

  StepResult act(Index g, Index e, std::span<const float> action) {
    auto& own = state(g);
    std::ranges::copy(action, actions_of(g, e) + own.episode_step(e) * action_size);
    const auto result = environment(g, e).step(action, observation_of(g, e));
    ++own.episode_step(e);
    own.sums[2 * e] += result.reward;
    own.sums[2 * e + 1] = result.success ? 1 : own.sums[2 * e + 1];
    return result;
  }
  void end_episode(Index g, Index e) {
    auto& own = state(g);
    double* const place = own.recent.data() + own.finished[0]++ % recent_episodes * 3;
    place[0] = own.sums[2 * e];
    place[1] = static_cast<double>(own.episode_step(e));
    place[2] = own.sums[2 * e + 1];
    ++own.episode(e);
    begin_episode(g, e);
  }

  void update(Index g, const Collected& from) {
    auto& own = state(g);
    auto& scratch = thread_scratch();
    const Workspace::Scope outer(scratch);
    const Index all = rows();
    std::vector<Index> order(static_cast<std::size_t>(all));
    std::iota(order.begin(), order.end(), Index{0});
    const auto actor_gradients = scratch.matrix<float>(1, own.actor.weights.size());
    const auto critic_gradients = scratch.matrix<float>(1, own.critic.weights.size());
    for (Index epoch = 0; epoch < options.epochs; ++epoch) {
      random(g, PpoPurpose::order, iteration, epoch).shuffle(std::span(order));
      own.last_update[0] = own.last_update[1] = own.last_update[2] = 0;
      for (Index part = 0; part < options.minibatches; ++part) {
        const Index first = all * part / options.minibatches;
        const Index size = all * (part + 1) / options.minibatches - first;
        const double weight = static_cast<double>(size) / static_cast<double>(all);
        const Workspace::Scope scope(scratch);
        const auto observations = scratch.matrix<float>(size, observation_size);
        const auto actions = scratch.matrix<float>(size, action_size);
        const auto log_prob = scratch.span<float>(size), advantages = scratch.span<float>(size),
                   targets = scratch.span<float>(size);
        for (Index i = 0; i < size; ++i) {
          const Index row = order[static_cast<std::size_t>(first + i)];
          const auto at = static_cast<std::size_t>(i), there = static_cast<std::size_t>(row);
          std::copy_n(from.observations.row(row), observation_size, observations.row(i));
          std::copy_n(from.actions.row(row), action_size, actions.row(i));
          log_prob[at] = from.log_prob[there];
          advantages[at] = from.advantages[there];
          targets[at] = from.targets[there];
        }
        const auto parameters = network.parameter_count();
        const auto actor = ppo_actor_loss<float>(
            serial, network.layout, actor_of(g), log_std_of(g), static_cast<float>(options.clip),
            static_cast<float>(options.entropy_weight), observations, actions, log_prob, advantages,
            actor_gradients.col_range(0, parameters),
            actor_gradients.span().last(static_cast<std::size_t>(action_size)));
        descend(g, epoch * options.minibatches + part, actor.loss, "actor", own.actor,
                actor_gradients.span());
        const MatrixView<const float> critic_weights(own.critic.weights.data(), 1, critic.parameter_count);
        const double loss =
            critic_loss<float>(serial, critic, critic_weights, observations, targets, critic_gradients);
        descend(g, epoch * options.minibatches + part, loss, "critic", own.critic, critic_gradients.span());
        own.last_update[0] += weight * actor.divergence;
        own.last_update[1] += weight * actor.clipped;
        own.last_update[2] += weight * loss;
      }
      follow_divergence(own);
    }
  }

  void follow_divergence(PpoRunState& own) const {
    double& rate = own.learning_rate[0];
    if (options.divergence > 0 && own.last_update[0] > 2 * options.divergence) {
      rate = std::max(std::min(rate, least_rate), rate / rate_step);
    } else if (options.divergence > 0 && own.last_update[0] < 0.5 * options.divergence) {
      rate = std::min(std::max(rate, greatest_rate), rate * rate_step);
    }
  }

  // One step of Adam, `at` among the iteration's.
  void descend(Index g, Index at, double loss, const char* whose, detail::Learned& learned,
               std::span<float> gradients) {
    const double squares = cpu::sum_of_squares(serial, gradients);
    require(is_finite(loss) && is_finite(squares), "the ", whose, "'s loss is not finite in iteration ",
            iteration, "; lower the learning rate or check the rewards");
    AdamWStep adam;
    adam.step = iteration * options.epochs * options.minibatches + at + 1;
    adam.learning_rate = state(g).learning_rate[0];
    cpu::adamw_if_finite<float>(serial, adam, options.clip_norm, loss, squares, learned.weights.span(),
                                gradients, learned.first_moment.span(), learned.second_moment.span(),
                                std::span<float>());
  }

  detail::Fingerprint<PpoOptions> fingerprint() const { return {network, runs, options}; }
};

PpoTrainer::PpoTrainer(const NetworkType& network, Simulator& simulator, std::vector<LearningRun> runs,
                       const PpoOptions& options, int threads)
    : state_(std::make_unique<State>(network, simulator, std::move(runs), options, threads)) {}

PpoTrainer::~PpoTrainer() = default;

const PpoOptions& PpoTrainer::options() const {
  return state_->options;
}
const std::vector<LearningRun>& PpoTrainer::runs() const {
  return state_->runs;
}
Index PpoTrainer::steps() const {
  return state_->iterations() * state_->rows();
}
Index PpoTrainer::step_count() const {
  return state_->iteration * state_->rows();
}

void PpoTrainer::step() {
  require(!finished(), "ppo: all ", steps(), " steps are done");
  state_->for_runs([&](Index g) { state_->advance(g); });
  ++state_->iteration;
}

PpoStatus PpoTrainer::status(Index run) const {
  require(run >= 0 && run < run_count(), "ppo: expected a run below ", run_count(), ", found ", run);
  const auto& own = state_->state(run);
  PpoStatus status;
  status.episodes = own.finished[0];
  const Index count = std::min(status.episodes, recent_episodes);
  for (Index i = 0; i < count; ++i) {
    status.mean_return += own.recent[3 * i] / static_cast<double>(count);
    status.mean_length += own.recent[3 * i + 1] / static_cast<double>(count);
    status.success += own.recent[3 * i + 2] / static_cast<double>(count);
  }
  status.learning_rate = own.learning_rate[0];
  const auto deviations = state_->log_std_of(run);
  status.deviation = std::exp(std::accumulate(deviations.begin(), deviations.end(), 0.0) /
                              static_cast<double>(deviations.size()));
  status.divergence = own.last_update[0];
  status.clipped = own.last_update[1];
  status.value_loss = own.last_update[2];
  return status;
}
double PpoTrainer::mean_return(Index run) const {
  return status(run).mean_return;
}

void PpoTrainer::export_policies(MatrixView<float> weights) const {
  require_shape(weights, run_count(), state_->network.parameter_count(), "ppo: exported policies");
  for (Index g = 0; g < run_count(); ++g) {
    std::copy_n(state_->actor_of(g).data, weights.cols, weights.row(g));
    state_->network.fold(state_->normalizer(g), weights.row_span(g));
  }
}

PolicyInterface PpoTrainer::export_policy(Index run, std::span<float> weights) const {
  require(run >= 0 && run < run_count() &&
              static_cast<Index>(weights.size()) == state_->network.parameter_count(),
          "ppo: expected a run below ", run_count(), " and ", state_->network.parameter_count(),
          " weights, found ", run, " and ", weights.size());
  std::copy_n(state_->actor_of(run).data, weights.size(), weights.data());
  const auto normalizer = state_->normalizer(run);
  PolicyInterface result;
  result.observation_mean.assign(normalizer.offset.begin(), normalizer.offset.end());
  result.observation_scale.assign(normalizer.scale.begin(), normalizer.scale.end());
  return result;
}

void PpoTrainer::save(const std::filesystem::path& path) const {
  SafetensorsWriter writer;
  for (const auto& field : fields_of(state_->fingerprint())) {
    writer.set_metadata(field.name, field.text);
  }
  writer.add_scalar("iteration", static_cast<std::int64_t>(state_->iteration));
  for (Index g = 0; g < run_count(); ++g) {
    PpoRunState::each(std::as_const(state_->state(g)), [&](const char* name, const auto& buffer) {
      writer.add(concatenate(g, ".", name), {buffer.size()}, buffer.span());
    });
  }
  writer.write(path);
}

void PpoTrainer::load(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  auto& own = *state_;
  const auto differing = differences(fields_of(own.fingerprint()), reader.metadata(), "");
  require(differing.empty(), reader.path(), ": not a state of this training: ", differing);
  const Index iteration = reader.read<std::int64_t>("iteration", {})[0];
  require(iteration >= 0 && iteration <= own.iterations(), reader.path(),
          ": expected an iteration from 0 to ", own.iterations(), ", found ", iteration);
  auto loaded = own.states;
  for (Index g = 0; g < run_count(); ++g) {
    auto& state = loaded[static_cast<std::size_t>(g)];
    PpoRunState::each(state, [&](const char* name, auto& buffer) {
      reader.read_into(concatenate(g, ".", name), std::array{buffer.size()}, buffer.span());
    });
    require(state.finished[0] >= 0, reader.path(), ": run ", g, ": expected finished episodes, found ",
            state.finished[0]);
    for (Index e = 0; e < own.options.environments; ++e) {
      const Index most = own.environment(g, e).max_episode_steps();
      require(state.episode(e) >= 0 && state.episode_step(e) >= 0 && state.episode_step(e) < most,
              reader.path(), ": run ", g, ": expected a step of an episode of ", most, ", found episode ",
              state.episode(e), ", step ", state.episode_step(e));
    }
  }
  own.states.swap(loaded);
  own.iteration = iteration;
  own.for_runs([&](Index g) {
    for (Index e = 0; e < own.options.environments; ++e) {
      own.repeat_episode(g, e);
    }
  });
}

}  // namespace maa::examples::reinforcement
