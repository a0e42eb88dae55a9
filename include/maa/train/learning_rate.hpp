// Learning-rate schedules and the EMA's warm-up, as functions of the step: nothing to save.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

MAA_NAMESPACE_BEGIN

// constant; cosine: falls from base to minimum over all steps; warm_restarts: cosine that restarts after
// period, period * factor, ... steps (Loshchilov and Hutter, 2017: SGDR). Each may begin with a linear
// warm-up.
enum class LearningRateKind { constant, cosine, warm_restarts };

struct LearningRate {
  LearningRateKind kind = LearningRateKind::cosine;
  double base = 1e-3;
  double minimum = 0;
  Index warmup = 0;   // steps from 0 to base
  Index period = 10;  // warm_restarts: steps of the first cycle
  Index factor = 2;   // warm_restarts: growth of the cycle

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
      require(period > 0 && factor > 0, "learning rate: expected a positive period and factor, found ",
              period, " and ", factor);
      length = period;
      while (position >= length) {
        position -= length;
        length *= factor;
      }
    }
    const double phase = std::min(1.0, static_cast<double>(position) / static_cast<double>(length));
    return minimum + (base - minimum) * 0.5 * (1 + std::cos(std::numbers::pi * phase));
  }
};

// Exponential moving average of the weights with power warm-up: decay_k = min(maximum, 1 - (1 + k)^-power)
// for the update after step k = 0, 1, ...
struct EmaOptions {
  double power = 0.75;
  double maximum = 0.9999;

  double decay(Index step) const {
    return std::clamp(1 - std::pow(1 + static_cast<double>(step), -power), 0.0, maximum);
  }
};

MAA_NAMESPACE_END
