// The loss of what estimates returns, and its gradient: SAC's two critics (equation 5 of Haarnoja et al.,
// 2018, arXiv 1812.05905), PPO's one.
#pragma once

#include <algorithm>

#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/core/workspace.hpp>

namespace maa::examples::reinforcement {

// The sum over critics [C, P] of the mean over rows of (C(inputs) - target)^2 / 2, and its gradient
// (overwritten). inputs [B, ...], targets [B].
template <class T>
double critic_loss(const cpu::Backend& backend, const MlpLayout& layout, cpu::In<T> critics,
                   cpu::In<T> inputs, cpu::InSpan<T> targets, MatrixView<T> gradients) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const Index rows = inputs.rows;
  require(static_cast<Index>(targets.size()) == rows, "critic_loss: expected ", rows, " targets, found ",
          targets.size());
  const auto q = scratch.sequence<T>(critics.rows, rows, 1), dq = scratch.sequence<T>(critics.rows, rows, 1);
  const auto saved = cpu::policy_batch_forward<T>(backend, layout, critics, inputs, scratch, q);
  const T scale = T(1) / static_cast<T>(rows);
  double sum = 0;
  for (Index i = 0; i < critics.rows * rows; ++i) {
    const T error = q.data[i] - targets[static_cast<std::size_t>(i % rows)];
    sum += static_cast<double>(error) * static_cast<double>(error);
    dq.data[i] = scale * error;
  }
  std::ranges::fill(gradients.span(), T(0));
  cpu::policy_batch_backward<T>(backend, layout, critics, inputs, saved, dq, {}, gradients);
  return 0.5 * sum / static_cast<double>(rows);
}

}  // namespace maa::examples::reinforcement
