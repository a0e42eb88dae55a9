// Proximal policy optimisation: gradients in double, problems whose answers are known, and the same bits
// however it is interrupted and shared among threads.
#include <doctest/doctest.h>

#include <limits>
#include <map>

#include <maa/models/policy.hpp>
#include <maa/testing/grad_check.hpp>

#include "lines.hpp"
#include "ppo.hpp"
#include "ppo_loss.hpp"
#include "temporary_folder.hpp"

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::Rng;
using namespace maa::examples;
using namespace maa::examples::reinforcement;
using test::check_error;

using Layer = maa::Hidden<16, maa::Activation::tanh>;
using Policy = maa::MlpPolicy<
    maa::MlpNetwork<1, 1, maa::HiddenLayers<Layer, Layer>, maa::Heads::mean, maa::Squash::none>>;
constexpr Index parameters = Policy::parameter_size;
const auto& policy_of_tests = policy_type<Policy>();
constexpr double unbounded = 1e9;

class Lines final : public test::Lines {
 public:
  explicit Lines(std::map<std::string, test::Problem> problems)
      : test::Lines(std::move(problems), policy_of_tests) {}
};

Buffer<float> exported(const PpoTrainer& trainer) {
  Buffer<float> weights(trainer.run_count() * parameters);
  trainer.export_policies({weights.data(), trainer.run_count(), parameters});
  return weights;
}
bool same_bits(const Buffer<float>& a, const Buffer<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}
double action_at(const Buffer<float>& weights, double x, Index run = 0) {
  const Policy policy(weights.span().subspan(static_cast<std::size_t>(run * parameters),
                                             static_cast<std::size_t>(parameters)));
  const std::array<float, 1> observation{static_cast<float>(x)};
  std::array<float, 1> action{};
  policy.act(observation, action);
  return static_cast<double>(action[0]);
}
void train(PpoTrainer& trainer, Index iterations = std::numeric_limits<Index>::max()) {
  for (Index i = 0; i < iterations && !trainer.finished(); ++i) {
    trainer.step();
  }
}

// For the tests of bits: episodes of different lengths, some of which fail, all of what a state holds in use.
const std::map<std::string, test::Problem> two_tasks = {
    {"short",
     {.episode_steps = 7,
      .gain = 0.2,
      .reward = [](double x, double a) { return -x * x - 0.1 * a * a; },
      .limit = unbounded}},
    {"long",
     {.episode_steps = 23,
      .gain = 0.1,
      .reward = [](double x, double) { return x; },
      .limit = unbounded,
      .fails = [](double x, double) { return x < -0.9; }}},
};
const std::vector<LearningRun> three_runs = {{"short", 3}, {"long", 4}, {"long", 5}};
const PpoOptions short_training{
    .steps = 6 * 40, .environments = 4, .horizon = 10, .epochs = 2, .minibatches = 3};

// A small actor and critic in double, and a batch whose ratios lie on all sides of the clip.
struct Losses {
  static constexpr Index rows = 17, observations = 3, actions = 2;
  using Hidden = maa::Hidden<7, maa::Activation::tanh>;
  using Actor = maa::MlpNetwork<observations, actions, maa::HiddenLayers<Hidden, Hidden>, maa::Heads::mean>;
  using Critic = maa::MlpNetwork<observations, 1, maa::HiddenLayers<Hidden, Hidden>, maa::Heads::mean>;
  static constexpr Index actor_size = maa::parameter_count<Actor>, critic_size = maa::parameter_count<Critic>;

  const maa::cpu::Backend backend{1};
  const maa::MlpLayout actor_layout = Actor::layout(), critic_layout = Critic::layout();
  Buffer<double> actor{actor_size + actions}, critic{critic_size}, seen{rows * observations},
      acted{rows * actions}, old_log_prob{rows}, numbers{rows};

