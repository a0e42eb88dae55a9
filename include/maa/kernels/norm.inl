// Group normalisation with Mish, FiLM and residual in one pass (formulas in norm_table.hpp), and column sums.
// Included once per instruction set, after math.inl. The numbers of one group of one sample stay in the
// first-level cache, so its passes read memory once.

// `count` channels at p: all lanes if Whole, else fewer.
template <bool Whole>
MAA_KERNEL_INLINE Vec load_channels(const float* p, Index count) {
  if constexpr (Whole) {
    return load(p);
  } else {
    return load_first(p, count);
  }
}
template <bool Whole>
MAA_KERNEL_INLINE void store_channels(float* p, Vec v, Index count) {
  if constexpr (Whole) {
    store(p, v);
  } else {
    store_first(p, v, count);
  }
}
// The same, `otherwise` if p is null.
template <bool Whole>
MAA_KERNEL_INLINE Vec load_channels_or(const float* p, Index first, Index count, float otherwise) {
  return p == nullptr ? broadcast(otherwise) : load_channels<Whole>(p + first, count);
}

// v in the first `count` lanes, zero in the others.
MAA_KERNEL_INLINE Vec zero_beyond(Vec v, Index count) {
#if MAA_LANES == 16
  constexpr Ints order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
  constexpr Ints order = {0, 1, 2, 3, 4, 5, 6, 7};
#endif
  return order < static_cast<int>(count) ? v : Vec{};
}

template <bool Squares>
MAA_KERNEL_INLINE Vec add_deviation(Vec sum, Vec deviation) {
  return Squares ? fma(deviation, deviation, sum) : sum + deviation;
}

