// What the machine can do at most, per thread. Included once per instruction set, after kernels/vector.inl.

// `rounds` times twelve fused multiply-adds of a vector, in chains that do not wait for each other (two units
// of four cycles' latency need eight). The array lives in registers because every loop over it is unrolled.
inline constexpr int fma_chains = 12;
inline float run_fma(Index rounds) {
  Vec sums[fma_chains];
  MAA_PEAK_UNROLL
  for (int i = 0; i < fma_chains; ++i) {
    sums[i] = broadcast(1e-3f * static_cast<float>(i));
  }
  const Vec factor = broadcast(0.999f), addend = broadcast(1e-4f);
  for (Index k = 0; k < rounds; ++k) {
    MAA_PEAK_UNROLL
    for (int i = 0; i < fma_chains; ++i) {
      sums[i] = fma(sums[i], factor, addend);
    }
  }
  Vec all = Vec{};
  MAA_PEAK_UNROLL
  for (int i = 0; i < fma_chains; ++i) {
    all += sums[i];
  }
  return sum(all);
}

inline constexpr int streams = 8;
inline constexpr Index prefetch_ahead = 512;  // floats: 2 KB

// Reads all; `count` is a multiple of 8 vectors.
inline float run_read(const float* x, Index count) {
  Vec sums[streams];
  MAA_PEAK_UNROLL
  for (int j = 0; j < streams; ++j) {
    sums[j] = Vec{};
  }
  for (Index i = 0; i < count; i += streams * lanes) {
    MAA_PEAK_UNROLL
    for (int j = 0; j < streams; ++j) {
      __builtin_prefetch(x + i + j * lanes + prefetch_ahead, 0);
      sums[j] += load(x + i + j * lanes);
    }
  }
  Vec all = Vec{};
  MAA_PEAK_UNROLL
  for (int j = 0; j < streams; ++j) {
    all += sums[j];
  }
  return sum(all);
}

// Reads and writes all: changes every sign.
inline void run_update(float* x, Index count) {
  for (Index i = 0; i < count; i += streams * lanes) {
    MAA_PEAK_UNROLL
    for (int j = 0; j < streams; ++j) {
      __builtin_prefetch(x + i + j * lanes + prefetch_ahead, 1);
      store(x + i + j * lanes, -load(x + i + j * lanes));
    }
  }
}
