// ---- Each element alone. Activations as kernels/scalar_math.hpp defines them, in float.

// The values of Activation (kernels/activation.hpp), which elementwise.hpp checks.
struct ActivationCode {
  static constexpr Int identity = 0, relu = 1, elu = 2, gelu = 3, mish = 4, tanh = 5;
};

// Keeps NaN.
template <class Number>
MAA_DEVICE Number limited(Number x, Number low, Number high) {
  return x < low ? low : x > high ? high : x;
}

// With e = exp(x): tanh(log(1 + e)) = n / (n + 2), n = e (e + 2). The limits stand for infinities, whose
// products with zero would be NaN.
MAA_DEVICE float mish(float x) {
  const float e = expf(limited(x, -750.0f, 40.0f)), n = e * (e + 2.0f);
  return (x < -750.0f ? -750.0f : x) * (n / (n + 2.0f));
}
MAA_DEVICE float mish_slope(float x) {
  const float at = limited(x, -750.0f, 40.0f), e = expf(at), n = e * (e + 2.0f), d = n + 2.0f;
  return (n + 4.0f * at * e * ((e + 1.0f) / d)) / d;
}

MAA_DEVICE float activate(Int activation, float x) {
  switch (activation) {
    case ActivationCode::relu:
      return x < 0.0f ? 0.0f : x;
    case ActivationCode::elu:
      return x > 0.0f ? x : expm1f(x);
    case ActivationCode::gelu: {
      const float low = x < -40.0f ? -40.0f : x;
      return low * (0.5f * erfcf(low * -0.70710678f));
    }
    case ActivationCode::mish:
      return mish(x);
    case ActivationCode::tanh:
      return tanhf(x);
  }
  return x;
}
MAA_DEVICE float activation_slope(Int activation, float x) {
  switch (activation) {
    case ActivationCode::relu:
      return x <= 0.0f ? 0.0f : 1.0f;
    case ActivationCode::elu:
      return x > 0.0f ? 1.0f : expf(x);
    case ActivationCode::gelu: {  // Phi(x) + x phi(x)
      const float at = limited(x, -40.0f, 40.0f);
      return 0.5f * erfcf(at * -0.70710678f) + at * (expf(-0.5f * at * at) * 0.39894228f);
    }
    case ActivationCode::mish:
      return mish_slope(x);
    case ActivationCode::tanh: {
      const float y = tanhf(x);
      return 1.0f - y * y;
    }
  }
  return 1.0f;
}

struct ActivationArguments {
  const float* x;
  const float* dy;  // backward only
  float* to;        // y or dx
  Int activation;
};

MAA_DEVICE void activation_forward(Int i, const ActivationArguments& a) {
  a.to[i] = activate(a.activation, a.x[i]);
}
MAA_PER_ELEMENT(activation_forward, ActivationArguments)

MAA_DEVICE void activation_backward(Int i, const ActivationArguments& a) {
  a.to[i] = a.dy[i] * activation_slope(a.activation, a.x[i]);
}
MAA_PER_ELEMENT(activation_backward, ActivationArguments)
