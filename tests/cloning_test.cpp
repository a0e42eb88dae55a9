// Cloning policies, as studies do it.
#include <doctest/doctest.h>

#include <numeric>

#include <maa/testing/grad_check.hpp>

#include "cloning.hpp"

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::Rng;
using namespace maa::examples::study;

using Network = maa::MlpNetwork<
    3, 2, maa::HiddenLayers<maa::Hidden<32, maa::Activation::elu>, maa::Hidden<32, maa::Activation::relu>>>;
constexpr Index parameters = maa::parameter_count<Network>;
const auto network = maa::examples::network_type<Network>();

// Observations on very different scales, one of them constant, and for each of two teachers its actions.
struct Problem {
  static constexpr Index count = 600;
  Buffer<float> observations{2 * count * 3};
  Buffer<float> actions{2 * count * 2};
  maa::Normalizer normalizer;
  CloningExamples examples;

  Problem() {
    Rng rng(4);
    for (Index i = 0; i < 2 * count; ++i) {
      const double a = rng.normal();
      const double b = rng.normal();
      const double sign = i < count ? 1 : -1;
      observations[3 * i] = static_cast<float>(5 + 0.1 * a);
      observations[3 * i + 1] = static_cast<float>(-20 + 10 * b);
      observations[3 * i + 2] = 7;
      actions[2 * i] = static_cast<float>(sign * std::tanh(a));
      actions[2 * i + 1] = static_cast<float>(sign * std::tanh(0.5 * a * b));
    }
    const MatrixView<const float> all(observations.data(), 2 * count, 3);
    normalizer = maa::Normalizer::standard(all, 1e-3, 0.03);
    examples = {all, MatrixView<const float>(actions.data(), 2 * count, 2), {}};
    examples.rows.resize(2, std::vector<Index>(count));
    std::iota(examples.rows[0].begin(), examples.rows[0].end(), Index{0});
    std::iota(examples.rows[1].begin(), examples.rows[1].end(), count);
  }
};

Buffer<float> common_start(Index policies) {
  Buffer<float> weights(policies * parameters);
  for (Index g = 0; g < policies; ++g) {
    initialize_policy(
        network, weights.span().subspan(static_cast<std::size_t>(g * parameters), parameters), Rng(1));
  }
  return weights;
}

// Root mean square error of tanh(mean) of one policy on the examples of one teacher.
double error_on(const Problem& problem, std::span<const float> weights, std::size_t teacher) {
  const maa::cpu::Backend backend(1);
  const Index first = problem.examples.rows[teacher].front();
  Buffer<float> mean(Problem::count * 2);
  maa::cpu::policy_batch_infer(backend, Network::layout(),
                               MatrixView<const float>(weights.data(), 1, parameters),
                               problem.examples.observations.row_range(first, Problem::count),
                               maa::SequenceView<float>(mean.data(), 1, Problem::count, 2));
  double sum = 0;
  for (Index i = 0; i < mean.size(); ++i) {
    sum += std::pow(std::tanh(mean[i]) - problem.actions[2 * first + i], 2);
  }
  return std::sqrt(sum / static_cast<double>(mean.size()));
}

Buffer<float> clone(const Problem& problem, MatrixView<const float> initial, const CloningOptions& options,
                    int threads) {
  Buffer<float> weights(initial.span());
  maa::examples::study::clone(network, threads, problem.normalizer, problem.examples, options,
               {weights.data(), initial.rows, parameters}, [](const BehaviorCloner&, double) {});
  return weights;
}

