// AdamW with an exponential moving average, and the norm for clipping.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {

// One step's scalars.
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

// w -= lr decay w; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr m_hat / (sqrt(v_hat) + eps);
// ema = d ema + (1-d) w. (PyTorch's AdamW.) `ema` may be empty if ema_decay < 0.
template <class T>
void adamw(const Backend&, const AdamWStep& s, std::span<T> weights, InSpan<T> gradients,
           std::type_identity_t<std::span<T>> m, std::type_identity_t<std::span<T>> v,
           std::type_identity_t<std::span<T>> ema) {
  const double c1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double c2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double g = s.gradient_scale * gradients[i];
    double w = weights[i] * (1 - s.learning_rate * s.weight_decay);
    m[i] = static_cast<T>(s.beta1 * m[i] + (1 - s.beta1) * g);
    v[i] = static_cast<T>(s.beta2 * v[i] + (1 - s.beta2) * g * g);
    w -= s.learning_rate / c1 * m[i] / (std::sqrt(v[i] / c2) + s.epsilon);
    weights[i] = static_cast<T>(w);
    if (s.ema_decay >= 0) {
      ema[i] = static_cast<T>(s.ema_decay * ema[i] + (1 - s.ema_decay) * w);
    }
  }
}

// Sum of squares in double, added in fixed chunks.
template <class T>
double sum_of_squares(const Backend&, std::span<T> values) {
  double sum = 0;
  for (const double x : values) {
    sum += x * x;
  }
  return sum;
}

}  // namespace cpu
MAA_NAMESPACE_END
