// The Bayesian head: gradients through the solve in double, its posterior against the plain formula, and what
// it is for - a policy that fits its prompt.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/io/parameters.hpp>
#include <maa/models/bayesian_head.hpp>
#include <maa/testing/grad_check.hpp>

#include "larger.hpp"
#include "temporary_folder.hpp"

#include <numbers>
#include <numeric>

namespace {

using namespace maa;

template <Squash squash>
using Network = MlpNetwork<5, 2, HiddenLayers<Hidden<6, Activation::elu>, Hidden<7, Activation::tanh>>,
                           Heads::mean_and_log_std, squash>;

const cpu::Backend backend(2);
constexpr Index batch = 3;

template <class NetworkT>
struct Case {
  static constexpr Index parameters = parameter_count<NetworkT>;
  using Head = BayesianHead<NetworkT, 4>;
  const MlpLayout layout = NetworkT::layout();
  Index rows;
  Buffer<double> policies{batch * parameters};
  Buffer<double> observations{batch * rows * 5};
  Buffer<double> actions{batch * rows * 2};
  Buffer<double> head{parameter_count<Head>};
  Buffer<double> corrected{batch * parameters};
  Workspace workspace;

  explicit Case(Index rows_ = 9) : rows(rows_) {
    Rng rng(1);
    rng.fill_normal(policies.span(), 0.5);
    rng.fill_normal(observations.span());
    rng.fill_uniform(actions.span(), -1.2, 1.2);  // some beyond the clipping
    initialize<Head>(head.span(), Rng(6));
    auto w = bind<Head>(head);
    Rng(7).fill_normal(std::span<double>(w.prior_bias, Head::rank), 0.3);
    w.log_noise[0] = 0.5;
    w.row_exponent[0] = 0.4;
  }
  MatrixView<double> policy_view() { return {policies.data(), batch, parameters}; }
  SequenceView<const double> observation_view() { return {observations.data(), batch, rows, 5}; }
  SequenceView<const double> action_view() { return {actions.data(), batch, rows, 2}; }
  MatrixView<double> corrected_view() { return {corrected.data(), batch, parameters}; }
  auto forward() {
    workspace.reset();
    return Head::forward(backend, layout, bind<Head>(std::as_const(head)),
                         MatrixView<const double>(policy_view()), observation_view(), action_view(),
                         corrected_view(), workspace);
  }
};

// F S F' + noise I for F = [f 1] and the prior's covariance S = [C c]' [C c] + e e', of one sample's features
// f [rows, units].
template <class Head, class T>
Buffer<double> plain_covariance(const typename Head::template Weights<const T>& w, const T* features,
                                Index rows, double noise) {
  Buffer<double> directions(rows * (Head::rank + 1));
  for (Index a = 0; a < rows; ++a) {
    double* of = directions.data() + a * (Head::rank + 1);
    of[Head::rank] = 1;
    for (Index k = 0; k < Head::rank; ++k) {
      of[k] = static_cast<double>(w.prior_bias[k]);
      for (Index unit = 0; unit < Head::units; ++unit) {
        of[k] += static_cast<double>(w.prior_weight[k * Head::units + unit]) *
                 static_cast<double>(features[a * Head::units + unit]);
      }
    }
  }
  Buffer<double> result(rows * rows);
  for (Index a = 0; a < rows; ++a) {
    for (Index b = 0; b < rows; ++b) {
      const double* of = directions.data();
      result[a * rows + b] = std::inner_product(of + a * (Head::rank + 1), of + (a + 1) * (Head::rank + 1),
                                                of + b * (Head::rank + 1), a == b ? noise : 0.0);
    }
  }
  return result;
}

// log N(r | 0, K) summed over the columns of r [rows, actions], by K = LL'.
template <class T>
double plain_log_density(Buffer<double> k, const T* r, Index rows, Index actions) {
  double sum = 0;
  Buffer<double> white(actions * rows);  // L^-1 r
  for (Index i = 0; i < rows; ++i) {
    double* row = k.data() + i * rows;
    for (Index j = 0; j <= i; ++j) {
      const double left = row[j] - std::inner_product(row, row + j, k.data() + j * rows, 0.0);
      row[j] = i == j ? std::sqrt(left) : left / k[j * rows + j];
    }
    for (Index action = 0; action < actions; ++action) {
      double* of = white.data() + action * rows;
      of[i] =
          (static_cast<double>(r[i * actions + action]) - std::inner_product(row, row + i, of, 0.0)) / row[i];
      sum -= 0.5 * of[i] * of[i] + std::log(row[i]) + 0.5 * std::log(2 * std::numbers::pi);
    }
  }
  return sum;
}

template <class NetworkT>
void check_gradients(Index rows) {
  CAPTURE(rows);
  Case<NetworkT> c(rows);
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
  using Head = typename Case<NetworkT>::Head;
  Buffer<double> dhead(c.head.size());
  Head::backward(backend, c.layout, bind<Head>(std::as_const(c.head)),
                 MatrixView<const double>(c.policy_view()), c.observation_view(), c.action_view(), saved,
                 MatrixView<const double>(weight.data(), batch, c.parameters), bind<Head>(dhead),
                 MatrixView<double>(dpolicies.data(), batch, c.parameters), c.workspace);
  CHECK(grad_check(c.policies.span(), dpolicies.span(), value).worst_error <= 1e-6);
  CHECK(grad_check(c.head.span(), dhead.span(), value).worst_error <= 1e-6);
  CHECK(std::abs(bind<Head>(dhead).log_noise[0]) > 1e-3);
}

TEST_CASE("gradients for policies, prior and noise flow through the solve") {
  for (const Index rows : {5, 8, 9, 50}) {  // on both sides of rank + 1
    check_gradients<Network<Squash::tanh>>(rows);
    check_gradients<Network<Squash::none>>(rows);
  }
}

TEST_CASE("the noise follows the number of pairs") {
  using Plain = Network<Squash::none>;
  const auto corrected = [](Index rows, double log_noise, double row_exponent) {
    Case<Plain> c(rows);
    auto w = bind<Case<Plain>::Head>(c.head);
    w.log_noise[0] = log_noise;
    w.row_exponent[0] = row_exponent;
    c.forward();
    return std::move(c.corrected);
  };
  const auto distance = [](const Buffer<double>& a, const Buffer<double>& b) {
    double worst = 0;
    for (Index i = 0; i < a.size(); ++i) {
      worst = test::larger(worst, std::abs(a[i] - b[i]));
    }
    return worst;
  };
  CHECK(distance(corrected(180, -1, 0.5), corrected(180, -1 + 0.5 * std::log(3.0), 0)) < 1e-12);
  CHECK(distance(corrected(180, -1, 0.5), corrected(180, -1, 0)) > 1e-3);
  CHECK(distance(corrected(60, -1, 0.5), corrected(60, -1, 0)) == 0);
}

TEST_CASE("a file without one of the head's tensors is an error that names it") {
  using Head = BayesianHead<Network<Squash::tanh>, 4>;
  const test::TemporaryFolder folder;
  const auto path = folder / "head.safetensors";
  Buffer<float> head(parameter_count<Head>);
  auto tensors = tensors_of<Head>();
  REQUIRE(tensors.size() == 4);
  tensors.pop_back();
  SafetensorsWriter writer;
  add_parameters(writer, tensors, head.span());
  writer.write(path);
  const SafetensorsReader reader(path);
  CHECK_THROWS_WITH_AS(read_parameters(reader, tensors_of<Head>(), head.span()),
                       doctest::Contains("row_exponent"), Error);
}

TEST_CASE("a known prompt is fitted with more noise, forward and backward") {
  using Plain = Network<Squash::none>;
  using Head = Case<Plain>::Head;
  Case<Plain> known, noisy;
  bind<Head>(noisy.head).log_noise[0] += std::log(Head::known_factor);
  const auto gradients = [](Case<Plain>& c, HeadFit fit) {
    c.workspace.reset();
    const auto w = bind<Head>(std::as_const(c.head));
    const MatrixView<const double> policies(c.policy_view());
    const auto saved = Head::forward(backend, c.layout, w, policies, c.observation_view(), c.action_view(),
                                     c.corrected_view(), c.workspace, fit);
    Buffer<double> dhead(c.head.size()), dpolicies(c.policies.size());
    Head::backward(backend, c.layout, w, policies, c.observation_view(), c.action_view(), saved,
                   MatrixView<const double>(c.corrected_view()), bind<Head>(dhead),
                   MatrixView<double>(dpolicies.data(), batch, Case<Plain>::parameters), c.workspace, fit);
    return std::pair(std::move(dhead), std::move(dpolicies));
  };
  const auto [dhead, dpolicies] = gradients(known, {.known = true});
  const auto [expected_head, expected_policies] = gradients(noisy, {});
  const auto alike = [](const Buffer<double>& a, const Buffer<double>& b) {
    double worst = 0;
    for (Index i = 0; i < a.size(); ++i) {
      worst = test::larger(worst, std::abs(a[i] - b[i]));
    }
    return worst < 1e-10;
  };
  CHECK(alike(known.corrected, noisy.corrected));
  CHECK(alike(dhead, expected_head));
  CHECK(alike(dpolicies, expected_policies));
  gradients(noisy, {.known = true});
  CHECK_FALSE(alike(known.corrected, noisy.corrected));
}

TEST_CASE("little noise fits the prompt, much of it leaves the policy") {
  using Plain = Network<Squash::none>;
  Case<Plain> c;
  const auto error = [&](double log_noise) {
    bind<Case<Plain>::Head>(c.head).log_noise[0] = log_noise;
    c.forward();
    Buffer<double> mean(batch * c.rows * 2);
    const SequenceView<double> view(mean.data(), batch, c.rows, 2);
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

TEST_CASE("the correction is the posterior mean for the prior's covariance") {
  using Plain = Network<Squash::none>;
  using Head = Case<Plain>::Head;
  constexpr Index size = Head::units + 1;
  Case<Plain> c;
  const auto saved = c.forward();
  // D = S F' (F S F' + sigma^2 I)^-1 r, so that (F S F' + sigma^2 I) F D = F S F' r.
  const double noise = Head::base_noise * std::exp(0.5 + 0.4 * std::log(static_cast<double>(c.rows) / 60));
  const auto head = [&](const Buffer<double>& policies, Index i, Index action, Index unit) {
    const auto& mean = c.layout.mean;
    const Index at =
        unit == Head::units ? mean.bias_offset + action : mean.weight_offset + action * mean.in + unit;
    return policies[i * Case<Plain>::parameters + at];
  };
  double worst = 0;
  for (Index i = 0; i < batch; ++i) {
    const auto feature = [&](Index row, Index unit) {
      return unit == Head::units ? 1.0 : saved.features.data[(i * c.rows + row) * Head::units + unit];
    };
    const auto kernel = plain_covariance<Head, double>(
        bind<Head>(std::as_const(c.head)), saved.features.data + i * c.rows * Head::units, c.rows, 0);
    for (Index action = 0; action < 2; ++action) {
      Buffer<double> fitted(c.rows);
      for (Index a = 0; a < c.rows; ++a) {
        for (Index j = 0; j < size; ++j) {
          fitted[a] += feature(a, j) * (head(c.corrected, i, action, j) - head(c.policies, i, action, j));
        }
      }
      for (Index a = 0; a < c.rows; ++a) {
        double left = noise * fitted[a], right = 0;
        for (Index b = 0; b < c.rows; ++b) {
          left += kernel[a * c.rows + b] * fitted[b];
          right += kernel[a * c.rows + b] * saved.residual.data[(i * c.rows + b) * 2 + action];
        }
        worst = test::larger(worst, std::abs(left - right) / (1 + std::abs(right)));
      }
    }
  }
  CHECK(worst <= 1e-10);
}

TEST_CASE("the correction solves the normal equations at every size") {
  for (const auto& size : {std::pair<Index, Index>{1, 1},
                           {5, 33},
                           {37, 16},
                           {64, 40},
                           {60, 128},
                           {129, 128},
                           {130, 128},
                           {300, 128}}) {
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
        worst = test::larger(worst, std::abs(sum));
      }
    }
    CHECK(worst <= 1e-10);
  }
}

// x = A^-1 b for symmetric positive definite A [n, n], in extended precision, without roots; returns log det
// A.
double plain_solve(std::vector<long double> a, std::vector<long double>& b) {
  const std::size_t n = b.size();
  long double log_determinant = 0;
  for (std::size_t i = 0; i < n; ++i) {
    log_determinant += std::log(a[i * n + i]);
    for (std::size_t j = i + 1; j < n; ++j) {
      const auto factor = a[j * n + i] / a[i * n + i];
      for (std::size_t k = i; k < n; ++k) {
        a[j * n + k] -= factor * a[i * n + k];
      }
      b[j] -= factor * b[i];
    }
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t j = i + 1; j < n; ++j) {
      b[i] -= a[i * n + j] * b[j];
    }
    b[i] /= a[i * n + i];
  }
  return static_cast<double>(log_determinant);
}

