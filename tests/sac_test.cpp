// Soft actor-critic: gradients in double, problems whose answers are known, and the same bits however it is
// interrupted and shared among threads.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <map>

#include <maa/models/policy.hpp>
#include <maa/testing/grad_check.hpp>

#include "lines.hpp"
#include "sac.hpp"
#include "sac_loss.hpp"
#include "temporary_folder.hpp"

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::Rng;
using namespace maa::examples;
using namespace maa::examples::reinforcement;
using test::check_error;

using Layer = maa::Hidden<32, maa::Activation::relu>;
using Policy = maa::MlpPolicy<maa::MlpNetwork<1, 1, maa::HiddenLayers<Layer, Layer>>>;
constexpr Index parameters = Policy::parameter_size;
const auto& policy_of_tests = policy_type<Policy>();

using Problem = test::Problem;

class Lines final : public test::Lines {
 public:
  explicit Lines(std::map<std::string, Problem> problems)
      : test::Lines(std::move(problems), policy_of_tests) {}
};

Buffer<float> exported(const SacTrainer& trainer) {
  Buffer<float> weights(trainer.run_count() * parameters);
  trainer.export_policies({weights.data(), trainer.run_count(), parameters});
  return weights;
}

bool same_bits(const Buffer<float>& a, const Buffer<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

// The heads of one policy at x.
struct Heads {
  double mean, log_std;
};
Heads heads_at(const Buffer<float>& weights, double x, Index run = 0) {
  const maa::cpu::Backend backend(1);
  const auto observation = static_cast<float>(x);
  float mean = 0, log_std = 0;
  maa::cpu::policy_batch_infer<float>(
      backend, policy_of_tests.layout,
      MatrixView<const float>(weights.data() + run * parameters, 1, parameters),
      MatrixView<const float>(&observation, 1, 1), {&mean, 1, 1, 1}, {&log_std, 1, 1, 1});
  return {mean, log_std};
}

void train(SacTrainer& trainer, Index steps = std::numeric_limits<Index>::max()) {
  for (Index i = 0; i < steps && !trainer.finished(); ++i) {
    trainer.step();
  }
}

// For the tests of bits: episodes of different lengths, all of what a state holds in use.
const std::map<std::string, Problem> two_tasks = {
    {"short",
     {.episode_steps = 7, .gain = 0.2, .reward = [](double x, double a) { return -x * x - 0.1 * a * a; }}},
    {"long", {.episode_steps = 23, .gain = 0.1, .reward = [](double x, double) { return x; }}},
};
const std::vector<SacRun> three_runs = {{"short", 3}, {"long", 4}, {"long", 5}};
const SacOptions short_training{.steps = 120, .warmup = 30, .batch = 24, .updates_every = 2, .replay = 50};

// A small actor and critics in double, and a batch. Tanh: differences across a kink of ReLU are no gradients.
struct Losses {
  static constexpr Index rows = 9, observations = 3, actions = 2;
  using Hidden = maa::Hidden<7, maa::Activation::tanh>;
  using Actor = maa::MlpNetwork<observations, actions, maa::HiddenLayers<Hidden, Hidden>>;
  using Critic =
      maa::MlpNetwork<observations + actions, 1, maa::HiddenLayers<Hidden, Hidden>, maa::Heads::mean>;
  static constexpr Index actor_size = maa::parameter_count<Actor>, critic_size = maa::parameter_count<Critic>;

  const maa::cpu::Backend backend{1};
  const maa::MlpLayout actor_layout = Actor::layout(), critic_layout = Critic::layout();
  Buffer<double> actor{actor_size}, critics{2 * critic_size}, inputs{rows * (observations + actions)},
      noise{rows * actions}, numbers{rows};

  Losses() {
    Rng rng(5);
    rng.fill_normal(actor.span(), 0.6);
    rng.fill_normal(critics.span(), 0.6);
    rng.fill_normal(inputs.span());
    rng.fill_normal(noise.span());
    rng.fill_normal(numbers.span());
  }
  MatrixView<double> actor_view(Buffer<double>& values) const { return {values.data(), 1, actor_size}; }
  MatrixView<double> critics_view(Buffer<double>& values) const { return {values.data(), 2, critic_size}; }
  MatrixView<double> inputs_view() { return {inputs.data(), rows, observations + actions}; }
  MatrixView<double> noise_view() { return {noise.data(), rows, actions}; }

  ActorLoss of_actor(Buffer<double>& gradients) {
    return actor_loss<double>(backend, actor_layout, actor_view(actor), critic_layout, critics_view(critics),
                              0.3, inputs_view(), noise_view(), actor_view(gradients));
  }
};

}  // namespace