// The sum of x - mean or of its squares over one group of one sample.
template <bool Squares>
MAA_KERNEL_INLINE float deviation_sum(const float* x, Index x_row, Index length, Index size, Vec mean) {
  constexpr int ways = 4;  // independent chains cover the latency of an addition
  Vec sums[ways];
  MAA_KERNEL_UNROLL
  for (int u = 0; u < ways; ++u) {
    sums[u] = Vec{};
  }
  for (Index l = 0; l < length; ++l) {
    const float* row = x + l * x_row;
    Index c = 0;
    for (; c + ways * lanes <= size; c += ways * lanes) {
      MAA_KERNEL_UNROLL
      for (int u = 0; u < ways; ++u) {
        sums[u] = add_deviation<Squares>(sums[u], load(row + c + u * lanes) - mean);
      }
    }
    for (; c + lanes <= size; c += lanes) {
      sums[0] = add_deviation<Squares>(sums[0], load(row + c) - mean);
    }
    if (c < size) {
      const Vec deviation = zero_beyond(load_first(row + c, size - c) - mean, size - c);
      sums[1] = add_deviation<Squares>(sums[1], deviation);
    }
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// exp(x) and n = exp(x) (exp(x) + 2), with x limited to where they are neither 0 nor infinite: Mish(x) =
// x n / (n + 2), see scalar_math.hpp. Beyond the limits Mish is right to 1e-35.
struct MishTerms {
  Vec limited, e, n;
};
MAA_KERNEL_INLINE MishTerms mish_terms(Vec x) {
  const Vec limited = at_most(at_least(x, -87.0f), 20.0f);
  const Exponential parts = split_exponential(limited);
  const Vec scale = power_of_two(parts.n), e = fma(scale, parts.fraction, scale);
  return {limited, e, e * (e + 2.0f)};
}

// What the channels in one vector have in common over the positions of a sample.
struct ChannelFactors {
  Vec mean, factor, gain, bias, scale, shift;
};

// One row of y.
template <bool Mish, bool Whole>
MAA_KERNEL_INLINE void norm_forward_row(const NormForward<float>& p, Index row, Index c, Index count,
                                        const ChannelFactors& f) {
  const Vec x = load_channels<Whole>(p.x + row * p.x_row + c, count);
  Vec y = fma(f.gain, (x - f.mean) * f.factor, f.bias);
  if constexpr (Mish) {
    const MishTerms m = mish_terms(y);
    y = at_least(y, -87.0f) * (m.n / (m.n + 2.0f));
  }
  if (p.film != nullptr) {
    y = fma(f.scale, y, f.shift);
  }
  if (p.residual != nullptr) {
    y += load_channels<Whole>(p.residual + row * p.residual_row + c, count);
  }
  store_channels<Whole>(p.y + row * p.y_row + c, y, count);
}

// y of channels [c, c + count) at all positions of sample s.
template <bool Mish, bool Whole>
MAA_KERNEL_INLINE void norm_forward_channels(const NormForward<float>& p, Index s, Index c, Index count,
                                             Vec mean, Vec factor) {
  ChannelFactors f = {mean,
                      factor,
                      load_channels_or<Whole>(p.gain, c, count, 1.0f),
                      load_channels_or<Whole>(p.bias, c, count, 0.0f),
                      Vec{},
                      Vec{}};
  if (p.film != nullptr) {
    const float* film = p.film + s * p.film_row + c;
    f.scale = load_channels<Whole>(film, count);
    f.shift = load_channels<Whole>(film + p.groups * p.group_size, count);
  }
  for (Index row = s * p.length; row < (s + 1) * p.length; ++row) {
    norm_forward_row<Mish, Whole>(p, row, c, count, f);
  }
}

template <bool Mish>
inline void norm_forward_samples(const NormForward<float>& arguments, Index first, Index last) {
  const NormForward<float> p = arguments;  // a copy that stores cannot change
  const float each = 1.0f / static_cast<float>(p.length * p.group_size);
  for (Index s = first; s < last; ++s) {
    float* statistics = p.statistics + s * p.statistics_row;
    // All statistics first: sums of one group hide the latency of another's mean and square root.
    for (Index g = 0; g < p.groups; ++g) {
      const float* x = p.x + s * p.length * p.x_row + g * p.group_size;
      const float mean = deviation_sum<false>(x, p.x_row, p.length, p.group_size, Vec{}) * each;
      const float squares = deviation_sum<true>(x, p.x_row, p.length, p.group_size, broadcast(mean));
      const Vec factor = 1.0f / square_root(broadcast(squares * each + p.epsilon));
      statistics[g] = mean;
      statistics[p.groups + g] = factor[0];
    }
    for (Index g = 0; g < p.groups; ++g) {
      const Index begin = g * p.group_size, end = begin + p.group_size;
      const Vec mean = broadcast(statistics[g]), factor = broadcast(statistics[p.groups + g]);
      Index c = begin;
      for (; c + lanes <= end; c += lanes) {
        norm_forward_channels<Mish, true>(p, s, c, lanes, mean, factor);
      }
      if (c < end) {
        norm_forward_channels<Mish, false>(p, s, c, end - c, mean, factor);
      }
    }
  }
}

inline void norm_forward(const NormForward<float>& p, Index first, Index last) {
  if (p.mish) {
    norm_forward_samples<true>(p, first, last);
  } else {
    norm_forward_samples<false>(p, first, last);
  }
}

// Mish and its slope with one exponential.
struct MishAndSlope {
  Vec value, slope;
};
MAA_KERNEL_INLINE MishAndSlope mish_and_slope(Vec x) {
  const MishTerms m = mish_terms(x);
  const Vec d = m.n + 2.0f;
  return {at_least(x, -87.0f) * (m.n / d), fma(4.0f * m.limited * m.e, (m.e + 1.0f) / d, m.n) / d};
}

// Sums of the channels in one vector over the positions of a sample.
struct ChannelSums {
  Vec dgain, dbias, dscale, dshift;
};

// Everything but dx for `Rows` rows; dx = g for now, the gradient of x_hat. All loads come before the stores:
// rows a multiple of 4096 bytes apart look alike to a processor that checks whether a load needs an earlier
// store.
template <bool Mish, bool Whole, int Rows>
MAA_KERNEL_INLINE void norm_backward_rows(const NormBackward<float>& p, Index row, Index c, Index count,
                                          const ChannelFactors& f, ChannelSums& sums) {
  Vec d[Rows];
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const Vec x = load_channels<Whole>(p.x + (row + i) * p.x_row + c, count);
    const Vec x_hat = (x - f.mean) * f.factor;
    MishAndSlope m = {fma(f.gain, x_hat, f.bias), Vec{}};
    if constexpr (Mish) {
      m = mish_and_slope(m.value);
    }
    // Zero beyond count, and so are all sums.
    d[i] = load_channels<Whole>(p.dy + (row + i) * p.dy_row + c, count);
    if (p.film != nullptr) {
      sums.dscale = fma(d[i], m.value, sums.dscale);
      sums.dshift += d[i];
      d[i] *= f.scale;
    }
    if constexpr (Mish) {
      d[i] *= m.slope;
    }
    sums.dgain = fma(d[i], x_hat, sums.dgain);
    sums.dbias += d[i];
  }
  if (p.dx != nullptr) {
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      store_channels<Whole>(p.dx + (row + i) * p.dx_row + c, d[i] * f.gain, count);
    }
  }
}