TEST_CASE("features of any size give the ridge's solution, evidence and gradients") {
  constexpr double strength = 0.7;
  for (const auto& [rows, units] : {std::pair<Index, Index>{60, 16}, {9, 16}, {17, 16}}) {
    for (const float size : {1.0f, 400.0f, 1e4f, 1e6f, 1e7f}) {
      CAPTURE(rows);
      CAPTURE(size);
      // As where an input of a policy is far off: all features are mostly the same, or its multiples.
      Buffer<float> phi(rows * units), residual(rows), correction(units + 1), weight(units + 1);
      Rng(3).fill_normal(phi.span());
      Rng(4).fill_normal(residual.span());
      Rng(5).fill_normal(weight.span());
      for (Index i = 0; i < phi.size(); ++i) {
        phi[i] += size * static_cast<float>(1 + i % units % 3);
      }
      const SequenceView<const float> features(phi.data(), 1, rows, units), r(residual.data(), 1, rows, 1);
      cpu::ridge_forward(backend, features, r, strength,
                         SequenceView<float>(correction.data(), 1, 1, units + 1));
      double evidence = 0;
      cpu::ridge_evidence<float>(backend, features, r, strength, std::span(&evidence, 1));
      const auto n = static_cast<std::size_t>(units + 1);
      std::vector<long double> m(n * n), solution(n);
      const auto feature = [&](Index row, Index unit) {
        return unit == units ? 1.0L : static_cast<long double>(phi[row * units + unit]);
      };
      for (Index i = 0; i <= units; ++i) {
        for (Index row = 0; row < rows; ++row) {
          solution[static_cast<std::size_t>(i)] += feature(row, i) * static_cast<long double>(residual[row]);
          for (Index j = 0; j <= units; ++j) {
            m[static_cast<std::size_t>(i) * n + static_cast<std::size_t>(j)] +=
                feature(row, i) * feature(row, j);
          }
        }
        m[static_cast<std::size_t>(i) * (n + 1)] += static_cast<long double>(strength);
      }
      const double log_determinant = plain_solve(m, solution);
      double loss = 0, least = 0, squares = 0;  // |Phi D - R|^2 + strength |D|^2 of both
      for (Index i = 0; i <= units; ++i) {
        const auto d = static_cast<double>(correction[i]);
        const auto best = static_cast<double>(solution[static_cast<std::size_t>(i)]);
        squares += d * d;
        loss += strength * d * d;
        least += strength * best * best;
      }
      for (Index row = 0; row < rows; ++row) {
        long double of = -static_cast<long double>(residual[row]), best = of;
        for (Index i = 0; i <= units; ++i) {
          of += feature(row, i) * static_cast<long double>(correction[i]);
          best += feature(row, i) * solution[static_cast<std::size_t>(i)];
        }
        loss += static_cast<double>(of * of);
        least += static_cast<double>(best * best);
      }
      // The solution itself is rounded to float, at features of that size.
      const double rounding =
          1e-6 * static_cast<double>(size) * std::sqrt(squares * static_cast<double>(rows));
      CHECK(std::sqrt(loss) <= 1.001 * std::sqrt(least) + rounding);
      CHECK(evidence ==
            doctest::Approx(-0.5 *
                            (log_determinant + static_cast<double>(rows - units - 1) * std::log(strength) +
                             static_cast<double>(rows) * std::log(2 * std::numbers::pi) + least / strength))
                .epsilon(0.01));
      Buffer<float> dphi(phi.size()), dresidual(rows);
      const double dlog = cpu::ridge_backward(backend, features, r, strength,
                                              SequenceView<const float>(correction.data(), 1, 1, units + 1),
                                              SequenceView<const float>(weight.data(), 1, 1, units + 1),
                                              SequenceView<float>(dphi.data(), 1, rows, units),
                                              SequenceView<float>(dresidual.data(), 1, rows, 1));
      CHECK(is_finite(dlog));
      CHECK(first_nonfinite(dphi.span()) == -1);
      CHECK(first_nonfinite(dresidual.span()) == -1);
    }
  }
}

