// One optimizer step's scalars, for every backend.
#pragma once

#include <maa/core/error.hpp>

#include <cmath>
#include <vector>

MAA_NAMESPACE_BEGIN

// w -= lr decay w; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr m_hat / (sqrt(v_hat) + eps); then
// ema = d ema + (1-d) w (Loshchilov and Hutter, 2019, as in PyTorch's AdamW), with g scaled first.
struct AdamWStep {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  Index step = 1;             // 1 for the first
  double gradient_scale = 1;  // multiplies the gradients first (clipping, averaging)
  double ema_decay = -1;      // below 0: no average is kept
};

// The step as a kernel wants it: Factors is a struct of these numbers, in this order.
template <class Number, class Factors>
Factors adamw_factors(const AdamWStep& s) {
  require(s.step >= 1, "adamw: expected a step from 1 on, found ", s.step);
  const auto step = static_cast<double>(s.step);
  const auto narrow = [](double value) { return static_cast<Number>(value); };
  return {narrow(s.gradient_scale),
          narrow(1 - s.learning_rate * s.weight_decay),
          narrow(1 - s.beta1),
          narrow(s.beta2),
          narrow(1 - s.beta2),
          narrow(s.learning_rate / -std::expm1(step * std::log(s.beta1))),
          narrow(1 / std::sqrt(-std::expm1(step * std::log(s.beta2)))),
          narrow(s.epsilon),
          narrow(1 - s.ema_decay)};
}

// Which of a model's numbers weight decay applies to: group k ends before ends[k] and begins where the one
// before it ends; groups decay and do not decay in turn. Without groups all decay.
struct DecayGroups {
  std::vector<Index> ends;
  bool first_decays = true;

  bool decays(std::size_t group) const { return (group % 2 == 0) == first_decays; }
};

MAA_NAMESPACE_END
