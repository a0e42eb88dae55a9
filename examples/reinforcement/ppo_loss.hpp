// The losses of proximal policy optimisation and their gradients, of one run: Schulman et al., 2017 (arXiv
// 1707.06347). B rows of O observations and A actions; an actor [1, P] and a critic [1, C], which read [O].
//
// The actor is a Gaussian that nothing squashes, whose deviations do not depend on the observation:
//   a = mean(o) + exp(log_std) noise, noise ~ N(0, 1).
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "critic_loss.hpp"

namespace maa::examples::reinforcement {

// log pi(a) [B] = sum over actions of -((a - mean) / std)^2 / 2 - log std - log(2 pi) / 2.
template <class T>
void gaussian_log_prob(cpu::In<T> mean, cpu::InSpan<T> log_std, cpu::In<T> actions,
                       std::span<std::type_identity_t<T>> log_prob) {
  require_shape(mean, actions.rows, actions.cols, "gaussian_log_prob: mean");
  require(static_cast<Index>(log_std.size()) == actions.cols &&
              static_cast<Index>(log_prob.size()) == actions.rows,
          "gaussian_log_prob: expected ", actions.cols, " deviations and ", actions.rows,
          " log-probabilities, found ", log_std.size(), " and ", log_prob.size());
  const auto constant = static_cast<T>(0.5 * std::log(2 * std::numbers::pi));
  for (Index i = 0; i < actions.rows; ++i) {
    T sum = 0;
    for (Index j = 0; j < actions.cols; ++j) {
      const T deviation = log_std[static_cast<std::size_t>(j)];
      const T z = (actions(i, j) - mean(i, j)) * std::exp(-deviation);
      sum -= z * z / 2 + deviation + constant;
    }
    log_prob[static_cast<std::size_t>(i)] = sum;
  }
}

struct PpoActorLoss {
  double loss = 0;
  double divergence =
      0;               // of the policy from the one that acted: mean of ratio - 1 - log ratio (an estimate)
  double clipped = 0;  // share of rows whose ratio is beyond the clip
};

// The mean over rows of -min(r A, clamp(r, 1 - clip, 1 + clip) A), r = pi(a) / pi_old(a) (equation 7), minus
// entropy_weight times the entropy; and its gradients (overwritten) for the actor [1, P] and for log_std [A].
template <class T>
PpoActorLoss ppo_actor_loss(const cpu::Backend& backend, const MlpLayout& layout, cpu::In<T> actor,
                            cpu::InSpan<T> log_std, std::type_identity_t<T> clip,
                            std::type_identity_t<T> entropy_weight, cpu::In<T> observations,
                            cpu::In<T> actions, cpu::InSpan<T> old_log_prob, cpu::InSpan<T> advantages,
                            MatrixView<T> gradients, std::span<std::type_identity_t<T>> dlog_std) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const Index rows = actions.rows, size = actions.cols;
  require(old_log_prob.size() == advantages.size() && static_cast<Index>(advantages.size()) == rows &&
              dlog_std.size() == log_std.size(),
          "ppo_actor_loss: expected ", rows, " log-probabilities and advantages, found ", old_log_prob.size(),
          " and ", advantages.size());
  const auto mean = scratch.sequence<T>(1, rows, size), dmean = scratch.sequence<T>(1, rows, size);
  const auto log_prob = scratch.span<T>(rows);
  const auto saved = cpu::policy_batch_forward<T>(backend, layout, actor, observations, scratch, mean);
  const MatrixView<T> means(mean.data, rows, size), dmeans(dmean.data, rows, size);
  gaussian_log_prob<T>(means, log_std, actions, log_prob);
  std::ranges::fill(dlog_std, -entropy_weight);  // of an entropy of a constant plus the sum of log_std
  PpoActorLoss result;
  const T scale = T(1) / static_cast<T>(rows);
  for (Index i = 0; i < rows; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const T log_ratio = log_prob[at] - old_log_prob[at], ratio = std::exp(log_ratio);
    const T limited = std::clamp(ratio, 1 - clip, 1 + clip), advantage = advantages[at];
    const bool follows = ratio * advantage <= limited * advantage;  // else the slope is 0
    result.loss -= static_cast<double>(scale * std::min(ratio * advantage, limited * advantage));
    result.divergence += static_cast<double>(scale * (ratio - 1 - log_ratio));
    result.clipped += ratio == limited ? 0.0 : static_cast<double>(scale);
    const T slope = follows ? -scale * advantage * ratio : T(0);  // for log pi(a)
    for (Index j = 0; j < size; ++j) {
      const T inverse = std::exp(-log_std[static_cast<std::size_t>(j)]);
      const T z = (actions(i, j) - means(i, j)) * inverse;
      dmeans(i, j) = slope * z * inverse;
      dlog_std[static_cast<std::size_t>(j)] += slope * (z * z - 1);
    }
  }
  for (const T deviation : log_std) {
    result.loss -= static_cast<double>(entropy_weight) *
                   (static_cast<double>(deviation) + 0.5 + 0.5 * std::log(2 * std::numbers::pi));
  }
  std::ranges::fill(gradients.span(), T(0));
  cpu::policy_batch_backward<T>(backend, layout, actor, observations, saved, dmean, {}, gradients);
  return result;
}

// Generalised advantage estimates of one environment's steps (Schulman et al., 2016, arXiv 1506.02438):
//   A_t = d_t + discount lambda (1 - end_t) A_{t+1},  d_t = reward_t + discount next_value_t - value_t,
// where next_value is the value of the state that the step led to: 0 for a terminal one. All [T], `stride`
// numbers apart.
inline void advantages_of(const float* rewards, const float* values, const float* next_values,
                          const float* ends, Index steps, Index stride, double discount, double lambda,
                          float* advantages) {
  double next = 0;
  for (Index t = steps; t-- > 0;) {
    const Index at = t * stride;
    const double change = static_cast<double>(rewards[at]) + discount * static_cast<double>(next_values[at]) -
                          static_cast<double>(values[at]);
    next = change + discount * lambda * (1 - static_cast<double>(ends[at])) * next;
    advantages[at] = static_cast<float>(next);
  }
}

}  // namespace maa::examples::reinforcement
