// Learning-rate schedules and the EMA's warm-up, as functions of the step: nothing to save.
#pragma once

#include <maa/core/options.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

MAA_NAMESPACE_BEGIN

// constant; cosine: falls from base to minimum over all steps; warm_restarts: cosine that restarts after 10,
// then 20, 40, ... steps (Loshchilov and Hutter, 2017: SGDR, with the paper's T_0 = 10 and T_mult = 2). Each
// may begin with a linear warm-up.
enum class LearningRateKind { constant, cosine, warm_restarts };
constexpr std::array<std::string_view, 3> names_of(LearningRateKind) {
  return {"constant", "cosine", "warm_restarts"};
}

// A schedule of this kind, from base to minimum.
struct LearningRate {
  LearningRateKind kind = LearningRateKind::cosine;
  double base = 1e-3;
  double minimum = 0;
  Index warmup = 0;  // steps from 0 to base

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("kind", self.kind);
    visit("base", between(0, 100), self.base);
    visit("minimum", between(0, 100), self.minimum);
    visit("warmup", at_least(0), self.warmup);
  }

  // For step 0 ... total - 1. During warm-up step k has (k + 1) / warmup of base.
  double at(Index step, Index total) const {
    if (step < warmup) {
      return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
    }
    Index position = step - warmup;
    Index length = std::max<Index>(1, total - warmup);
    if (kind == LearningRateKind::constant) {
      return base;
    }
    if (kind == LearningRateKind::warm_restarts) {
      length = 10;
      while (position >= length) {
        position -= length;
        length *= 2;
      }
    }
    const double phase = std::min(1.0, static_cast<double>(position) / static_cast<double>(length));
    return minimum + (base - minimum) * 0.5 * (1 + std::cos(std::numbers::pi * phase));
  }
};

// The decay of an exponential moving average of the weights for the update after step k = 0, 1, ..., which
// warms up: min(maximum, 1 - (1 + k)^-.75).
inline double ema_decay(double maximum, Index step) {
  return std::clamp(1 - std::pow(1 + static_cast<double>(step), -0.75), 0.0, maximum);
}

MAA_NAMESPACE_END