// Sums over a group of g and of g x_hat.
struct GroupSums {
  Vec g, product;
};

template <bool Whole>
MAA_KERNEL_INLINE void add_channels(float* sums, Vec v, Index count) {
  store_channels<Whole>(sums, load_channels<Whole>(sums, count) + v, count);
}

// Everything but dx for channels [c, c + count) at all positions of sample s.
template <bool Mish, bool Whole>
MAA_KERNEL_INLINE void norm_backward_channels(const NormBackward<float>& p, Index s, Index c, Index count,
                                              Vec mean, Vec factor, float* sums, GroupSums& totals) {
  const Index channels = p.groups * p.group_size;
  ChannelFactors f = {mean,
                      factor,
                      load_channels_or<Whole>(p.gain, c, count, 1.0f),
                      load_channels_or<Whole>(p.bias, c, count, 0.0f),
                      Vec{},
                      Vec{}};
  if (p.film != nullptr) {
    f.scale = load_channels<Whole>(p.film + s * p.film_row + c, count);
  }
  ChannelSums here = {Vec{}, Vec{}, Vec{}, Vec{}};
  const Index end = (s + 1) * p.length;
  Index row = s * p.length;
  for (; row + 2 <= end; row += 2) {
    norm_backward_rows<Mish, Whole, 2>(p, row, c, count, f, here);
  }
  if (row < end) {
    norm_backward_rows<Mish, Whole, 1>(p, row, c, count, f, here);
  }
  totals.g = fma(f.gain, here.dbias, totals.g);
  totals.product = fma(f.gain, here.dgain, totals.product);
  if (p.film != nullptr) {
    float* dfilm = p.dfilm + s * p.dfilm_row + c;
    store_channels<Whole>(dfilm, here.dscale, count);
    store_channels<Whole>(dfilm + channels, here.dshift, count);
  }
  if (sums != nullptr) {
    add_channels<Whole>(sums + c, here.dgain, count);
    add_channels<Whole>(sums + channels + c, here.dbias, count);
  }
}

// What turns g into dx: factor (g - mean_g - x_hat mean_product), in a group of one sample.
struct InputFactors {
  Vec mean, factor, mean_g, mean_product;
};

template <bool Whole, int Rows>
MAA_KERNEL_INLINE Vec norm_backward_input_rows(const NormBackward<float>& p, Index row, Index c, Index count,
                                               const InputFactors& f, Vec sum) {
  Vec dx[Rows];
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const Vec x_hat = (load_channels<Whole>(p.x + (row + i) * p.x_row + c, count) - f.mean) * f.factor;
    const Vec g = load_channels<Whole>(p.dx + (row + i) * p.dx_row + c, count);
    dx[i] = f.factor * fma(-x_hat, f.mean_product, g - f.mean_g);
    sum += dx[i];
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    store_channels<Whole>(p.dx + (row + i) * p.dx_row + c, dx[i], count);
  }
  return sum;
}

