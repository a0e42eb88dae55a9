#include <maa/testing/grad_check.hpp>
#include <maa/train/behavior_cloning.hpp>

#include <doctest/doctest.h>

#include <numeric>

namespace {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::Rng;

using Network = maa::MlpNetwork<
    3, 2, maa::HiddenLayers<maa::Hidden<32, maa::Activation::elu>, maa::Hidden<32, maa::Activation::relu>>>;
constexpr Index parameters = maa::parameter_count<Network>;

// Observations on very different scales, one of them constant, and for each of two teachers its actions.
struct Problem {
  static constexpr Index count = 600;
  Buffer<float> observations{2 * count * 3};
  Buffer<float> actions{2 * count * 2};
  maa::Normalizer normalizer;
  maa::CloningExamples examples;

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
    maa::initialize_policy<Network>(
        weights.span().subspan(static_cast<std::size_t>(g * parameters), parameters), Rng(1));
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

Buffer<float> clone(const Problem& problem, MatrixView<const float> initial,
                    const maa::CloningOptions& options, int threads) {
  const maa::cpu::Backend backend(threads);
  maa::BehaviorCloner<Network> cloner(backend, problem.normalizer, initial, options);
  while (cloner.step_count() < options.steps) {
    cloner.step(problem.examples);
  }
  Buffer<float> weights(initial.size());
  cloner.export_weights({weights.data(), initial.rows, parameters});
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

TEST_CASE("cloning gives the same bits for any number of threads, and for policies cloned together or not") {
  const Problem problem;
  const auto start = common_start(2);
  const maa::CloningOptions options{.steps = 40, .batch = 16, .seed = 3};
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
  const maa::CloningOptions options{.steps = 300, .batch = 64, .seed = 5};
  maa::BehaviorCloner<Network> cloner(backend, alone.normalizer, {start.data(), 1, parameters}, options);
  const double first_loss = cloner.step(alone.examples);
  while (cloner.step_count() < options.steps) {
    cloner.step(alone.examples);
  }
  Buffer<float> trained(parameters);
  cloner.export_weights({trained.data(), 1, parameters});
  // Another cloner goes on where the first one stopped.
  maa::BehaviorCloner<Network> next(backend, alone.normalizer, {trained.data(), 1, parameters}, options);
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
    maa::cloning_loss(squash, MatrixView<double>(mean.data(), 3, 4), {actions.data(), 3, 4},
                      MatrixView<double>(gradient.data(), 3, 4));
    Buffer<double> ignored(12);
    const auto result = maa::grad_check(mean.span(), gradient.span(), [&] {
      return maa::cloning_loss(squash, MatrixView<double>(mean.data(), 3, 4), {actions.data(), 3, 4},
                               MatrixView<double>(ignored.data(), 3, 4));
    });
    CHECK(result.worst_error <= 1e-6);
  }
}

TEST_CASE("examples that do not fit are refused and change nothing") {
  Problem problem;
  const auto start = common_start(2);
  const maa::cpu::Backend backend(1);
  maa::BehaviorCloner<Network> cloner(backend, problem.normalizer, {start.data(), 2, parameters},
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
      maa::BehaviorCloner<Network>(backend, problem.normalizer, {start.data(), 2, parameters - 1}, {}),
      maa::Error);
}