TEST_CASE("the gradient of the critics' loss") {
  Losses losses;
  Buffer<double> gradients(losses.critics.size()), ignored(losses.critics.size());
  const auto loss = [&](Buffer<double>& to) {
    return critic_loss<double>(losses.backend, losses.critic_layout, losses.critics_view(losses.critics),
                               losses.inputs_view(), losses.numbers.span(), losses.critics_view(to));
  };
  loss(gradients);
  const auto result = maa::grad_check(losses.critics.span(), gradients.span(), [&] { return loss(ignored); });
  CHECK(result.worst_error <= 1e-6);
}

TEST_CASE("the gradient of the actor's loss") {
  Losses losses;
  Buffer<double> gradients(losses.actor.size()), ignored(losses.actor.size());
  const auto head = *losses.actor_layout.log_std;
  bool clamped = false;
  SUBCASE("") {}
  SUBCASE("with a log_std beyond its limits") {
    losses.actor[head.bias_offset] = 9;
    losses.actor[head.bias_offset + 1] = -40;
    clamped = true;
  }
  losses.of_actor(gradients);
  const auto result =
      maa::grad_check(losses.actor.span(), gradients.span(), [&] { return losses.of_actor(ignored).loss; });
  CHECK(result.worst_error <= 1e-6);
  if (clamped) {
    CHECK(gradients[head.bias_offset] == 0);
    CHECK(gradients[head.bias_offset + 1] == 0);
  }
  // Both critics matter: each is the smaller one somewhere.
  for (Index critic = 0; critic < 2; ++critic) {
    auto other = losses;
    other.critics[critic * Losses::critic_size + losses.critic_layout.mean.bias_offset] += 0.01;
    CHECK(other.of_actor(ignored).loss != losses.of_actor(ignored).loss);
  }
}

TEST_CASE("the gradient of the temperature's loss") {
  for (const double log_alpha : {-3.0, 0.2}) {
    double value = log_alpha;
    const double slope = temperature_loss(value, 1.7, -2).slope;
    const auto result = maa::grad_check(std::span(&value, 1), std::span(&slope, 1),
                                        [&] { return temperature_loss(value, 1.7, -2).loss; });
    CHECK(result.worst_error <= 1e-6);
  }
  // Entropy below its target (2 nats): more temperature, which a descent gives where the slope is negative.
  CHECK(temperature_loss(0, -1, 2).slope < 0);
  CHECK(temperature_loss(0, -3, 2).slope > 0);
}

TEST_CASE("the probability of squashed actions") {
  constexpr Index points = 4001;
  for (const auto& [centre, width] : {std::pair(0.3, -0.5), std::pair(-1.2, 0.4), std::pair(2.0, 0.0)}) {
    Buffer<double> noise(points), mean(points), log_std(points), actions(points), log_prob(points);
    for (Index i = 0; i < points; ++i) {
      noise[i] = -9 + 18.0 * static_cast<double>(i) / (points - 1);
      mean[i] = centre;
      log_std[i] = width;
    }
    const auto column = [](Buffer<double>& values) { return MatrixView<double>(values.data(), points, 1); };
    squashed_gaussian<double>(column(mean), column(log_std), column(noise), column(actions), log_prob.span());
    double integral = 0;
    for (Index i = 1; i < points; ++i) {
      integral += 0.5 * (std::exp(log_prob[i]) + std::exp(log_prob[i - 1])) * (actions[i] - actions[i - 1]);
      CHECK(actions[i] == doctest::Approx(std::tanh(centre + std::exp(width) * noise[i])).epsilon(1e-12));
    }
    CHECK(integral == doctest::Approx(1).epsilon(1e-4));
  }
  // Far out, where 1 - tanh^2 is no number of float any more: log N(0) - log(1 - tanh(u)^2).
  float mean = 40, log_std = 0, noise = 0, action = 0, log_prob = 0;
  squashed_gaussian<float>({&mean, 1, 1}, {&log_std, 1, 1}, {&noise, 1, 1}, MatrixView<float>(&action, 1, 1),
                           {&log_prob, 1});
  CHECK(log_prob == doctest::Approx(-0.5 * std::log(2 * std::numbers::pi) - std::log(4) + 80));
}