  Losses() {
    Rng rng(5);
    rng.fill_normal(actor.span(), 0.4);
    rng.fill_normal(critic.span(), 0.6);
    rng.fill_normal(seen.span());
    rng.fill_normal(numbers.span());
    // Actions by these very weights, and probabilities that differ by up to some 40 %.
    const auto mean = means();
    rng.fill_normal(acted.span());
    for (Index i = 0; i < acted.size(); ++i) {
      acted[i] = mean[i] + std::exp(actor[actor_size + i % actions]) * acted[i];
    }
    gaussian_log_prob<double>({mean.data(), rows, actions}, log_std(),
                              MatrixView<double>(acted.data(), rows, actions), old_log_prob.span());
    for (double& value : old_log_prob) {
      value += rng.uniform(-0.4, 0.4);
    }
  }
  std::span<const double> log_std() const { return actor.span().last(actions); }
  Buffer<double> means() const {
    Buffer<double> mean(rows * actions);
    maa::cpu::policy_batch_infer<double>(backend, actor_layout,
                                         MatrixView<const double>(actor.data(), 1, actor_size),
                                         MatrixView<const double>(seen.data(), rows, observations),
                                         maa::SequenceView<double>(mean.data(), 1, rows, actions));
    return mean;
  }
  PpoActorLoss of_actor(Buffer<double>& gradients) const {
    return ppo_actor_loss<double>(
        backend, actor_layout, MatrixView<const double>(actor.data(), 1, actor_size), log_std(), 0.2, 0.03,
        MatrixView<const double>(seen.data(), rows, observations),
        MatrixView<const double>(acted.data(), rows, actions), old_log_prob.span(), numbers.span(),
        MatrixView<double>(gradients.data(), 1, actor_size), gradients.span().last(actions));
  }
};

}  // namespace

TEST_CASE("the gradient of the actor's loss, for weights and deviations") {
  Losses losses;
  Buffer<double> gradients(losses.actor.size()), ignored(losses.actor.size());
  const auto found = losses.of_actor(gradients);
  CHECK(found.clipped > 0.2);  // both kinds of rows count
  CHECK(found.clipped < 0.8);
  CHECK(found.divergence > 0);
  const auto result =
      maa::grad_check(losses.actor.span(), gradients.span(), [&] { return losses.of_actor(ignored).loss; });
  CHECK(result.worst_error <= 1e-6);
}

TEST_CASE("the gradient of the values' loss") {
  Losses losses;
  Buffer<double> gradients(losses.critic.size()), ignored(losses.critic.size());
  const auto loss = [&](Buffer<double>& to) {
    return critic_loss<double>(
        losses.backend, losses.critic_layout,
        MatrixView<const double>(losses.critic.data(), 1, Losses::critic_size),
        MatrixView<const double>(losses.seen.data(), Losses::rows, Losses::observations),
        losses.numbers.span(), MatrixView<double>(to.data(), 1, Losses::critic_size));
  };
  loss(gradients);
  const auto result = maa::grad_check(losses.critic.span(), gradients.span(), [&] { return loss(ignored); });
  CHECK(result.worst_error <= 1e-6);
}

TEST_CASE(
    "the probability of actions is a density, and the loss of the policy that acted has no divergence") {
  constexpr Index points = 4001;
  Buffer<double> mean(points), actions(points), log_prob(points);
  const double log_std = -0.7;
  for (Index i = 0; i < points; ++i) {
    mean[i] = 0.3;
    actions[i] = 0.3 - 5 + 10.0 * static_cast<double>(i) / (points - 1);
  }
  gaussian_log_prob<double>({mean.data(), points, 1}, std::span(&log_std, 1),
                            MatrixView<double>(actions.data(), points, 1), log_prob.span());
  double integral = 0;
  for (Index i = 1; i < points; ++i) {
    integral += 0.5 * (std::exp(log_prob[i]) + std::exp(log_prob[i - 1])) * (actions[i] - actions[i - 1]);
  }
  CHECK(integral == doctest::Approx(1).epsilon(1e-6));

  Losses losses;
  Buffer<double> gradients(losses.actor.size());
  gaussian_log_prob<double>({losses.means().data(), Losses::rows, Losses::actions}, losses.log_std(),
                            MatrixView<double>(losses.acted.data(), Losses::rows, Losses::actions),
                            losses.old_log_prob.span());
  const auto found = losses.of_actor(gradients);
  CHECK(found.divergence == doctest::Approx(0));
  CHECK(found.clipped == 0);
}

TEST_CASE("advantages are discounted sums up to an end, by definition") {
  constexpr Index steps = 9, stride = 2;
  Rng rng(3);
  Buffer<float> rewards(steps * stride), values(steps * stride), next(steps * stride), ends(steps * stride),
      advantages(steps * stride);
  for (auto* numbers : {&rewards, &values, &next}) {
    rng.fill_normal(numbers->span());
  }
  ends[4 * stride] = 1;
  constexpr double discount = 0.9, lambda = 0.8;
  advantages_of(rewards.data(), values.data(), next.data(), ends.data(), steps, stride, discount, lambda,
                advantages.data());
  for (Index t = 0; t < steps; ++t) {
    double sum = 0, weight = 1;
    for (Index k = t; k < steps; ++k) {
      const Index at = k * stride;
      sum += weight * (static_cast<double>(rewards[at]) + discount * static_cast<double>(next[at]) -
                       static_cast<double>(values[at]));
      weight *= ends[at] != 0 ? 0 : discount * lambda;
    }
    CHECK(static_cast<double>(advantages[t * stride]) == doctest::Approx(sum).epsilon(1e-5));
    CHECK(advantages[t * stride + 1] == 0);
  }
}