// One ridge problem and what a fixed gradient dD gives.
struct RidgeProblem {
  static constexpr Index actions = 3;
  Index rows, units;
  double strength;
  Buffer<double> phi{rows * units}, residual{rows * actions};
  Buffer<double> correction{actions * (units + 1)}, weight{correction.size()};
  Buffer<double> dphi{phi.size()}, dresidual{residual.size()};
  double dlog_strength = 0;

  RidgeProblem(Index rows_, Index units_, double strength_)
      : rows(rows_), units(units_), strength(strength_) {
    Rng(3).fill_normal(phi.span());
    Rng(4).fill_normal(residual.span());
    Rng(5).fill_normal(weight.span());
  }
  SequenceView<double> view(Buffer<double>& values, Index length, Index channels) const {
    return {values.data(), 1, length, channels};
  }
  double forward() {
    cpu::ridge_forward(backend, SequenceView<const double>(view(phi, rows, units)),
                       SequenceView<const double>(view(residual, rows, actions)), strength,
                       view(correction, actions, units + 1));
    return std::inner_product(weight.begin(), weight.end(), correction.begin(), 0.0);
  }
  void backward() {
    forward();
    dlog_strength = cpu::ridge_backward(backend, SequenceView<const double>(view(phi, rows, units)),
                                        SequenceView<const double>(view(residual, rows, actions)), strength,
                                        SequenceView<const double>(view(correction, actions, units + 1)),
                                        SequenceView<const double>(view(weight, actions, units + 1)),
                                        view(dphi, rows, units), view(dresidual, rows, actions));
  }
};

