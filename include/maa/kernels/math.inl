// Elementwise kernels. Errors in units of the last place for results of 1e-35 or more, which
// tests/kernels_test.cpp holds: elu 1.5, tanh 3, mish 5, gelu 10. Smaller results are right to
// 1e-40. Derivatives are right to 4e-7 absolutely.

// The polynomial with these coefficients, highest power first.
template <int Count>
MAA_KERNEL_INLINE Vec polynomial(Vec x, const float (&coefficients)[Count]) {
  Vec value = broadcast(coefficients[0]);
  MAA_KERNEL_UNROLL
  for (int i = 1; i < Count; ++i) {
    value = fma(value, x, coefficients[i]);
  }
  return value;
}

// Comparisons with NaN are false: it passes through.
MAA_KERNEL_INLINE Vec at_least(Vec x, float low) {
  return x < low ? broadcast(low) : x;
}
MAA_KERNEL_INLINE Vec at_most(Vec x, float high) {
  return x > high ? broadcast(high) : x;
}

// exp(x) = 2^n (1 + fraction), |n| <= 150 for x in [-104, 104].
struct Exponential {
  Ints n;
  Vec fraction;
};
MAA_KERNEL_INLINE Exponential split_exponential(Vec x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const Vec magic = broadcast(12582912.0f);
  const Vec shifted = fma(x, broadcast(1.44269504f), magic);
  const Vec n = shifted - magic;
  // log 2 in two parts: n times the first is exact.
  const Vec r = fma(n, broadcast(-1.42860677e-6f), fma(n, broadcast(-0.693145752f), x));
  // exp(r) = 1 + r + r^2 P(r), |r| <= log(2) / 2; P by own minimax fit, relative error 3e-9.
  constexpr float fit[] = {1.381446724e-03f, 8.368780836e-03f, 4.166839272e-02f, 1.666651964e-01f,
                           4.999999404e-01f};
  return {bits(shifted) - bits(magic), fma(r * r, polynomial(r, fit), r)};
}
// 2^n for |n| <= 126.
MAA_KERNEL_INLINE Vec power_of_two(Ints n) {
  return from_bits((n + 127) << 23);
}

MAA_KERNEL_INLINE Vec exponential(Vec x) {
  const Exponential e = split_exponential(at_most(at_least(x, -104.0f), 89.0f));
  // Two factors reach denormal results and infinity.
  const Ints half = e.n >> 1;
  return (e.fraction + 1.0f) * power_of_two(half) * power_of_two(e.n - half);
}

// exp(x) - 1 for x in [-87, 87], accurate near 0.
MAA_KERNEL_INLINE Vec exponential_minus_one(Vec x) {
  const Exponential e = split_exponential(x);
  const Vec scale = power_of_two(e.n);
  return fma(scale, e.fraction, scale - 1.0f);
}

MAA_KERNEL_INLINE Vec hyperbolic_tangent(Vec x) {
  const Ints sign = bits(x) & static_cast<int>(0x80000000u);
  // 1 - tanh(9.02) is below half a unit in the last place of 1.
  const Vec magnitude = at_most(from_bits(bits(x) ^ sign), 9.02f);
  const Vec e = exponential_minus_one(magnitude + magnitude);
  return from_bits(bits(e / (e + 2.0f)) | sign);
}

// The normal distribution function and exp(-x^2 / 2), for |x| <= 14.5.
struct Normal {
  Vec cumulative;
  Vec gaussian;
};
MAA_KERNEL_INLINE Normal normal(Vec x) {
  const Vec magnitude = from_bits(bits(x) & 0x7fffffff);
  const Vec half = x * 0.5f, square = half * x;
  const Vec rounding = fma(half, x, -square);  // of the square: it would be magnified by exp
  const Vec e = exponential(-square), gaussian = fma(e, -rounding, e);
  // Phi(-a) = exp(-a^2 / 2) t P(t), t = 1 / (1 + 0.3 a); P by own minimax fit, relative error 4e-9.
  constexpr float fit[] = {-2.062347345e-02f, 1.124356389e-01f, -2.282136679e-01f, 1.917846352e-01f,
                           -7.942358404e-02f, 9.615688771e-02f, 7.838962972e-02f,  1.102354303e-01f,
                           1.195718125e-01f,  1.196866930e-01f};
  const Vec t = 1.0f / fma(magnitude, broadcast(0.3f), 1.0f);
  const Vec tail = gaussian * (t * polynomial(t, fit));
  return {x < 0.0f ? tail : 1.0f - tail, gaussian};
}

