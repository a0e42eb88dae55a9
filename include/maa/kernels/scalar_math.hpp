// The activation functions one number at a time: the definition that the vector kernels are tested against,
// and the code that runs for double.
#pragma once

#include <maa/kernels/activation.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace kernels {

namespace detail {

// Keeps NaN.
template <class T>
T clamp(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

// Beyond these, exp vanishes beside 1 or as a whole, in float and double: the limits stand for infinities,
// whose products with zero would be NaN.
template <class T>
T limited(T x) {
  return clamp(x, T(-750), T(40));
}

}  // namespace detail

// NaN gives NaN; infinities give the limits.
template <class T>
T activate(Activation activation, T x) {
  switch (activation) {
    case Activation::identity:
      return x;
    case Activation::relu:
      return x < T(0) ? T(0) : x;
    case Activation::elu:
      return x > T(0) ? x : std::expm1(x);
    case Activation::gelu: {
      const T low = x < T(-40) ? T(-40) : x;
      return low * (T(0.5) * std::erfc(low * T(-0.70710678118654752440)));
    }
    case Activation::mish: {
      // With e = exp(x): tanh(log(1 + e)) = n / (n + 2), n = e (e + 2).
      const T e = std::exp(detail::limited(x)), n = e * (e + T(2));
      return (x < T(-750) ? T(-750) : x) * (n / (n + T(2)));
    }
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

// d activate(x) / dx; finite for infinite x. At 0: relu 0, elu 1.
template <class T>
T activation_slope(Activation activation, T x) {
  switch (activation) {
    case Activation::identity:
      return T(1);
    case Activation::relu:
      return x <= T(0) ? T(0) : T(1);
    case Activation::elu:
      return x > T(0) ? T(1) : std::exp(x);
    case Activation::gelu: {
      // Phi(x) + x phi(x)
      const T limited = detail::clamp(x, T(-40), T(40));
      return T(0.5) * std::erfc(limited * T(-0.70710678118654752440)) +
             limited * (std::exp(T(-0.5) * limited * limited) * T(0.39894228040143267794));
    }
    case Activation::mish: {
      // t + x (1 - t^2) sigmoid(x) with t = n / (n + 2), over a common denominator.
      const T limited = detail::limited(x), e = std::exp(limited), n = e * (e + T(2)), d = n + T(2);
      return (n + T(4) * limited * e * ((e + T(1)) / d)) / d;
    }
    case Activation::tanh: {
      const T y = std::tanh(x);
      return T(1) - y * y;
    }
  }
  return T(1);
}

}  // namespace kernels
MAA_NAMESPACE_END