TEST_CASE("the ridge's gradients on both sides of units + 1 rows") {
  for (const Index rows : {60, 129, 130, 300}) {
    CAPTURE(rows);
    RidgeProblem p(rows, 128, 0.7);
    p.backward();
    const auto value = [&] { return p.forward(); };
    const GradCheckOptions some{.samples = 12};
    CHECK(grad_check(p.phi.span(), p.dphi.span(), value, some).worst_error <= 1e-6);
    CHECK(grad_check(p.residual.span(), p.dresidual.span(), value, some).worst_error <= 1e-6);
  }
}

// Every pair twice under twice the strength is the same problem, solved by the other matrix.
TEST_CASE("both matrices give the same results") {
  for (const Index rows : {65, 100, 129}) {
    CAPTURE(rows);
    RidgeProblem once(rows, 128, 0.7), twice(2 * rows, 128, 1.4);
    std::copy(once.phi.begin(), once.phi.end(), twice.phi.begin());
    std::copy(once.phi.begin(), once.phi.end(), twice.phi.begin() + once.phi.size());
    std::copy(once.residual.begin(), once.residual.end(), twice.residual.begin());
    std::copy(once.residual.begin(), once.residual.end(), twice.residual.begin() + once.residual.size());
    once.backward();
    twice.backward();
    double worst = std::abs(once.dlog_strength - twice.dlog_strength);
    for (Index i = 0; i < once.correction.size(); ++i) {
      worst = test::larger(worst, std::abs(once.correction[i] - twice.correction[i]));
    }
    for (Index i = 0; i < once.dphi.size(); ++i) {
      worst = test::larger(worst, std::abs(once.dphi[i] - twice.dphi[i] - twice.dphi[i + once.dphi.size()]));
    }
    for (Index i = 0; i < once.dresidual.size(); ++i) {
      worst = test::larger(worst, std::abs(once.dresidual[i] - twice.dresidual[i] -
                                           twice.dresidual[i + once.dresidual.size()]));
    }
    CHECK(worst <= 1e-10);
  }
}