// dx, from g in dx.
template <bool Whole>
MAA_KERNEL_INLINE void norm_backward_input(const NormBackward<float>& p, Index s, Index c, Index count,
                                           const InputFactors& f, float* sums) {
  Vec sum = Vec{};
  const Index end = (s + 1) * p.length;
  Index row = s * p.length;
  for (; row + 2 <= end; row += 2) {
    sum = norm_backward_input_rows<Whole, 2>(p, row, c, count, f, sum);
  }
  if (row < end) {
    sum = norm_backward_input_rows<Whole, 1>(p, row, c, count, f, sum);
  }
  if (sums != nullptr) {
    add_channels<Whole>(sums + 2 * p.groups * p.group_size + c, sum, count);
  }
}

template <bool Mish>
inline void norm_backward_samples(const NormBackward<float>& arguments, Index first, Index last,
                                  float* sums) {
  const NormBackward<float> p = arguments;
  const float each = 1.0f / static_cast<float>(p.length * p.group_size);
  // Groups outside, so that the sums of one group stay in the cache over all samples.
  for (Index g = 0; g < p.groups; ++g) {
    const Index begin = g * p.group_size, end = begin + p.group_size;
    for (Index s = first; s < last; ++s) {
      const float* statistics = p.statistics + s * p.statistics_row + g;
      const Vec mean = broadcast(statistics[0]), factor = broadcast(statistics[p.groups]);
      GroupSums totals = {Vec{}, Vec{}};
      Index c = begin;
      for (; c + lanes <= end; c += lanes) {
        norm_backward_channels<Mish, true>(p, s, c, lanes, mean, factor, sums, totals);
      }
      if (c < end) {
        norm_backward_channels<Mish, false>(p, s, c, end - c, mean, factor, sums, totals);
      }
      if (p.dx == nullptr) {
        continue;
      }
      const InputFactors f = {mean, factor, broadcast(sum(totals.g) * each),
                              broadcast(sum(totals.product) * each)};
      for (c = begin; c + lanes <= end; c += lanes) {
        norm_backward_input<true>(p, s, c, lanes, f, sums);
      }
      if (c < end) {
        norm_backward_input<false>(p, s, c, end - c, f, sums);
      }
    }
  }
}

inline void norm_backward(const NormBackward<float>& p, Index first, Index last, float* sums) {
  if (p.mish) {
    norm_backward_samples<true>(p, first, last, sums);
  } else {
    norm_backward_samples<false>(p, first, last, sums);
  }
}

inline void column_sums(const float* x, Index x_row, Index rows, Index cols, float* sums) {
  constexpr int ways = 4;  // vectors of a row at once: whole cache lines, sums in registers
  Index j = 0;
  for (; j + ways * lanes <= cols; j += ways * lanes) {
    Vec parts[ways];
    MAA_KERNEL_UNROLL
    for (int u = 0; u < ways; ++u) {
      parts[u] = load(sums + j + u * lanes);
    }
    for (Index i = 0; i < rows; ++i) {
      MAA_KERNEL_UNROLL
      for (int u = 0; u < ways; ++u) {
        parts[u] += load(x + i * x_row + j + u * lanes);
      }
    }
    MAA_KERNEL_UNROLL
    for (int u = 0; u < ways; ++u) {
      store(sums + j + u * lanes, parts[u]);
    }
  }
  for (; j < cols; j += lanes) {
    const Index count = cols - j;
    if (count >= lanes) {
      Vec part = load(sums + j);
      for (Index i = 0; i < rows; ++i) {
        part += load(x + i * x_row + j);
      }
      store(sums + j, part);
    } else {
      Vec part = load_first(sums + j, count);
      for (Index i = 0; i < rows; ++i) {
        part += load_first(x + i * x_row + j, count);
      }
      store_first(sums + j, part, count);
    }
  }
}
