// Behaviour cloning of many policies of one network at once: each learns the actions of its own examples.
#pragma once

#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/core/workspace.hpp>
#include <maa/train/learning_rate.hpp>

#include "policy_type.hpp"

namespace maa::examples::study {

// What is learned. The mean head and the hidden layers learn the same in both cases, to the bit: least
// squares of the squashed action, which is the likelihood with its variance taken out of the weights of the
// examples (beta-NLL with beta = 1; Seitzer et al., ICLR 2022), so that easy examples do not drown the rest.
enum class CloningLoss {
  squared_error,  // the log_std head gets no gradient
  likelihood,     // the log_std head learns the spread around the mean: see log_std_loss
};

struct CloningOptions {
  Index steps = 1000;  // what the learning rate's schedule counts on
  Index batch = 128;   // examples per policy and step, drawn with replacement
  LearningRate learning_rate{.kind = LearningRateKind::constant, .base = 1e-3};
  double weight_decay = 0;
  std::uint64_t seed = 0;
  CloningLoss loss = CloningLoss::squared_error;
};

// One table of examples and, for every policy, the rows that it learns from. The views must outlive the call.
struct CloningExamples {
  MatrixView<const float> observations;  // [N, O], not normalised
  MatrixView<const float> actions;       // [N, A]
  std::vector<std::vector<Index>> rows;  // [G], none empty
};

// A network's random weights for training in normalised space, drawn as described by the network; a log_std
// head gives the constant `log_std` whatever the observation, until CloningLoss::likelihood trains it. For
// that, 0 is a better start than a small std: per example the gradient of too large a std is at most 1, that
// of too small a one has no bound, and Adam's second moment then slows what follows.
void initialize_policy(const NetworkType& network, std::span<float> weights, const Rng& rng,
                       double log_std = -2.3);

// Mean over rows and actions of (squash(mean) - action)^2 of one policy, and its gradient for the mean head
// (overwritten).
template <class T>
double cloning_loss(Squash squash, cpu::In<T> mean, cpu::In<T> actions, MatrixView<T> dmean) {
  require_shape(actions, mean.rows, mean.cols, "cloning_loss: actions");
  require_shape(dmean, mean.rows, mean.cols, "cloning_loss: dmean");
  const double scale = 1.0 / static_cast<double>(mean.size());
  double sum = 0;
  for (Index i = 0; i < mean.rows; ++i) {
    for (Index j = 0; j < mean.cols; ++j) {
      const T action = squash == Squash::tanh ? std::tanh(mean(i, j)) : mean(i, j);
      const T slope = squash == Squash::tanh ? T(1) - action * action : T(1);
      const T error = action - actions(i, j);
      sum += static_cast<double>(error) * static_cast<double>(error);
      dmean(i, j) = static_cast<T>(2 * scale) * error * slope;
    }
  }
  return scale * sum;
}

// log P(z < t) of a standard normal z, and its derivative for t.
struct LogNormalCdf {
  double value;
  double slope;
};
inline LogNormalCdf log_normal_cdf(double t) {
  constexpr double log_root_two_pi = 0.91893853320467274;
  const double log_density = -0.5 * t * t - log_root_two_pi;
  if (t < -30) {  // Both factors of the ratio are near underflow: the first terms of Mills' ratio.
    const double inverse = 1 / (t * t);
    const double series = 1 - inverse * (1 - inverse * (3 - inverse * 15));
    return {log_density - std::log(-t) + std::log(series), -t / series};
  }
  const double probability = 0.5 * std::erfc(-t / std::numbers::sqrt2);
  return {std::log(probability), std::exp(log_density) / probability};
}

// Negative log-likelihood of one policy's actions before squashing, u ~ N(mean, std^2), as MlpPolicy::sample
// draws them: mean over rows and actions of ((u - mean) / std)^2 / 2 + log std + log(2 pi) / 2, where log std
// is log_std clamped to [-20, 2]. Its gradient is for log_std alone (overwritten; zero where clamped): the
// mean is taken as given. All [rows, actions].
//
// With tanh, u = atanh(action) up to |action| = .95. Nearer to the bounds small errors of the action are
// large ones of u, and an action on the bound has none: of these it counts only that u lies beyond atanh(.95)
// on the action's side. The term is minus the log of that probability (censored regression; Tobin, 1958): a
// mean far out on that side says nothing about std, one on the other side asks for a wider one.
template <class T>
double log_std_loss(Squash squash, cpu::In<T> mean, cpu::In<T> log_std, cpu::In<T> actions,
                    MatrixView<T> dlog_std) {
  require_shape(log_std, mean.rows, mean.cols, "log_std_loss: log_std");
  require_shape(actions, mean.rows, mean.cols, "log_std_loss: actions");
  require_shape(dlog_std, mean.rows, mean.cols, "log_std_loss: dlog_std");
  constexpr double bound = 0.95;
  constexpr double censored_from = 1.8317808230648232;  // atanh(bound)
  const double log_root_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  const double scale = 1.0 / static_cast<double>(mean.size());
  double sum = 0;
  for (Index i = 0; i < mean.rows; ++i) {
    for (Index j = 0; j < mean.cols; ++j) {
      const double raw = log_std(i, j);
      const double clamped = std::clamp(raw, -20.0, 2.0);
      const double inverse = std::exp(-clamped);
      const double centre = mean(i, j);
      const double action = actions(i, j);
      double slope = 0;
      if (squash == Squash::tanh && std::abs(action) > bound) {
        const double margin = (std::copysign(1.0, action) * centre - censored_from) * inverse;
        const auto beyond = log_normal_cdf(margin);
        sum -= beyond.value;
        slope = margin * beyond.slope;
      } else {
        const double z = ((squash == Squash::tanh ? std::atanh(action) : action) - centre) * inverse;
        sum += 0.5 * z * z + clamped + log_root_two_pi;
        slope = 1 - z * z;
      }
      dlog_std(i, j) = raw == clamped ? static_cast<T>(scale * slope) : T(0);
    }
  }
  return scale * sum;
}

// Trains G policies with Adam (AdamW if there is weight decay), each on minibatches that depend on seed,
// policy and step alone: results are the same for any number of threads, and for a policy cloned alone under
// the same number. Weights come in and go out for raw observations; training happens behind the normaliser.
class BehaviorCloner {
 public:
  // initial [G, P]. The backend and the network must outlive this object.
  BehaviorCloner(const NetworkType& network, const cpu::Backend& backend, Normalizer normalizer,
                 MatrixView<const float> initial, const CloningOptions& options);