TEST_CASE("the evidence is the log density of the residual") {
  constexpr Index samples = 2;
  for (const auto& [rows, units, actions] : {std::array<Index, 3>{1, 1, 1},
                                             {5, 9, 3},
                                             {9, 9, 2},
                                             {10, 9, 1},
                                             {11, 9, 4},
                                             {60, 64, 3},
                                             {65, 64, 2},
                                             {66, 64, 2},
                                             {200, 32, 2}}) {
    CAPTURE(rows);
    CAPTURE(units);
    for (const double strength : {0.03, 0.7, 40.0}) {
      CAPTURE(strength);
      Buffer<double> phi(samples * rows * units), residual(samples * rows * actions);
      Rng(3).fill_normal(phi.span());
      Rng(4).fill_normal(residual.span(), 2);
      std::array<double, samples> evidence;
      cpu::ridge_evidence<double>(backend, SequenceView<const double>(phi.data(), samples, rows, units),
                                  SequenceView<const double>(residual.data(), samples, rows, actions),
                                  strength, evidence);
      for (Index i = 0; i < samples; ++i) {
        Buffer<double> covariance(rows * rows);
        for (Index a = 0; a < rows; ++a) {
          for (Index b = 0; b < rows; ++b) {
            const double* of = phi.data() + i * rows * units;
            covariance[a * rows + b] = std::inner_product(of + a * units, of + (a + 1) * units,
                                                          of + b * units, a == b ? 1 + strength : 1.0);
          }
        }
        CHECK(evidence[static_cast<std::size_t>(i)] ==
              doctest::Approx(plain_log_density(std::move(covariance), residual.data() + i * rows * actions,
                                                rows, actions))
                  .epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("the head's evidence is that of its prior and noise, whatever the density of the rows") {
  using Plain = Network<Squash::tanh>;
  using Head = Case<Plain>::Head;
  Case<Plain> c(24);
  const auto single = [](const Buffer<double>& from) {
    Buffer<float> result(from.size());
    std::ranges::transform(from, result.begin(), [](double x) { return static_cast<float>(x); });
    return result;
  };
  const auto policies = single(c.policies), observations = single(c.observations),
             actions = single(c.actions), head = single(c.head);
  const auto w = bind<Head>(head);
  for (const Index density : {1, 2}) {
    CAPTURE(density);
    Workspace workspace, host;
    const auto saved = Head::forward(
        backend, c.layout, w, MatrixView<const float>(policies.data(), batch, Case<Plain>::parameters),
        SequenceView<const float>(observations.data(), batch, c.rows, 5),
        SequenceView<const float>(actions.data(), batch, c.rows, 2),
        workspace.matrix<float>(batch, Case<Plain>::parameters), workspace, {.density = density});
    std::array<double, batch> evidence;
    Head::log_evidence(backend, w, saved, {.density = density}, evidence, host);
    const auto weight = static_cast<double>(density);
    const double rows = static_cast<double>(c.rows) / weight;
    const double noise = Head::base_noise * weight * std::exp(0.5 + 0.4 * std::log(rows / 60));
    for (Index i = 0; i < batch; ++i) {
      CHECK(evidence[static_cast<std::size_t>(i)] ==
            doctest::Approx(
                plain_log_density(plain_covariance<Head, float>(
                                      w, saved.features.data + i * c.rows * Head::units, c.rows, noise),
                                  saved.residual.data + i * c.rows * 2, c.rows, 2))
                .epsilon(1e-5));
    }
  }
}

TEST_CASE("draws have the posterior's mean and covariance") {
  constexpr Index units = 3, rows = 5, numbers = units + 1, draws = 20000;
  constexpr double strength = 0.7, scale = 1.5;
  Buffer<double> phi(rows * units), drawn(draws * numbers);
  Rng(3).fill_normal(phi.span());
  const SequenceView<const double> features(phi.data(), 1, rows, units);
  const std::array deviation{scale};
  const std::array streams{Rng(8)};
  cpu::ridge_draw<double>(backend, features, strength, deviation, streams,
                          SequenceView<double>(drawn.data(), 1, draws, numbers));
  // M S / strength should be I for the draws' covariance S, M = [Phi 1]'[Phi 1] + strength I.
  const auto entry = [&](Index row, Index j) { return j == units ? 1.0 : phi[row * units + j]; };
  for (Index a = 0; a < numbers; ++a) {
    double mean = 0;
    for (Index i = 0; i < draws; ++i) {
      mean += drawn[i * numbers + a] / static_cast<double>(draws);
    }
    CHECK(std::abs(mean) < 0.03);
    for (Index b = 0; b < numbers; ++b) {
      double product = 0;
      for (Index j = 0; j < numbers; ++j) {
        double m = a == j ? strength : 0, covariance = 0;
        for (Index row = 0; row < rows; ++row) {
          m += entry(row, a) * entry(row, j);
        }
        for (Index i = 0; i < draws; ++i) {
          covariance += drawn[i * numbers + j] * drawn[i * numbers + b] / static_cast<double>(draws);
        }
        product += m * covariance / (scale * scale * strength);
      }
      CHECK(std::abs(product - (a == b ? 1 : 0)) < 0.06);
    }
  }
  const std::array none{0.0};
  cpu::ridge_draw<double>(backend, features, strength, none, streams,
                          SequenceView<double>(drawn.data(), 1, draws, numbers));
  CHECK(std::ranges::all_of(drawn, [](double number) { return number == 0; }));
}

TEST_CASE("wrong shapes are errors") {
  Case<Network<Squash::tanh>> c;
  SequenceView<const double> features(c.observations.data(), batch, c.rows, 5);
  SequenceView<double> correction(c.corrected.data(), batch, 2, 6);
  CHECK_THROWS_WITH_AS(cpu::ridge_forward(backend, features, c.action_view(), 0.0, correction),
                       doctest::Contains("positive strength"), Error);
  correction.channels = 5;
  CHECK_THROWS_WITH_AS(cpu::ridge_forward(backend, features, c.action_view(), 1.0, correction),
                       doctest::Contains("ridge_forward"), Error);
  std::array<double, batch> evidence;
  CHECK_THROWS_WITH_AS(cpu::ridge_evidence<double>(backend, features, c.action_view(), 0.0, evidence),
                       doctest::Contains("a positive strength and 3 results, found 0 and 3"), Error);
  CHECK_THROWS_WITH_AS(
      cpu::ridge_evidence<double>(backend, features, c.action_view(), 1.0, std::span(evidence).first(2)),
      doctest::Contains("found 1 and 2"), Error);
  const std::array<double, 2> deviation{};
  const std::array streams{Rng(1), Rng(2), Rng(3)};
  correction.channels = 6;
  CHECK_THROWS_WITH_AS(cpu::ridge_draw<double>(backend, features, 1.0, deviation, streams, correction),
                       doctest::Contains("3 deviations and streams, found 1, 2 and 3"), Error);
  const SequenceView<const double> fewer(c.actions.data(), batch, c.rows - 1, 2);
  CHECK_THROWS_WITH_AS(cpu::ridge_evidence<double>(backend, features, fewer, 1.0, evidence),
                       doctest::Contains("ridge_evidence: residual"), Error);
}

}  // namespace
