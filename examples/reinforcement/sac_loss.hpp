// The losses of soft actor-critic and their gradients, of one run: Haarnoja et al., 2018 (arXiv 1812.05905).
// B rows of O observations and A actions; an actor [1, P] and two critics [2, C], which read [O + A].
//
// The actor is a Gaussian squashed by tanh, whose heads depend on the observation:
//   a = tanh(u), u = mean + std noise, log std = log_std clamped to [-20, 2], noise ~ N(0, 1).
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "critic_loss.hpp"

namespace maa::examples::reinforcement {

inline constexpr double least_log_std = -20, greatest_log_std = 2;

// Actions [B, A] and their log-probability log pi(a) [B], with the change of variables by tanh (appendix C):
//   sum over actions of -noise^2 / 2 - log std - log(2 pi) / 2 - log(1 - a^2).
// The last term is log 4 - 2 |u| - 2 log(1 + e), e = exp(-2 |u|), which has no cancellation.
template <class T>
void squashed_gaussian(cpu::In<T> mean, cpu::In<T> log_std, cpu::In<T> noise, MatrixView<T> actions,
                       std::span<std::type_identity_t<T>> log_prob) {
  require_shape(mean, actions.rows, actions.cols, "squashed_gaussian: mean");
  require_shape(log_std, actions.rows, actions.cols, "squashed_gaussian: log_std");
  require_shape(noise, actions.rows, actions.cols, "squashed_gaussian: noise");
  require(static_cast<Index>(log_prob.size()) == actions.rows, "squashed_gaussian: expected ", actions.rows,
          " log-probabilities, found ", log_prob.size());
  const auto constant = static_cast<T>(-0.5 * std::log(2 * std::numbers::pi) - std::log(4.0));
  for (Index i = 0; i < actions.rows; ++i) {
    T sum = static_cast<T>(actions.cols) * constant;
    for (Index j = 0; j < actions.cols; ++j) {
      const T deviation =
          std::clamp(log_std(i, j), static_cast<T>(least_log_std), static_cast<T>(greatest_log_std));
      const T z = noise(i, j);
      const T u = mean(i, j) + std::exp(deviation) * z;
      const T e = std::exp(-2 * std::abs(u));
      actions(i, j) = std::copysign((1 - e) / (1 + e), u);
      sum += 2 * (std::abs(u) + std::log(1 + e)) - z * z / 2 - deviation;
    }
    log_prob[static_cast<std::size_t>(i)] = sum;
  }
}

// The gradient of the mean over rows of alpha log pi(a) - Q(a) for the heads (overwritten), given that of Q
// for the actions. All [B, A].
template <class T>
void squashed_gaussian_backward(std::type_identity_t<T> alpha, cpu::In<T> log_std, cpu::In<T> noise,
                                cpu::In<T> actions, cpu::In<T> value_slope, MatrixView<T> dmean,
                                MatrixView<T> dlog_std) {
  for (const auto& given : {log_std, noise, actions, value_slope, MatrixView<const T>(dlog_std)}) {
    require_shape(given, dmean.rows, dmean.cols, "squashed_gaussian_backward");
  }
  const T scale = T(1) / static_cast<T>(dmean.rows);
  for (Index i = 0; i < dmean.rows; ++i) {
    for (Index j = 0; j < dmean.cols; ++j) {
      const T raw = log_std(i, j), a = actions(i, j);
      const T deviation = std::clamp(raw, static_cast<T>(least_log_std), static_cast<T>(greatest_log_std));
      // d log pi / du at constant noise and std is 2 a, da/du = 1 - a^2.
      const T du = 2 * alpha * a - value_slope(i, j) * (1 - a * a);
      dmean(i, j) = scale * du;
      dlog_std(i, j) = raw == deviation ? scale * (du * std::exp(deviation) * noise(i, j) - alpha) : T(0);
    }
  }
}

namespace detail {

// One matrix as the sequence of a single policy.
template <class T>
SequenceView<T> single(MatrixView<T> matrix) {
  return {matrix.data, 1, matrix.rows, matrix.cols};
}

}  // namespace detail

// The targets of both critics [B], equations 2 and 5:
//   y = reward + discount (min over critics of Q'(s', a') - alpha log pi(a')), a' ~ the actor at s'.
// next [B, O + A]: s', and room for a'. Q' are the target critics.
template <class T>
void critic_targets(const cpu::Backend& backend, const MlpLayout& actor_layout, cpu::In<T> actor,
                    const MlpLayout& critic_layout, cpu::In<T> target_critics, std::type_identity_t<T> alpha,
                    std::type_identity_t<T> discount, cpu::InSpan<T> rewards, MatrixView<T> next,
                    cpu::In<T> noise, std::span<std::type_identity_t<T>> targets) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const Index rows = next.rows, observations = actor_layout.hidden.front().in;
  const Index actions = actor_layout.mean.out;
  require(static_cast<Index>(rewards.size()) == rows && targets.size() == rewards.size(),
          "critic_targets: expected ", rows, " rewards and targets, found ", rewards.size(), " and ",
          targets.size());
  const auto mean = scratch.matrix<T>(rows, actions), log_std = scratch.matrix<T>(rows, actions);
  const auto log_prob = scratch.span<T>(rows);
  const auto q = scratch.sequence<T>(2, rows, 1);
  cpu::policy_batch_infer<T>(backend, actor_layout, actor, next.col_range(0, observations),
                             detail::single(mean), detail::single(log_std));
  squashed_gaussian<T>(mean, log_std, noise, next.col_range(observations, actions), log_prob);
  cpu::policy_batch_infer<T>(backend, critic_layout, target_critics, next, q);
  for (Index i = 0; i < rows; ++i) {
    const auto at = static_cast<std::size_t>(i);
    targets[at] = rewards[at] + discount * (std::min(q.data[i], q.data[rows + i]) - alpha * log_prob[at]);
  }
}