  const CloningOptions& options() const { return options_; }
  Index policy_count() const { return policies_; }
  Index step_count() const { return step_; }
  // With CloningLoss::likelihood, the mean over policies of log_std_loss before the last step; else 0.
  double log_std_loss() const { return log_std_loss_; }

  // One optimizer step of every policy; returns the mean over policies of the squared error before it. Error
  // for examples that do not fit, and for a loss that is not finite; the weights are then as before.
  double step(const CloningExamples& examples);

  // The policies for raw observations: [G, P].
  void export_weights(MatrixView<float> weights) const;

 private:
  MatrixView<float> matrix(Buffer<float>& values) const {
    return {values.data(), policies_, network_->parameter_count()};
  }
  bool learns_log_std() const { return options_.loss == CloningLoss::likelihood; }
  double mean_over_policies(const Buffer<double>& losses) const;
  void log_std_backward(MatrixView<const float> features, MatrixView<const float> dlog_std,
                        float* gradient) const;
  void check(const CloningExamples& examples) const;
  void draw_batch(const CloningExamples& examples, Index policy);

  const NetworkType* network_;
  const cpu::Backend* backend_;
  Normalizer normalizer_;
  CloningOptions options_;
  Index policies_;
  Buffer<float> weights_;  // [G, P], reading normalised observations
  Buffer<float> gradients_;
  Buffer<float> first_moment_;
  Buffer<float> second_moment_;
  Index step_ = 0;
  Workspace workspace_;
  Buffer<float> observations_;  // [G, batch, O], normalised
  Buffer<float> actions_;       // [G, batch, A]
  Buffer<float> mean_;
  Buffer<float> dmean_;
  Buffer<double> losses_;
  // Empty unless the log_std head learns.
  Buffer<float> log_std_;  // [G, batch, A]
  Buffer<float> dlog_std_;
  Buffer<float> features_;  // [G, batch, last hidden layer]
  Buffer<double> log_std_losses_;
  double log_std_loss_ = 0;
};

// All steps, from `weights` [G, P] to the trained ones in their place, with that many threads; stops with
// Interrupted. After each step, on_step(cloner, its loss).
void clone(const NetworkType& network, int threads, const Normalizer& normalizer,
           const CloningExamples& examples, const CloningOptions& options, MatrixView<float> weights,
           const std::function<void(const BehaviorCloner&, double loss)>& on_step);

}  // namespace maa::examples::study
