// AdamW with its moving average in one pass over memory, and sums of squares.

struct AdamWVectors {
  Vec weight, m, v;
};
MAA_KERNEL_INLINE AdamWVectors adamw_update(const AdamWFactors<float>& f, Vec weight, Vec gradient, Vec m,
                                            Vec v) {
  const Vec g = gradient * f.gradient_scale;
  m = fma(broadcast(f.one_minus_beta1), g - m, m);
  v = fma(broadcast(f.one_minus_beta2) * g, g, v * f.beta2);
  const Vec denominator = fma(square_root(v), broadcast(f.inverse_root_correction2), f.epsilon);
  return {fma(weight, broadcast(f.decay), -(m * f.step_size) / denominator), m, v};
}
MAA_KERNEL_INLINE Vec ema_update(const AdamWFactors<float>& f, Vec ema, Vec weight) {
  return fma(broadcast(f.one_minus_ema_decay), weight - ema, ema);
}

inline void adamw(const AdamWFactors<float>& f, Index count, float* weights, const float* gradients, float* m,
                  float* v, float* ema) {
  // Four or five streams are more than the hardware follows far enough ahead.
  constexpr Index ahead = 512;
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    __builtin_prefetch(weights + i + ahead, 1);
    __builtin_prefetch(gradients + i + ahead, 0);
    __builtin_prefetch(m + i + ahead, 1);
    __builtin_prefetch(v + i + ahead, 1);
    const AdamWVectors next =
        adamw_update(f, load(weights + i), load(gradients + i), load(m + i), load(v + i));
    store(weights + i, next.weight);
    store(m + i, next.m);
    store(v + i, next.v);
    if (ema != nullptr) {
      __builtin_prefetch(ema + i + ahead, 1);
      store(ema + i, ema_update(f, load(ema + i), next.weight));
    }
  }
  if (i < count) {
    const Index left = count - i;
    const AdamWVectors next = adamw_update(f, load_first(weights + i, left), load_first(gradients + i, left),
                                           load_first(m + i, left), load_first(v + i, left));
    store_first(weights + i, next.weight, left);
    store_first(m + i, next.m, left);
    store_first(v + i, next.v, left);
    if (ema != nullptr) {
      store_first(ema + i, ema_update(f, load_first(ema + i, left), next.weight), left);
    }
  }
}

inline double sum_of_squares(const float* x, Index count) {
  typedef float Half __attribute__((vector_size(MAA_LANES * 2)));
  typedef float UnalignedHalf __attribute__((vector_size(MAA_LANES * 2), aligned(4), may_alias));
  typedef double Doubles __attribute__((vector_size(MAA_LANES * 4)));
  constexpr Index width = lanes / 2;
  Doubles sums[4] = {};
  Index i = 0;
  for (; i + 4 * width <= count; i += 4 * width) {
    MAA_KERNEL_UNROLL
    for (int u = 0; u < 4; ++u) {
      const Half part = *reinterpret_cast<const UnalignedHalf*>(x + i + u * width);
      const Doubles wide = __builtin_convertvector(part, Doubles);
      sums[u] += wide * wide;
    }
  }
  const Doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = 0;
  for (Index j = 0; j < width; ++j) {
    total += all[j];
  }
  for (; i < count; ++i) {
    total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}