TEST_CASE("a bandit with a best action for each context") {
  const auto best = [](double x) { return 0.5 + 1.5 * x; };
  Lines simulator(
      {{"bandit",
        {.reward = [&](double x, double a) { return -std::pow(a - best(x), 2); }, .limit = unbounded}}});
  PpoOptions options{.steps = 20'000, .environments = 32, .horizon = 8};
  options.learning_rate = 3e-3;
  options.divergence = 0.02;
  PpoTrainer trainer(policy_of_tests, simulator, {{"bandit", 1}, {"bandit", 2}}, options, 2);
  train(trainer);
  const auto weights = exported(trainer);
  for (Index run = 0; run < 2; ++run) {
    for (const double x : {-0.8, 0.0, 0.8}) {
      MESSAGE("error ", action_at(weights, x, run) - best(x));
      CHECK(std::abs(action_at(weights, x, run) - best(x)) < 0.1);
    }
    CHECK(trainer.status(run).deviation < options.initial_deviation);
  }
}

TEST_CASE("a linear problem with its optimal gain, learned through the ends of short episodes") {
  constexpr double gain = 0.3, discount = 0.9;
  // x' = x + gain a, reward -x^2 - a^2: a = -k x (Riccati's equation). At an end that cut values off, as
  // after failure, the best gain would be that of three steps: half as large.
  double p = 1;
  for (int i = 0; i < 1000; ++i) {
    p = 1 + discount * p - std::pow(discount * p * gain, 2) / (1 + discount * p * gain * gain);
  }
  const double k = discount * p * gain / (1 + discount * p * gain * gain);
  Lines simulator({{"linear",
                    {.episode_steps = 3,
                     .gain = gain,
                     .reward = [](double x, double a) { return -x * x - a * a; },
                     .limit = unbounded}}});
  PpoOptions options{.steps = 60'000, .environments = 32, .horizon = 16};
  options.discount = discount;
  options.learning_rate = 3e-3;
  PpoTrainer trainer(policy_of_tests, simulator, {{"linear", 1}}, options, 1);
  train(trainer);
  const auto weights = exported(trainer);
  for (const double x : {-0.8, -0.4, 0.4, 0.8}) {
    MESSAGE("action ", action_at(weights, x), ", best ", -k * x);
    CHECK(std::abs(action_at(weights, x) + k * x) < 0.12);
  }
}

TEST_CASE("failure is terminal: a reward now is worth less than going on") {
  // To fail earns 1, a step that does not .3: for ever 3, but 1 + the rest if values went on beyond failure.
  Lines simulator({{"cliff",
                    {.episode_steps = 50,
                     .reward = [](double, double a) { return a > 0 ? 1.0 : 0.3; },
                     .limit = unbounded,
                     .fails = [](double, double a) { return a > 0; }}}});
  PpoOptions options{.steps = 20'000, .environments = 16, .horizon = 16};
  options.discount = 0.9;
  PpoTrainer trainer(policy_of_tests, simulator, {{"cliff", 1}}, options, 1);
  train(trainer);
  for (const double x : {-0.7, 0.7}) {
    CHECK(action_at(exported(trainer), x) < -0.3);
  }
  CHECK(trainer.status(0).mean_length > 20);
}

TEST_CASE("policies read raw observations, or normalised ones by the scaling that is exported with them") {
  Lines simulator(two_tasks);
  PpoTrainer trainer(policy_of_tests, simulator, three_runs, short_training, 1);
  train(trainer, 4);
  const auto folded = exported(trainer);
  for (Index run = 0; run < 3; ++run) {
    Buffer<float> weights(parameters);
    const auto interface = trainer.export_policy(run, weights.span());
    CHECK(interface.observation_scale[0] != 1);
    const Policy policy(weights.span(), interface.box<Policy>(), interface.scaling<Policy>());
    for (const float x : {-0.8f, 0.1f, 0.9f}) {
      std::array<float, 1> action{};
      policy.act(std::array<float, 1>{x}, action);
      CHECK(static_cast<double>(action[0]) ==
            doctest::Approx(action_at(folded, static_cast<double>(x), run)).epsilon(1e-4));
    }
  }
}

TEST_CASE("a run has the same bits for any number of threads, and alone") {
  Lines simulator(two_tasks);
  const auto weights_of = [&](std::vector<LearningRun> runs, int threads) {
    PpoTrainer trainer(policy_of_tests, simulator, std::move(runs), short_training, threads);
    train(trainer);
    return exported(trainer);
  };
  const auto one = weights_of(three_runs, 1);
  CHECK(same_bits(one, weights_of(three_runs, 2)));
  for (Index g = 0; g < 3; ++g) {
    const auto alone = weights_of({three_runs[static_cast<std::size_t>(g)]}, 1);
    CHECK(std::equal(alone.begin(), alone.end(), one.data() + g * parameters));
  }
  CHECK_FALSE(std::equal(one.data() + parameters, one.data() + 2 * parameters, one.data() + 2 * parameters));
}

TEST_CASE("a training that was saved goes on to the same bits") {
  const test::TemporaryFolder folder;
  const auto file = folder / "ppo.safetensors";
  Lines simulator(two_tasks);
  PpoTrainer whole(policy_of_tests, simulator, three_runs, short_training, 2);
  train(whole);
  CHECK(whole.step_count() == short_training.steps);
  for (const Index stop : {0, 1, 2, 5}) {
    CAPTURE(stop);
    PpoTrainer first(policy_of_tests, simulator, three_runs, short_training, 2);
    train(first, stop);
    first.save(file);
    PpoTrainer second(policy_of_tests, simulator, three_runs, short_training, 1);
    train(second, 3);
    second.load(file);
    CHECK(second.step_count() == 40 * stop);
    train(second);
    CHECK(same_bits(exported(second), exported(whole)));
    for (Index g = 0; g < 3; ++g) {
      CHECK(second.status(g).episodes == whole.status(g).episodes);
      CHECK(second.mean_return(g) == whole.mean_return(g));
      CHECK(second.status(g).learning_rate == whole.status(g).learning_rate);
    }
  }
}

TEST_CASE("what does not fit is refused by name") {
  auto tasks = two_tasks;
  tasks["wide"] = {.observations = 2};
  bool broken = false;
  tasks["broken"] = {
      .episode_steps = 5,
      .reward = [&](double, double) { return broken ? std::numeric_limits<double>::quiet_NaN() : 0.0; },
      .limit = unbounded};
  Lines simulator(tasks);
  const auto make = [&](std::vector<LearningRun> runs, const PpoOptions& options) {
    PpoTrainer(policy_of_tests, simulator, std::move(runs), options, 1);
  };
  const auto with = [](auto member, auto value) {
    auto options = short_training;
    options.*member = value;
    return options;
  };
  check_error("ppo: expected horizon", [&] { make(three_runs, with(&PpoOptions::horizon, Index{0})); });
  check_error("ppo: expected clip", [&] { make(three_runs, with(&PpoOptions::clip, 0.0)); });
  check_error("at most 40 minibatches, found 41",
              [&] { make(three_runs, with(&PpoOptions::minibatches, Index{41})); });
  check_error("found none", [&] { make({}, short_training); });
  check_error("\"wide\", found 2 and 1", [&] { make({{"wide", 1}}, short_training); });
  const auto squashed = network_type<maa::MlpNetwork<1, 1, maa::HiddenLayers<Layer>, maa::Heads::mean>>();
  check_error("nothing squashes", [&] { PpoTrainer(squashed, simulator, three_runs, short_training, 1); });

  const std::vector<LearningRun> same = {{"short", 1}, {"broken", 1}};
  PpoTrainer trainer(policy_of_tests, simulator, same, short_training, 2);
  check_error("exported policies", [&] { trainer.export_policies({nullptr, 1, parameters}); });
  check_error("below 2, found 2", [&] { trainer.status(2); });
  const test::TemporaryFolder folder;
  const auto file = folder / "ppo.safetensors";
  train(trainer, 2);
  trainer.save(file);
  check_error("options.discount: expected 0.5, found", [&] {
    PpoTrainer(policy_of_tests, simulator, same, with(&PpoOptions::discount, 0.5), 1).load(file);
  });
  // Another simulator, which does not repeat the episode.
  tasks["short"].gain = 0.3;
  Lines changed(tasks);
  check_error("run 0 (\"short\"): expected the observation",
              [&] { PpoTrainer(policy_of_tests, changed, same, short_training, 1).load(file); });
  broken = true;
  check_error("run 1 (\"broken\"): the ", [&] { train(trainer); });
  PpoTrainer done(policy_of_tests, simulator, {{"short", 1}}, short_training, 1);
  train(done);
  check_error("all 240 steps are done", [&] { done.step(); });
}