struct ActorLoss {
  double loss = 0;      // mean of alpha log pi(a) - min over critics of Q(s, a)
  double log_prob = 0;  // mean of log pi(a)
};

// The actor's loss (equation 9) and its gradient (overwritten), through the actions into the critics.
// inputs [B, O + A]: s, and room for the actor's actions.
template <class T>
ActorLoss actor_loss(const cpu::Backend& backend, const MlpLayout& actor_layout, cpu::In<T> actor,
                     const MlpLayout& critic_layout, cpu::In<T> critics, std::type_identity_t<T> alpha,
                     MatrixView<T> inputs, cpu::In<T> noise, MatrixView<T> gradients) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const Index rows = inputs.rows, observations = actor_layout.hidden.front().in;
  const Index actions = actor_layout.mean.out;
  const auto seen = inputs.col_range(0, observations), acted = inputs.col_range(observations, actions);
  const auto mean = scratch.matrix<T>(rows, actions), log_std = scratch.matrix<T>(rows, actions);
  const auto log_prob = scratch.span<T>(rows);
  const auto saved = cpu::policy_batch_forward<T>(backend, actor_layout, actor, seen, scratch,
                                                  detail::single(mean), detail::single(log_std));
  squashed_gaussian<T>(mean, log_std, noise, acted, log_prob);

  const auto q = scratch.sequence<T>(2, rows, 1), dq = scratch.sequence<T>(2, rows, 1);
  const auto saved_critics =
      cpu::policy_batch_forward<T>(backend, critic_layout, critics, inputs, scratch, q);
  ActorLoss result;
  for (Index i = 0; i < rows; ++i) {
    const bool first = q.data[i] <= q.data[rows + i];
    dq.data[i] = first ? T(1) : T(0);
    dq.data[rows + i] = first ? T(0) : T(1);
    const auto log_pi = static_cast<double>(log_prob[static_cast<std::size_t>(i)]);
    result.log_prob += log_pi;
    result.loss +=
        static_cast<double>(alpha) * log_pi - static_cast<double>(first ? q.data[i] : q.data[rows + i]);
  }
  result.log_prob /= static_cast<double>(rows);
  result.loss /= static_cast<double>(rows);
  const auto dinputs = scratch.sequence<T>(2, rows, inputs.cols);
  cpu::policy_batch_backward<T>(backend, critic_layout, critics, inputs, saved_critics, dq, {},
                                MatrixView<T>(), dinputs);
  const auto value_slope = scratch.matrix<T>(rows, actions);
  for (Index i = 0; i < rows; ++i) {
    const T* const first = dinputs.data + i * inputs.cols + observations;
    for (Index j = 0; j < actions; ++j) {
      value_slope(i, j) = first[j] + first[rows * inputs.cols + j];
    }
  }
  const auto dmean = scratch.matrix<T>(rows, actions), dlog_std = scratch.matrix<T>(rows, actions);
  squashed_gaussian_backward<T>(alpha, log_std, noise, acted, value_slope, dmean, dlog_std);
  std::ranges::fill(gradients.span(), T(0));
  cpu::policy_batch_backward<T>(backend, actor_layout, actor, seen, saved, detail::single(dmean),
                                detail::single(dlog_std), gradients);
  return result;
}

// -log alpha (log pi + target entropy) for the mean log-probability of the actor's actions: equation 18 with
// log alpha for alpha, as in the authors' program. The optimum is the same; the slope does not shrink with
// alpha.
struct TemperatureLoss {
  double loss = 0;
  double slope = 0;  // for log alpha
};
inline TemperatureLoss temperature_loss(double log_alpha, double log_prob, double target_entropy) {
  const double slope = -(log_prob + target_entropy);
  return {log_alpha * slope, slope};
}

}  // namespace maa::examples::reinforcement