TEST_CASE("the critics' targets") {
  // Constant heads and values: the biases alone.
  Losses losses;
  for (auto& weight : losses.actor) weight = 0;
  for (auto& weight : losses.critics) weight = 0;
  const double mean = 0.4, log_std = -0.7, alpha = 0.3, discount = 0.9;
  for (Index j = 0; j < Losses::actions; ++j) {
    losses.actor[losses.actor_layout.mean.bias_offset + j] = mean;
    losses.actor[losses.actor_layout.log_std->bias_offset + j] = log_std;
  }
  losses.critics[losses.critic_layout.mean.bias_offset] = 5;
  losses.critics[Losses::critic_size + losses.critic_layout.mean.bias_offset] = 4;
  Buffer<double> targets(Losses::rows);
  critic_targets<double>(losses.backend, losses.actor_layout, losses.actor_view(losses.actor),
                         losses.critic_layout, losses.critics_view(losses.critics), alpha, discount,
                         losses.numbers.span(), losses.inputs_view(), losses.noise_view(), targets.span());
  for (Index i = 0; i < Losses::rows; ++i) {
    double log_pi = 0;
    for (Index j = 0; j < Losses::actions; ++j) {
      const double z = losses.noise[i * Losses::actions + j], a = std::tanh(mean + std::exp(log_std) * z);
      log_pi += -0.5 * z * z - log_std - 0.5 * std::log(2 * std::numbers::pi) - std::log(1 - a * a);
      CHECK(losses.inputs_view()(i, Losses::observations + j) == doctest::Approx(a));
    }
    CHECK(targets[i] == doctest::Approx(losses.numbers[i] + discount * (4 - alpha * log_pi)));
  }
}

TEST_CASE("a bandit whose soft-optimal policy is a squashed Gaussian") {
  // At temperature alpha the optimum is exp(reward / alpha): with reward = alpha log pi*(a), pi* itself.
  constexpr double alpha = 0.2, log_std = -0.8;
  const auto mean = [](double x) { return 0.2 + 0.6 * x; };
  Lines simulator({{"bandit", {.reward = [&](double x, double a) {
                      const double z = (std::atanh(a) - mean(x)) / std::exp(log_std);
                      return std::max(alpha * (-0.5 * z * z - std::log1p(-a * a)), -5.0);
                    }}}});
  SacOptions options{.steps = 4000, .batch = 128, .replay = 4000};
  options.temperature_learning_rate = 0;
  options.initial_temperature = alpha;
  options.discount = 0;
  options.actor_learning_rate = options.critic_learning_rate = 2e-3;
  SacTrainer trainer(policy_of_tests, simulator, {{"bandit", 1}, {"bandit", 2}}, options, 2);
  train(trainer);
  const auto weights = exported(trainer);
  for (Index run = 0; run < 2; ++run) {
    CHECK(trainer.status(run).temperature == doctest::Approx(alpha));
    for (const double x : {-0.8, 0.0, 0.8}) {
      CAPTURE(x);
      const auto found = heads_at(weights, x, run);
      MESSAGE("errors ", found.mean - mean(x), " ", found.log_std - log_std);
      CHECK(std::abs(found.mean - mean(x)) < 0.1);
      CHECK(std::abs(found.log_std - log_std) < 0.15);
    }
  }
}

TEST_CASE("a bandit with a best action, and the entropy that was asked for") {
  const auto best = [](double x) { return 0.5 * x; };
  Lines simulator({{"bandit", {.reward = [&](double x, double a) { return -std::pow(a - best(x), 2); }}}});
  SacOptions options{.steps = 3000, .discount = 0};
  options.temperature_learning_rate = 1e-2;
  options.target_entropy = 1.5;
  SacTrainer trainer(policy_of_tests, simulator, {{"bandit", 1}}, options, 1);
  double entropy = 0;
  while (!trainer.finished()) {
    trainer.step();
    entropy += trainer.step_count() > options.steps - 100 ? trainer.status(0).entropy / 100 : 0;
  }
  MESSAGE("entropy ", entropy);
  CHECK(entropy == doctest::Approx(-1.5).epsilon(0.1));
  CHECK(trainer.status(0).temperature < 0.1);
  const auto weights = exported(trainer);
  for (const double x : {-0.8, 0.0, 0.8}) {
    MESSAGE("error ", std::tanh(heads_at(weights, x).mean) - best(x));
    CHECK(std::abs(std::tanh(heads_at(weights, x).mean) - best(x)) < 0.06);
  }
}