bool same_bits(const Buffer<float>& a, const Buffer<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace

TEST_CASE("each policy learns its own examples") {
  const Problem problem;
  const auto start = common_start(2);
  const auto weights = clone(problem, {start.data(), 2, parameters},
                             {.steps = 600,
                              .batch = 64,
                              .learning_rate = {.kind = maa::LearningRateKind::cosine, .base = 3e-3},
                              .seed = 2},
                             2);
  const auto first = weights.span().first(parameters);
  const auto second = weights.span().last(parameters);
  CHECK(error_on(problem, start.span().first(parameters), 0) > 0.3);
  CHECK(error_on(problem, first, 0) < 0.08);
  CHECK(error_on(problem, second, 1) < 0.08);
  CHECK(error_on(problem, first, 1) > 0.5);

  const auto head = *Network::layout().log_std;
  for (Index i = 0; i < head.in * head.out; ++i) {
    CHECK(weights[head.weight_offset + i] == 0.0f);
  }
  CHECK(weights[head.bias_offset] == doctest::Approx(-2.3));
}

TEST_CASE("the likelihood trains the log_std head and leaves the bits of all else") {
  const Problem problem;
  const auto start = common_start(2);
  CloningOptions options{.steps = 60, .batch = 32, .weight_decay = 1e-3, .seed = 2};
  const auto without = clone(problem, {start.data(), 2, parameters}, options, 1);
  options.loss = CloningLoss::likelihood;
  const auto with = clone(problem, {start.data(), 2, parameters}, options, 1);
  CHECK(same_bits(with, clone(problem, {start.data(), 2, parameters}, options, 3)));
  const auto head = *Network::layout().log_std;
  Index changed_of_head = 0, changed_elsewhere = 0;
  for (Index i = 0; i < with.size(); ++i) {
    const Index parameter = i % parameters;
    const bool of_head = parameter >= head.weight_offset && parameter < head.bias_offset + head.out;
    (of_head ? changed_of_head : changed_elsewhere) += with[i] != without[i];
  }
  CHECK(changed_elsewhere == 0);
  CHECK(changed_of_head > head.out * (head.in + 1));  // of two policies; units that are always 0 give none
}

TEST_CASE("the likelihood finds the spread of a stochastic demonstrator") {
  // u ~ N(mean(a), std(a)^2), action = tanh(u); some actions lie beyond the bound of .95.
  constexpr Index count = 8000;
  const auto demonstrated_mean = [](double a, Index action) { return action == 0 ? 0.8 * a : 0.5 - 0.3 * a; };
  const auto demonstrated_log_std = [](double a, Index action) {
    return action == 0 ? -2 + 0.4 * a : -1.5 - 0.3 * a;
  };
  Buffer<float> observations(3 * count), actions(2 * count);
  Rng rng(6);
  for (Index i = 0; i < count; ++i) {
    const double a = rng.uniform(-2, 2);
    observations[3 * i] = static_cast<float>(3 + a);
    for (Index j = 0; j < 2; ++j) {
      const double u = demonstrated_mean(a, j) + std::exp(demonstrated_log_std(a, j)) * rng.normal();
      actions[2 * i + j] = static_cast<float>(std::tanh(u));
    }
  }
  const MatrixView<const float> seen(observations.data(), count, 3);
  CloningExamples examples{seen, {actions.data(), count, 2}, {std::vector<Index>(count)}};
  std::iota(examples.rows[0].begin(), examples.rows[0].end(), Index{0});
  Buffer<float> weights(parameters);
  initialize_policy(network, weights.span(), Rng(1), 0.0);
  const maa::cpu::Backend backend(2);
  const CloningOptions options{.steps = 3000,
                                    .batch = 128,
                                    .learning_rate = {.kind = maa::LearningRateKind::cosine, .base = 3e-3},
                                    .loss = CloningLoss::likelihood};
  BehaviorCloner cloner(network, backend, maa::Normalizer::standard(seen, 1e-3, 0.03),
                                      {weights.data(), 1, parameters}, options);
  cloner.step(examples);
  const double first_loss = cloner.log_std_loss();
  while (cloner.step_count() < options.steps) {
    cloner.step(examples);
  }
  CHECK(cloner.log_std_loss() < first_loss - 1);
  cloner.export_weights({weights.data(), 1, parameters});

  Buffer<float> mean(2 * count), log_std(2 * count);
  maa::cpu::policy_batch_infer(backend, Network::layout(),
                               MatrixView<const float>(weights.data(), 1, parameters), seen,
                               maa::SequenceView<float>(mean.data(), 1, count, 2),
                               maa::SequenceView<float>(log_std.data(), 1, count, 2));
  for (Index j = 0; j < 2; ++j) {
    CAPTURE(j);
    double sum = 0, squares = 0;
    for (Index i = 0; i < count; ++i) {
      const double error = log_std[2 * i + j] - demonstrated_log_std(observations[3 * i] - 3.0, j);
      sum += error;
      squares += error * error;
    }
    MESSAGE("mean error of log_std " << sum / count << ", root mean square " << std::sqrt(squares / count));
    CHECK(std::abs(sum / count) < 0.03);
    CHECK(std::sqrt(squares / count) < 0.06);
  }
}

TEST_CASE("the gradient of the likelihood's loss") {
  // Actions within and beyond the bound, means on the right and on the wrong side of it, far out in the tail
  // too.
  Rng rng(9);
  constexpr Index rows = 12, columns = 4;
  Buffer<double> mean(rows * columns), log_std(rows * columns), actions(rows * columns),
      gradient(rows * columns);
  rng.fill_normal(mean.span(), 1.5);
  rng.fill_normal(log_std.span(), 0.7);
  rng.fill_uniform(actions.span(), -1.1, 1.1);
  actions[0] = 1, mean[0] = 3, log_std[0] = -1;
  actions[1] = -1, mean[1] = 2, log_std[1] = -2.5;  // 47 deviations on the wrong side
  actions[2] = 0.97, mean[2] = 1.9, log_std[2] = -3;
  log_std[3] = 2.5, log_std[4] = -20.5;  // clamped
  mean[4] = actions[4] = 0;
  const auto view = [](Buffer<double>& values) { return MatrixView<double>(values.data(), rows, columns); };
  for (const auto squash : {maa::Squash::tanh, maa::Squash::none}) {
    const auto loss = [&](Buffer<double>& out) {
      return log_std_loss(squash, MatrixView<const double>(view(mean)), view(log_std), view(actions),
                               view(out));
    };
    loss(gradient);
    Buffer<double> ignored(gradient.size());
    const auto result = maa::grad_check(log_std.span(), gradient.span(), [&] { return loss(ignored); });
    CHECK(result.worst_error <= 1e-6);
    CHECK(gradient[3] == 0);
    CHECK(gradient[4] == 0);
  }

  // Only what is inside the bound or on the wrong side of it pulls at log_std.
  for (const double far : {4.0, 8.0}) {
    mean[0] = far;
    log_std_loss(maa::Squash::tanh, MatrixView<const double>(view(mean)), view(log_std), view(actions),
                      view(gradient));
    CHECK(std::abs(gradient[0]) < 1e-4);
  }
}

TEST_CASE("the tail of the normal distribution is continuous where its formula changes") {
  const auto before = log_normal_cdf(-30 - 1e-9);
  const auto after = log_normal_cdf(-30 + 1e-9);
  CHECK(std::abs(before.value - after.value) < 1e-6);
  CHECK(std::abs(before.slope - after.slope) < 1e-6);
  CHECK(log_normal_cdf(0).value == doctest::Approx(std::log(0.5)));
  // log P(z < -40): -804.608442...
  CHECK(log_normal_cdf(-40).value == doctest::Approx(-804.608442).epsilon(1e-8));
}

TEST_CASE("cloning gives the same bits for any number of threads, and for policies cloned together or not") {
  const Problem problem;
  const auto start = common_start(2);
  const CloningOptions options{.steps = 40, .batch = 16, .seed = 3};
  const auto one = clone(problem, {start.data(), 2, parameters}, options, 1);
  CHECK(same_bits(one, clone(problem, {start.data(), 2, parameters}, options, 3)));

  Problem alone;
  alone.examples.rows.pop_back();
  const auto single = clone(alone, {start.data(), 1, parameters}, options, 1);
  CHECK(std::equal(single.begin(), single.end(), one.begin()));

  auto other = options;
  other.seed = 4;
  CHECK_FALSE(same_bits(one, clone(problem, {start.data(), 2, parameters}, other, 1)));
}

TEST_CASE("weights come in and go out for raw observations") {
  const Problem problem;
  const auto start = common_start(1);
  const maa::cpu::Backend backend(1);
  Problem alone;
  alone.examples.rows.pop_back();
  const CloningOptions options{.steps = 300, .batch = 64, .seed = 5};
  BehaviorCloner cloner(network, backend, alone.normalizer, {start.data(), 1, parameters}, options);
  const double first_loss = cloner.step(alone.examples);
  while (cloner.step_count() < options.steps) {
    cloner.step(alone.examples);
  }
  Buffer<float> trained(parameters);
  cloner.export_weights({trained.data(), 1, parameters});
  // Another cloner goes on where the first one stopped.
  BehaviorCloner next(network, backend, alone.normalizer, {trained.data(), 1, parameters}, options);
  Buffer<float> unchanged(parameters);
  next.export_weights({unchanged.data(), 1, parameters});
  for (Index i = 0; i < parameters; ++i) {
    CHECK(unchanged[i] == doctest::Approx(trained[i]).epsilon(1e-4));
  }
  CHECK(next.step(alone.examples) < 0.4 * first_loss);
}

TEST_CASE("folding the normalizer into a policy changes nothing it does, and unfolding takes it back") {
  const Problem problem;
  const maa::cpu::Backend backend(1);
  auto weights = common_start(1);
  const auto original = weights;
  Buffer<float> raw_mean(Problem::count * 2), mean(Problem::count * 2);
  const auto observations = problem.examples.observations.row_range(0, Problem::count);
  Buffer<float> normalised(observations.span());
  problem.normalizer.apply({normalised.data(), Problem::count, 3});
  const auto infer = [&](MatrixView<const float> seen, Buffer<float>& out) {
    maa::cpu::policy_batch_infer(backend, Network::layout(),
                                 MatrixView<const float>(weights.data(), 1, parameters), seen,
                                 maa::SequenceView<float>(out.data(), 1, Problem::count, 2));
  };
  infer({normalised.data(), Problem::count, 3}, mean);
  maa::fold_normalizer<Network>(problem.normalizer, weights.span());
  infer(observations, raw_mean);
  for (Index i = 0; i < mean.size(); ++i) {
    CHECK(std::abs(raw_mean[i] - mean[i]) < 1e-4);
  }
  maa::unfold_normalizer<Network>(problem.normalizer, weights.span());
  for (Index i = 0; i < parameters; ++i) {
    CHECK(std::abs(weights[i] - original[i]) < 1e-4);
  }
}

TEST_CASE("the gradient of the cloning loss") {
  Rng rng(8);
  Buffer<double> mean(12), actions(12), gradient(12);
  rng.fill_normal(mean.span());
  rng.fill_uniform(actions.span(), -1, 1);
  for (const auto squash : {maa::Squash::tanh, maa::Squash::none}) {
    cloning_loss(squash, MatrixView<double>(mean.data(), 3, 4), {actions.data(), 3, 4},
                      MatrixView<double>(gradient.data(), 3, 4));
    Buffer<double> ignored(12);
    const auto result = maa::grad_check(mean.span(), gradient.span(), [&] {
      return cloning_loss(squash, MatrixView<double>(mean.data(), 3, 4), {actions.data(), 3, 4},
                               MatrixView<double>(ignored.data(), 3, 4));
    });
    CHECK(result.worst_error <= 1e-6);
  }
}

TEST_CASE("examples that do not fit are refused and change nothing") {
  Problem problem;
  const auto start = common_start(2);
  const maa::cpu::Backend backend(1);
  BehaviorCloner cloner(network, backend, problem.normalizer, {start.data(), 2, parameters},
                                      {.batch = 8});
  auto bad = problem.examples;
  bad.rows[1].clear();
  CHECK_THROWS_AS(cloner.step(bad), maa::Error);
  bad = problem.examples;
  bad.rows.pop_back();
  CHECK_THROWS_AS(cloner.step(bad), maa::Error);
  bad = problem.examples;
  bad.actions = bad.actions.row_range(0, 3);
  CHECK_THROWS_AS(cloner.step(bad), maa::Error);
  bad = problem.examples;
  bad.rows[0][0] = bad.observations.rows;
  CHECK_THROWS_AS(cloner.step(bad), maa::Error);
  CHECK(cloner.step_count() == 0);
  CHECK(cloner.step(problem.examples) > 0);
  CHECK_THROWS_AS(
      BehaviorCloner(network, backend, problem.normalizer, {start.data(), 2, parameters - 1}, {}),
      maa::Error);
  using MeanOnly =
      maa::MlpNetwork<3, 2, maa::HiddenLayers<maa::Hidden<32, maa::Activation::elu>>, maa::Heads::mean>;
  Buffer<float> weights(maa::parameter_count<MeanOnly>);
  CHECK_THROWS_WITH_AS(
      BehaviorCloner(maa::examples::network_type<MeanOnly>(), backend, problem.normalizer, {weights.data(), 1, weights.size()},
                                    {.loss = CloningLoss::likelihood}),
      doctest::Contains("log_std head"), maa::Error);
}