template <Activation A>
MAA_KERNEL_INLINE Vec activated(Vec x) {
  if constexpr (A == Activation::relu) {
    return x < 0.0f ? Vec{} : x;
  } else if constexpr (A == Activation::elu) {
    return x > 0.0f ? x : exponential_minus_one(at_least(x, -87.0f));
  } else if constexpr (A == Activation::gelu) {
    const Vec low = at_least(x, -14.5f);
    return low * normal(at_most(low, 14.5f)).cumulative;
  } else if constexpr (A == Activation::mish) {
    const Vec e = exponential(at_most(x, 20.0f)), n = e * (e + 2.0f);
    return at_least(x, -750.0f) * (n / (n + 2.0f));
  } else if constexpr (A == Activation::tanh) {
    return hyperbolic_tangent(x);
  } else {
    return x;
  }
}

template <Activation A>
MAA_KERNEL_INLINE Vec slope(Vec x) {
  if constexpr (A == Activation::relu) {
    return x <= 0.0f ? Vec{} : broadcast(1.0f);
  } else if constexpr (A == Activation::elu) {
    return x > 0.0f ? broadcast(1.0f) : exponential(at_most(x, 0.0f));
  } else if constexpr (A == Activation::gelu) {
    const Vec limited = at_most(at_least(x, -14.5f), 14.5f);
    const Normal at = normal(limited);
    return fma(limited * 0.398942280f, at.gaussian, at.cumulative);
  } else if constexpr (A == Activation::mish) {
    const Vec limited = at_most(at_least(x, -104.0f), 20.0f);
    const Vec e = exponential(limited), n = e * (e + 2.0f), d = n + 2.0f;
    return fma(4.0f * limited * e, (e + 1.0f) / d, n) / d;
  } else if constexpr (A == Activation::tanh) {
    const Vec y = hyperbolic_tangent(x);
    return fma(-y, y, 1.0f);
  } else {
    return broadcast(1.0f);
  }
}

template <Activation A>
inline void forward_all(const float* x, float* y, Index count) {
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    store(y + i, activated<A>(load(x + i)));
  }
  if (i < count) {
    store_first(y + i, activated<A>(load_first(x + i, count - i)), count - i);
  }
}

template <Activation A>
inline void backward_all(const float* x, const float* dy, float* dx, Index count) {
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    store(dx + i, load(dy + i) * slope<A>(load(x + i)));
  }
  if (i < count) {
    store_first(dx + i, load_first(dy + i, count - i) * slope<A>(load_first(x + i, count - i)), count - i);
  }
}

inline void activation_forward(Activation activation, const float* x, float* y, Index count) {
  switch (activation) {
    case Activation::identity:
      return forward_all<Activation::identity>(x, y, count);
    case Activation::relu:
      return forward_all<Activation::relu>(x, y, count);
    case Activation::elu:
      return forward_all<Activation::elu>(x, y, count);
    case Activation::gelu:
      return forward_all<Activation::gelu>(x, y, count);
    case Activation::mish:
      return forward_all<Activation::mish>(x, y, count);
    case Activation::tanh:
      return forward_all<Activation::tanh>(x, y, count);
  }
}

inline void activation_backward(Activation activation, const float* x, const float* dy, float* dx,
                                Index count) {
  switch (activation) {
    case Activation::identity:
      return backward_all<Activation::identity>(x, dy, dx, count);
    case Activation::relu:
      return backward_all<Activation::relu>(x, dy, dx, count);
    case Activation::elu:
      return backward_all<Activation::elu>(x, dy, dx, count);
    case Activation::gelu:
      return backward_all<Activation::gelu>(x, dy, dx, count);
    case Activation::mish:
      return backward_all<Activation::mish>(x, dy, dx, count);
    case Activation::tanh:
      return backward_all<Activation::tanh>(x, dy, dx, count);
  }
}

inline void add(const float* x, float* y, Index count) {
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    store(y + i, load(y + i) + load(x + i));
  }
  if (i < count) {
    store_first(y + i, load_first(y + i, count - i) + load_first(x + i, count - i), count - i);
  }
}
