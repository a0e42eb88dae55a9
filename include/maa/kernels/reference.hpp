// The kernels as plain loops: for double, for processors without vector kernels, and as what the others are
// tested against.
#pragma once

#include <maa/kernels/scalar_math.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

// The scalars of one AdamW step.
template <class T>
struct AdamWFactors {
  T gradient_scale;
  T decay;  // 1 - learning rate * weight decay
  T one_minus_beta1, beta2, one_minus_beta2;
  T step_size;                 // learning rate / (1 - beta1^t)
  T inverse_root_correction2;  // 1 / sqrt(1 - beta2^t)
  T epsilon;
  T one_minus_ema_decay;
};

namespace reference {

template <class T>
void activation_forward(Activation activation, const T* x, T* y, Index count) {
  for (Index i = 0; i < count; ++i) {
    y[i] = activate(activation, x[i]);
  }
}

template <class T>
void activation_backward(Activation activation, const T* x, const T* dy, T* dx, Index count) {
  for (Index i = 0; i < count; ++i) {
    dx[i] = dy[i] * activation_slope(activation, x[i]);
  }
}

template <class T>
void add(const T* x, T* y, Index count) {
  for (Index i = 0; i < count; ++i) {
    y[i] += x[i];
  }
}

template <class T>
void adamw(const AdamWFactors<T>& f, Index count, T* weights, const T* gradients, T* m, T* v, T* ema) {
  for (Index i = 0; i < count; ++i) {
    const T g = gradients[i] * f.gradient_scale;
    m[i] += f.one_minus_beta1 * (g - m[i]);
    v[i] = f.beta2 * v[i] + f.one_minus_beta2 * g * g;
    const T denominator = std::sqrt(v[i]) * f.inverse_root_correction2 + f.epsilon;
    weights[i] = weights[i] * f.decay - f.step_size * m[i] / denominator;
    if (ema != nullptr) {
      ema[i] += f.one_minus_ema_decay * (weights[i] - ema[i]);
    }
  }
}

template <class T>
double sum_of_squares(const T* x, Index count) {
  double sum = 0;
  for (Index i = 0; i < count; ++i) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return sum;
}

}  // namespace reference
}  // namespace kernels
MAA_NAMESPACE_END
