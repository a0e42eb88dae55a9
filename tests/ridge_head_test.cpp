// The ridge head: gradients through the solve in double, and what it is for - a policy that fits its prompt.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/models/ridge_head.hpp>
#include <maa/testing/grad_check.hpp>

namespace {

using namespace maa;

template <Squash squash>
using Network = MlpNetwork<5, 2, HiddenLayers<Hidden<6, Activation::elu>, Hidden<7, Activation::tanh>>,
                           Heads::mean_and_log_std, squash>;

const cpu::Backend backend(2);
constexpr Index batch = 3;
constexpr Index rows = 9;

template <class NetworkT>
struct Case {
  static constexpr Index parameters = parameter_count<NetworkT>;
  using Head = RidgeHead<NetworkT>;
  const MlpLayout layout = NetworkT::layout();
  Buffer<double> policies{batch * parameters};
  Buffer<double> observations{batch * rows * 5};
  Buffer<double> actions{batch * rows * 2};
  Buffer<double> log_strength{1};
  Buffer<double> corrected{batch * parameters};
  Workspace workspace;

  Case() {
    Rng rng(1);
    rng.fill_normal(policies.span(), 0.5);
    rng.fill_normal(observations.span());
    rng.fill_uniform(actions.span(), -1.2, 1.2);  // some beyond the clipping
    log_strength[0] = -1;
  }
  MatrixView<double> policy_view() { return {policies.data(), batch, parameters}; }
  SequenceView<const double> observation_view() { return {observations.data(), batch, rows, 5}; }
  SequenceView<const double> action_view() { return {actions.data(), batch, rows, 2}; }
  MatrixView<double> corrected_view() { return {corrected.data(), batch, parameters}; }
  auto forward() {
    workspace.reset();
    return Head::forward(backend, layout, bind<Head>(std::as_const(log_strength)),
                         MatrixView<const double>(policy_view()), observation_view(), action_view(),
                         corrected_view(), workspace);
  }
};

template <class NetworkT>
void check_gradients() {
  Case<NetworkT> c;
  Buffer<double> weight(c.corrected.size());
  Rng(2).fill_normal(weight.span());
  const auto value = [&] {
    c.forward();
    double sum = 0;
    for (Index i = 0; i < weight.size(); ++i) {
      sum += weight[i] * c.corrected[i];
    }
    return sum;
  };
  const auto saved = c.forward();
  Buffer<double> dpolicies(c.policies.size());
  Buffer<double> dlog_strength(1);
  Case<NetworkT>::Head::backward(
      backend, c.layout, bind<typename Case<NetworkT>::Head>(std::as_const(c.log_strength)),
      MatrixView<const double>(c.policy_view()), c.observation_view(), c.action_view(), saved,
      MatrixView<const double>(weight.data(), batch, c.parameters),
      bind<typename Case<NetworkT>::Head>(dlog_strength),
      MatrixView<double>(dpolicies.data(), batch, c.parameters), c.workspace);
  CHECK(grad_check(c.policies.span(), dpolicies.span(), value).worst_error <= 1e-6);
  CHECK(grad_check(c.log_strength.span(), dlog_strength.span(), value).worst_error <= 1e-6);
}

TEST_CASE("gradients for policies and strength flow through the solve") {
  SUBCASE("tanh") {
    check_gradients<Network<Squash::tanh>>();
  }
  SUBCASE("none") {
    check_gradients<Network<Squash::none>>();
  }
}

TEST_CASE("a weak ridge fits the prompt, a strong one leaves the policy") {
  using Plain = Network<Squash::none>;
  Case<Plain> c;
  const auto error = [&](double log_strength) {
    c.log_strength[0] = log_strength;
    c.forward();
    Buffer<double> mean(batch * rows * 2);
    const SequenceView<double> view(mean.data(), batch, rows, 2);
    cpu::policy_batch_infer(backend, c.layout, MatrixView<const double>(c.corrected_view()),
                            c.observation_view(), view);
    double sum = 0;
    for (Index i = 0; i < mean.size(); ++i) {
      sum += (mean[i] - c.actions[i]) * (mean[i] - c.actions[i]);
    }
    return sum / static_cast<double>(mean.size());
  };
  const double before = error(40);
  CHECK(std::equal(c.policies.begin(), c.policies.end(), c.corrected.begin(),
                   [](double a, double b) { return std::abs(a - b) < 1e-9; }));
  CHECK(error(-20) < 0.2 * before);
  CHECK(error(0) < before);
}

TEST_CASE("the correction solves the normal equations at every size") {
  for (const auto& size : {std::pair<Index, Index>{1, 1}, {5, 33}, {37, 16}, {64, 40}}) {
    const Index n = size.first, units = size.second;
    CAPTURE(n);
    CAPTURE(units);
    constexpr double strength = 0.7;
    Buffer<double> phi(n * units), residual(n * 3), correction(3 * (units + 1));
    Rng(3).fill_normal(phi.span());
    Rng(4).fill_normal(residual.span());
    cpu::ridge_forward(backend, SequenceView<const double>(phi.data(), 1, n, units),
                       SequenceView<const double>(residual.data(), 1, n, 3), strength,
                       SequenceView<double>(correction.data(), 1, 3, units + 1));
    // [Phi 1]' ([Phi 1] D - R) + strength D = 0
    const auto feature = [&](Index row, Index unit) { return unit == units ? 1.0 : phi[row * units + unit]; };
    double worst = 0;
    for (Index action = 0; action < 3; ++action) {
      const double* d = correction.data() + action * (units + 1);
      for (Index unit = 0; unit <= units; ++unit) {
        double sum = strength * d[unit];
        for (Index row = 0; row < n; ++row) {
          double error = -residual[row * 3 + action];
          for (Index other = 0; other <= units; ++other) {
            error += feature(row, other) * d[other];
          }
          sum += feature(row, unit) * error;
        }
        worst = std::max(worst, std::abs(sum));
      }
    }
    CHECK(worst <= 1e-10);
  }
}

TEST_CASE("wrong shapes are errors") {
  Case<Network<Squash::tanh>> c;
  SequenceView<const double> features(c.observations.data(), batch, rows, 5);
  SequenceView<double> correction(c.corrected.data(), batch, 2, 6);
  CHECK_THROWS_WITH_AS(cpu::ridge_forward(backend, features, c.action_view(), 0.0, correction),
                       doctest::Contains("positive strength"), Error);
  correction.channels = 5;
  CHECK_THROWS_WITH_AS(cpu::ridge_forward(backend, features, c.action_view(), 1.0, correction),
                       doctest::Contains("ridge_forward"), Error);
}

}  // namespace
