// AdamW with an exponential moving average, and the norm for clipping.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/backend/cpu/backend.hpp>
#include <maa/core/finite.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {

// One step of AdamW as PyTorch defines it (Loshchilov & Hutter 2019), and of the moving average, in one pass:
//   g = gradient_scale gradient;  w -= lr weight_decay w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
//   w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon);  ema = d ema + (1 - d) w.
// All spans have the size of `weights`; `ema` is not used if ema_decay < 0. They must not overlap.
template <class T>
void adamw(const Backend& backend, const AdamWStep& step, std::span<T> weights, InSpan<T> gradients,
           std::span<std::type_identity_t<T>> m, std::span<std::type_identity_t<T>> v,
           std::span<std::type_identity_t<T>> ema) {
  const bool average = step.ema_decay >= 0;
  const auto size = weights.size();
  require(
      gradients.size() == size && m.size() == size && v.size() == size && (!average || ema.size() == size),
      "adamw: expected ", size, " gradients, moments and averages, found ", gradients.size(), ", ", m.size(),
      ", ", v.size(), " and ", ema.size());
  const auto factors = adamw_factors<T, kernels::AdamWFactors<T>>(step);
  for_chunks(backend.pool(), std::ssize(weights), Index{1} << 16, [&](Index, Index first, Index last) {
    T* const part = average ? ema.data() + first : nullptr;
    if constexpr (std::is_same_v<T, float>) {
      backend.kernels().adamw(factors, last - first, weights.data() + first, gradients.data() + first,
                              m.data() + first, v.data() + first, part);
    } else {
      kernels::reference::adamw(factors, last - first, weights.data() + first, gradients.data() + first,
                                m.data() + first, v.data() + first, part);
    }
  });
}

// The same for all of a model, with gradients scaled down to the norm clip_norm (0: no clipping) where
// theirs, the root of `squares`, is larger; nothing if the loss or the norm is not finite. The groups must
// end with the weights.
template <class T>
void adamw_if_finite(const Backend& backend, AdamWStep step, double clip_norm, double loss, double squares,
                     std::span<T> weights, InSpan<T> gradients, std::span<std::type_identity_t<T>> m,
                     std::span<std::type_identity_t<T>> v, std::span<std::type_identity_t<T>> ema,
                     const DecayGroups& groups = {}) {
  if (!is_finite(loss) || !is_finite(squares)) {
    return;
  }
  const double norm = std::sqrt(squares);
  if (clip_norm > 0 && norm > clip_norm) {
    step.gradient_scale = clip_norm / norm;
  }
  if (groups.ends.empty()) {
    adamw(backend, step, weights, gradients, m, v, ema);
    return;
  }
  require(groups.ends.back() == std::ssize(weights), "adamw: expected groups of ", weights.size(),
          " weights, found an end at ", groups.ends.back());
  const double decay = step.weight_decay;
  std::size_t first = 0;
  for (std::size_t k = 0; k < groups.ends.size(); ++k) {
    const auto end = static_cast<std::size_t>(groups.ends[k]);
    const auto part = [&](auto values) {
      return values.empty() ? values : values.subspan(first, end - first);
    };
    step.weight_decay = groups.decays(k) ? decay : 0;
    adamw(backend, step, part(weights), part(gradients), part(m), part(v), part(ema));
    first = end;
  }
}

// In double; chunks of fixed size are added in order.
template <class T>
double sum_of_squares(const Backend& backend, std::span<T> values) {
  constexpr Index chunk = Index{1} << 16;
  const Index size = std::ssize(values);
  Workspace::Scope scope(thread_scratch());
  const Index count = (size + chunk - 1) / chunk;
  double* partial = thread_scratch().take<double>(count);
  for_chunks(backend.pool(), size, chunk, [&](Index i, Index first, Index last) {
    if constexpr (std::is_same_v<std::remove_const_t<T>, float>) {
      partial[i] = backend.kernels().sum_of_squares(values.data() + first, last - first);
    } else {
      partial[i] = kernels::reference::sum_of_squares(values.data() + first, last - first);
    }
  });
  double sum = 0;
  for (Index i = 0; i < count; ++i) {
    sum += partial[i];
  }
  return sum;
}

}  // namespace cpu
MAA_NAMESPACE_END
