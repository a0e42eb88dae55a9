// What the fit of a Bayesian head leaves open: the predictive deviation of a policy's actions.
#pragma once

#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/models/bayesian_head.hpp>

#include <memory>
#include <vector>

MAA_NAMESPACE_BEGIN

// The posterior of one policy's head (models/bayesian_head.hpp). With G the rows of g at the prompt's pairs
// and M = G'G + sigma^2 I, an action's entry before squashing has at g the variance
//   v = scale sigma^2 (1 + g' M^-1 g),
// the same for every entry. `scale` is what makes the variances those of training's errors.
template <class Network, Index rank_>
class HeadPosterior {
 public:
  // Whose posterior it is.
  using Head = BayesianHead<Network, rank_>;
  static constexpr auto rank = Head::rank;

  // features [rows, units] of the policy at the prompt's pairs; noise: sigma^2.
  HeadPosterior(const typename Head::template Weights<const float>& w, std::span<const float> features,
                double noise, double scale)
      : prior_(std::make_shared<Buffer<float>>(rank * (Head::units + 1))),
        factor_(order() * order()),
        variance_(scale * noise) {
    std::copy_n(w.prior_weight, rank * Head::units, prior_->data());
    std::copy_n(w.prior_bias, rank, prior_->data() + rank * Head::units);
    Workspace scratch;
    const auto g = directions(features, scratch);
    const MatrixView<double> m(factor_.data(), order(), order());
    for (Index i = 0; i < g.rows; ++i) {
      for (Index j = 0; j < order(); ++j) {
        for (Index k = 0; k < order(); ++k) {
          m(j, k) += g(i, j) * g(i, k);
        }
      }
    }
    for (Index j = 0; j < order(); ++j) {
      m(j, j) += noise;
    }
    if (!cpu::detail::cholesky_factor(kernels::system_for(cpu::Backend(1).isa()), noise, m)) {
      cpu::detail::factor_rows(g, noise, m, scratch);
    }
  }

  // The variances [rows] at features [rows, units].
  std::vector<double> variance(std::span<const float> features) const {
    Workspace scratch;
    const auto g = directions(features, scratch);
    std::vector<double> result;
    for (Index i = 0; i < g.rows; ++i) {  // |U'^-1 g|^2 for M = U'U
      double* const x = g.row(i);
      double sum = 1;
      for (Index j = 0; j < order(); ++j) {
        x[j] /= factor_[j * order() + j];
        sum += x[j] * x[j];
        for (Index k = j + 1; k < order(); ++k) {
          x[k] -= factor_[j * order() + k] * x[j];
        }
      }
      result.push_back(variance_ * sum);
    }
    return result;
  }

 private:
  static Index order() { return rank + 1; }

  MatrixView<double> directions(std::span<const float> features, Workspace& scratch) const {
    const MatrixView<const float> f(features.data(), std::ssize(features) / Head::units, Head::units);
    const auto projected = scratch.matrix<float>(f.rows, rank);
    const Buffer<float>& prior = *prior_;
    linear_forward(cpu::Backend(1), f, prior.data(), prior.data() + rank * Head::units, projected);
    const auto result = scratch.matrix<double>(f.rows, order());
    for (Index i = 0; i < result.rows; ++i) {
      std::copy_n(projected.row(i), rank, result.row(i));
      result(i, rank) = 1;
    }
    return result;
  }

  std::shared_ptr<Buffer<float>> prior_;  // C, then c; not changed
  Buffer<double> factor_;                 // upper triangle
  double variance_;
};

// How sure a policy is: its features and the posterior of its head.
template <class Policy, Index rank>
class Uncertainty {
 public:
  using Network = typename Policy::Network;  // of its policy

  // As Generator::uncertainty makes it.
  Uncertainty(Policy policy, HeadPosterior<Network, rank> posterior)
      : policy_(std::move(policy)), posterior_(std::move(posterior)) {}

  // At each of the observations [rows, O]: the standard deviation of an action's entry before squashing,
  // around the policy's. It is of the size of the errors in training's tasks; at states unlike the prompt's
  // it is larger. Error if the size does not fit.
  std::vector<double> deviation(std::span<const float> observations) const {
    Buffer<float> read(observations);
    const auto rows = std::ssize(observations) / Network::observation_size;
    for (Index i = 0; i < rows; ++i) {
      policy_.scaling().apply(read.data() + i * Network::observation_size,
                              read.data() + i * Network::observation_size);
    }
    auto result = posterior_.variance(features_of(policy_, read.span()).span());
    std::ranges::transform(result, result.begin(), [](double variance) { return std::sqrt(variance); });
    return result;
  }

  // What the policy's heads read, [rows, units], for observations [rows, O] as its network reads them.
  static Buffer<float> features_of(const Policy& policy, std::span<const float> observations) {
    const Index rows = std::ssize(observations) / Network::observation_size;
    require(std::ssize(observations) == rows * Network::observation_size,
            "uncertainty: expected observations [rows, ", Network::observation_size, "], found ",
            observations.size(), " numbers");
    Workspace scratch;
    Buffer<float> features(rows * Network::last_hidden);
    policy_batch_forward(cpu::Backend(1), Network::layout(),
                         MatrixView<const float>(policy.weights().data(), 1, Policy::parameter_size),
                         SequenceView<const float>(observations.data(), 1, rows, Network::observation_size),
                         scratch, scratch.sequence<float>(1, rows, Network::action_size),
                         SequenceView<float>(),
                         SequenceView<float>(features.data(), 1, rows, Network::last_hidden));
    return features;
  }

 private:
  Policy policy_;
  HeadPosterior<Network, rank> posterior_;
};

MAA_NAMESPACE_END
