// One vector register of MAA_LANES floats. Included once per instruction set inside its target region; no
// header may be included from here, and helpers are always inlined so that vectors never cross a call.

typedef float Vec __attribute__((vector_size(MAA_LANES * 4)));
typedef int Ints __attribute__((vector_size(MAA_LANES * 4)));
typedef float UnalignedVec __attribute__((vector_size(MAA_LANES * 4), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16)));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));
typedef float Octet __attribute__((vector_size(32)));

inline constexpr Index lanes = MAA_LANES;

MAA_KERNEL_INLINE Vec load(const float* p) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}
MAA_KERNEL_INLINE void store(float* p, Vec v) {
  *reinterpret_cast<UnalignedVec*>(p) = v;
}
MAA_KERNEL_INLINE Vec broadcast(float x) {
  return x - Vec{};
}
MAA_KERNEL_INLINE Ints bits(Vec v) {
  return reinterpret_cast<Ints>(v);
}
MAA_KERNEL_INLINE Vec from_bits(Ints v) {
  return reinterpret_cast<Vec>(v);
}

// The first `count` lanes only, 0 <= count < lanes; the others read as zero and are not written. Memory
// beyond them is not touched.
#if MAA_LANES == 16
MAA_KERNEL_INLINE unsigned short lane_mask(Index count) {
  return static_cast<unsigned short>((1u << count) - 1u);
}
MAA_KERNEL_INLINE Vec load_first(const float* p, Index count) {
  return __builtin_ia32_loadups512_mask(p, Vec{}, lane_mask(count));
}
MAA_KERNEL_INLINE void store_first(float* p, Vec v, Index count) {
  __builtin_ia32_storeups512_mask(p, v, lane_mask(count));
}
#else
MAA_KERNEL_INLINE Ints lane_mask(Index count) {
  constexpr Ints order = {0, 1, 2, 3, 4, 5, 6, 7};
  return order < static_cast<int>(count);
}
MAA_KERNEL_INLINE Vec load_first(const float* p, Index count) {
  return __builtin_ia32_maskloadps256(reinterpret_cast<const Vec*>(p), lane_mask(count));
}
MAA_KERNEL_INLINE void store_first(float* p, Vec v, Index count) {
  __builtin_ia32_maskstoreps256(reinterpret_cast<Vec*>(p), lane_mask(count), v);
}
#endif

// a b + c, rounded once whatever -ffp-contract says.
MAA_KERNEL_INLINE Vec fma(Vec a, Vec b, Vec c) {
#ifdef MAA_KERNEL_ELEMENTWISE_FMA
  return __builtin_elementwise_fma(a, b, c);
#elif MAA_LANES == 16
  return __builtin_ia32_vfmaddps512_mask(a, b, c, static_cast<unsigned short>(-1), 4);
#else
  return __builtin_ia32_vfmaddps256(a, b, c);
#endif
}
MAA_KERNEL_INLINE Vec fma(Vec a, Vec b, float c) {
  return fma(a, b, broadcast(c));
}

MAA_KERNEL_INLINE Vec square_root(Vec v) {
#ifdef MAA_KERNEL_ELEMENTWISE_SQRT
  return __builtin_elementwise_sqrt(v);
#elif MAA_LANES == 8
  return __builtin_ia32_sqrtps256(v);
#elif defined(__clang__)
  return __builtin_ia32_sqrtps512(v, 4);
#else
  return __builtin_ia32_sqrtps512_mask(v, Vec{}, static_cast<unsigned short>(-1), 4);
#endif
}

// Sum of all lanes, by halves.
MAA_KERNEL_INLINE float sum(Vec v) {
#if MAA_LANES == 16
  const Octet eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const Octet eight = v;
#endif
  const Quad four =
      __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// Four floats, repeated.
MAA_KERNEL_INLINE Vec broadcast_quad(const float* p) {
  const Quad four = *reinterpret_cast<const UnalignedQuad*>(p);
#if defined(__clang__) && MAA_LANES == 16
  return __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
#elif MAA_LANES == 16
  return __builtin_ia32_broadcastf32x4_512(four, Vec{}, static_cast<unsigned short>(-1));
#else
  return __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3);
#endif
}
// p[i] = the sum of lanes 4 i to 4 i + 3.
MAA_KERNEL_INLINE void store_quad_sums(float* p, Vec v) {
#if MAA_LANES == 16
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  *reinterpret_cast<UnalignedQuad*>(p) = __builtin_shufflevector(v, v, 0, 4, 8, 12);
#else
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
  p[0] = v[0];
  p[1] = v[4];
#endif
}