TEST_CASE("a linear problem with its optimal gain and value, learned through the ends of short episodes") {
  constexpr double gain = 0.3, discount = 0.9;
  // x' = x + gain a, reward -x^2 - a^2: V(x) = -p x^2, a = -k x (Riccati's equation).
  double p = 1;
  for (int i = 0; i < 1000; ++i) {
    p = 1 + discount * p - std::pow(discount * p * gain, 2) / (1 + discount * p * gain * gain);
  }
  const double k = discount * p * gain / (1 + discount * p * gain * gain);
  Lines simulator({{"linear", {.episode_steps = 3, .gain = gain, .reward = [](double x, double a) {
                                 return -x * x - a * a;
                               }}}});
  SacOptions options{.steps = 5000, .discount = discount, .target_rate = 0.02};
  options.initial_temperature = 0.02;
  options.temperature_learning_rate = 0;
  SacTrainer trainer(policy_of_tests, simulator, {{"linear", 1}}, options, 1);
  train(trainer);
  const auto weights = exported(trainer);
  for (const double start : {-0.9, -0.5, 0.5, 0.9}) {
    CAPTURE(start);
    double value = 0, weight = 1;
    for (double x = start; weight > 1e-4; weight *= discount) {
      const double a = std::tanh(heads_at(weights, x).mean);
      value += weight * (-x * x - a * a);
      x += gain * a;
    }
    MESSAGE("action and value ", std::tanh(heads_at(weights, start).mean), " ", -k * start, " ", value, " ",
            -p * start * start);
    CHECK(std::abs(std::tanh(heads_at(weights, start).mean) + k * start) < 0.08);
    CHECK(value <= -p * start * start + 1e-3);
    CHECK(value == doctest::Approx(-p * start * start).epsilon(0.02));
  }
}

