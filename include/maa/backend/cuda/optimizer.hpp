// AdamW with an exponential moving average, and the norm for clipping. The host does not wait for a loss or a
// norm: whether they are finite, and how gradients are clipped, the device finds itself.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/backend/cuda/losses.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// In double; shares of fixed size are added in order.
inline Scalar sum_of_squares(const Backend& backend, InSpan values) {
  const Index blocks = detail::blocks_for(std::ssize(values));
  const auto scope = backend.scratch().scope();
  double* const parts = detail::take_parts(backend, blocks);
  backend.launch(kernels::squares_kernel, blocks,
                 kernels::SquaresArguments{raw(values.data()), parts, std::ssize(values)});
  return detail::add_up(backend, parts, blocks, 1);
}

// One step of AdamW and of the moving average (backend/cpu/optimizer.hpp), or nothing at all if `loss` or
// `squares`, the gradients' sum of squares, is not finite. With clip_norm > 0, gradients whose norm is larger
// are scaled to that norm. All spans have the size of `weights`; `ema` is not used if step.ema_decay < 0.
// They must not overlap. The groups must end with the weights.
inline void adamw_if_finite(const Backend& backend, const AdamWStep& step, double clip_norm,
                            const Scalar& loss, const Scalar& squares, OutSpan weights, InSpan gradients,
                            OutSpan m, OutSpan v, OutSpan ema, const DecayGroups& groups = {}) {
  const bool average = step.ema_decay >= 0;
  const auto size = weights.size();
  require(
      gradients.size() == size && m.size() == size && v.size() == size && (!average || ema.size() == size),
      "adamw: expected ", size, " gradients, moments and averages, found ", gradients.size(), ", ", m.size(),
      ", ", v.size(), " and ", ema.size());
  require(groups.ends.empty() || groups.ends.back() == std::ssize(weights), "adamw: expected groups of ",
          size, " weights, found an end at ", groups.ends.empty() ? 0 : groups.ends.back());
  const auto factors = adamw_factors<float, kernels::AdamWFactors>(step);
  auto& context = backend.context();
  const auto scope = backend.scratch().scope();
  auto* const state = raw(backend.scratch().take<OnDevice<kernels::AdamWState>>(1));
  const auto* const uploaded = raw(context.transient(std::span<const kernels::AdamWFactors>(&factors, 1)));
  const std::vector<kernels::Int> ends(groups.ends.begin(), groups.ends.end());
  const auto* const uploaded_ends = raw(context.transient(std::span<const kernels::Int>(ends)));
  backend.launch(kernels::adamw_begin_kernel, 1,
                 kernels::AdamWBeginArguments{uploaded, context.address_of(loss), context.address_of(squares),
                                              state, clip_norm});
  backend.launch(kernels::adamw_kernel, std::ssize(weights),
                 kernels::AdamWArguments{state, raw(weights.data()), raw(gradients.data()), raw(m.data()),
                                         raw(v.data()), average ? raw(ema.data()) : nullptr, uploaded_ends,
                                         std::ssize(ends), groups.first_decays ? 1 : 0});
}

}  // namespace cuda
MAA_NAMESPACE_END
