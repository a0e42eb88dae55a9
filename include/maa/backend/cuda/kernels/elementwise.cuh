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

struct AddArguments {
  const float* x;
  float* y;
};

// y += x.
MAA_DEVICE void add(Int i, const AddArguments& a) { a.y[i] += a.x[i]; }
MAA_PER_ELEMENT(add, AddArguments)

struct FilmArguments {
  const float* x;
  const float* film;  // a row for each sample: scales [channels], then biases [channels]
  const float* dy;    // backward only
  float* to;          // y or dx
  float* dfilm;       // backward only
  Int length;
  Int channels;
  Int film_row;
  Int dfilm_row;
};

// Elements of x [batch, length, channels].
MAA_DEVICE void film_forward(Int i, const FilmArguments& a) {
  const Int c = i % a.channels;
  const float* film = a.film + i / (a.length * a.channels) * a.film_row;
  a.to[i] = film[c] * a.x[i] + film[a.channels + c];
}
MAA_PER_ELEMENT(film_forward, FilmArguments)

// Elements of [batch, channels], each with all its positions.
MAA_DEVICE void film_backward(Int i, const FilmArguments& a) {
  const Int s = i / a.channels, c = i % a.channels;
  const float scale = a.film[s * a.film_row + c];
  float dscale = 0, dbias = 0;
  for (Int l = 0; l < a.length; ++l) {
    const Int at = (s * a.length + l) * a.channels + c;
    const float dy = a.dy[at];
    dscale += dy * a.x[at];
    dbias += dy;
    a.to[at] = dy * scale;
  }
  a.dfilm[s * a.dfilm_row + c] = dscale;
  a.dfilm[s * a.dfilm_row + a.channels + c] = dbias;
}
MAA_PER_ELEMENT(film_backward, FilmArguments)