TEST_CASE("a run has the same bits for any number of threads, and alone") {
  Lines simulator(two_tasks);
  const auto weights_of = [&](std::vector<SacRun> runs, int threads) {
    SacTrainer trainer(policy_of_tests, simulator, std::move(runs), short_training, threads);
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
  const auto file = folder / "sac.safetensors";
  Lines simulator(two_tasks);
  SacTrainer whole(policy_of_tests, simulator, three_runs, short_training, 2);
  for (const Index stop : {0, 1, 20, 65, 70, 111}) {  // within and between episodes and updates
    CAPTURE(stop);
    SacTrainer first(policy_of_tests, simulator, three_runs, short_training, 2);
    train(first, stop);
    first.save(file);
    SacTrainer second(policy_of_tests, simulator, three_runs, short_training, 1);
    train(second, 40);
    second.load(file);
    CHECK(second.step_count() == stop);
    train(second);
    train(whole);
    CHECK(same_bits(exported(second), exported(whole)));
    for (Index g = 0; g < 3; ++g) {
      CHECK(second.status(g).mean_return == whole.status(g).mean_return);
      CHECK(second.status(g).episodes == whole.status(g).episodes);
      CHECK(second.status(g).temperature == whole.status(g).temperature);
    }
  }
}

TEST_CASE("a file that is refused changes nothing") {
  const test::TemporaryFolder folder;
  const auto file = folder / "sac.safetensors";
  Lines simulator(two_tasks);
  auto other = short_training;
  other.batch = 25;
  SacTrainer different(policy_of_tests, simulator, three_runs, other, 1);
  train(different, 50);
  different.save(file);
  SacTrainer disturbed(policy_of_tests, simulator, three_runs, short_training, 1);
  SacTrainer whole(policy_of_tests, simulator, three_runs, short_training, 1);
  train(disturbed, 60);
  check_error("options.batch: expected 24, found '25'", [&] { disturbed.load(file); });
  check_error("none.safetensors", [&] { disturbed.load(folder / "none.safetensors"); });
  CHECK(disturbed.step_count() == 60);
  train(disturbed);
  train(whole);
  CHECK(same_bits(exported(disturbed), exported(whole)));
}

TEST_CASE("returns and successes are of the last ten episodes") {
  std::vector<double> rewards, reached;
  Lines simulator({{"walk", {.episode_steps = 4, .gain = 0.8, .reward = [&](double x, double a) {
                               reached.push_back(x + 0.8 * a);
                               return rewards.emplace_back(x);
                             }}}});
  SacOptions options = short_training;
  options.steps = 4 * 13 + 2;
  options.warmup = options.steps;
  SacTrainer trainer(policy_of_tests, simulator, {{"walk", 9}}, options, 1);
  train(trainer, 3);
  CHECK(trainer.status(0).episodes == 0);
  CHECK(trainer.status(0).mean_return == 0);
  train(trainer, 1);
  CHECK(trainer.status(0).mean_return == doctest::Approx(rewards[0] + rewards[1] + rewards[2] + rewards[3]));
  train(trainer);
  double sum = 0, successes = 0, last_steps = 0;
  for (std::size_t first = 4 * 3; first < 4 * 13; first += 4) {
    bool success = false;
    for (std::size_t i = first; i < first + 4; ++i) {
      sum += rewards[i];
      success = success || reached[i] > 0;
    }
    successes += success ? 1 : 0;
    last_steps += reached[first + 3] > 0 ? 1 : 0;
  }
  CHECK(trainer.status(0).episodes == 13);
  CHECK(trainer.status(0).mean_return == doctest::Approx(sum / 10));
  REQUIRE(successes < 10);
  REQUIRE(last_steps < successes);  // any step of an episode counts
  CHECK(trainer.status(0).success == doctest::Approx(successes / 10));
}

TEST_CASE("what does not fit is refused by name") {
  auto tasks = two_tasks;
  tasks["wide"] = {.observations = 2};
  bool broken = false;
  tasks["broken"] = {.episode_steps = 5, .reward = [&](double, double) {
                       return broken ? std::numeric_limits<double>::quiet_NaN() : 0.0;
                     }};
  Lines simulator(tasks);
  const auto make = [&](std::vector<SacRun> runs, const SacOptions& options) {
    return SacTrainer(policy_of_tests, simulator, std::move(runs), options, 1).step_count();
  };
  const auto with = [](auto member, auto value) {
    auto options = short_training;
    options.*member = value;
    return options;
  };
  for (const auto& [name, member] :
       std::map<std::string, Index SacOptions::*>{{"steps", &SacOptions::steps},
                                                  {"warmup", &SacOptions::warmup},
                                                  {"batch", &SacOptions::batch},
                                                  {"updates_every", &SacOptions::updates_every},
                                                  {"replay", &SacOptions::replay}}) {
    const auto bad = with(member, Index{0});
    check_error("sac: expected " + name, [&] { make(three_runs, bad); });
  }
  for (const auto& [name, member] : std::map<std::string, double SacOptions::*>{
           {"actor_learning_rate", &SacOptions::actor_learning_rate},
           {"critic_learning_rate", &SacOptions::critic_learning_rate},
           {"temperature_learning_rate", &SacOptions::temperature_learning_rate},
           {"initial_temperature", &SacOptions::initial_temperature},
           {"discount", &SacOptions::discount},
           {"target_rate", &SacOptions::target_rate}}) {
    const auto bad = with(member, -0.1);
    check_error("sac: expected " + name, [&] { make(three_runs, bad); });
  }
  check_error("found none", [&] { make({}, short_training); });
  check_error("\"wide\", found 2 and 1", [&] { make({{"wide", 1}}, short_training); });
  using MeanOnly = maa::MlpNetwork<1, 1, maa::HiddenLayers<Layer>, maa::Heads::mean>;
  const auto mean_only = network_type<MeanOnly>();
  check_error("log_std head", [&] { SacTrainer(mean_only, simulator, three_runs, short_training, 1); });

  SacTrainer trainer(policy_of_tests, simulator, {{"short", 1}, {"broken", 1}}, short_training, 2);
  check_error("exported policies", [&] { trainer.export_policies({nullptr, 1, parameters}); });
  check_error("below 2, found 2", [&] { trainer.status(2); });
  const test::TemporaryFolder folder;
  const auto file = folder / "sac.safetensors";
  train(trainer, 44);
  trainer.save(file);
  auto other = short_training;
  other.discount = 0.5;
  const std::vector<SacRun> same = {{"short", 1}, {"broken", 1}};
  check_error("options.discount: expected 0.5, found",
              [&] { SacTrainer(policy_of_tests, simulator, same, other, 1).load(file); });
  check_error("seeds", [&] {
    SacTrainer(policy_of_tests, simulator, {{"short", 1}, {"broken", 2}}, short_training, 1).load(file);
  });
  check_error("tasks", [&] {
    SacTrainer(policy_of_tests, simulator, {{"long", 1}, {"broken", 1}}, short_training, 1).load(file);
  });
  // Another simulator, which does not repeat the episode.
  tasks["short"].gain = 0.3;
  Lines changed(tasks);
  check_error("run 0 (\"short\"): expected the observation",
              [&] { SacTrainer(policy_of_tests, changed, same, short_training, 1).load(file); });

  broken = true;
  check_error("run 1 (\"broken\"): the critics' loss is not finite", [&] { train(trainer); });
  SacTrainer done(policy_of_tests, simulator, {{"short", 1}}, short_training, 1);
  train(done);
  check_error("all 120 steps are done", [&] { done.step(); });
}
