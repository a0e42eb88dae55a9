// Products of a matrix in double with vectors (system_table.hpp).

typedef double Doubles __attribute__((vector_size(MAA_LANES * 4)));
typedef double UnalignedDoubles __attribute__((vector_size(MAA_LANES * 4), aligned(8), may_alias));

inline constexpr Index double_lanes = MAA_LANES / 2;

MAA_KERNEL_INLINE Doubles load_doubles(const double* p) {
  return *reinterpret_cast<const UnalignedDoubles*>(p);
}
// As load_first and store_first.
#if MAA_LANES == 16
MAA_KERNEL_INLINE unsigned char double_mask(Index count) {
  return static_cast<unsigned char>((1u << count) - 1u);
}
MAA_KERNEL_INLINE Doubles load_first_doubles(const double* p, Index count) {
  return __builtin_ia32_loadupd512_mask(p, Doubles{}, double_mask(count));
}
MAA_KERNEL_INLINE void store_first_doubles(double* p, Doubles v, Index count) {
  __builtin_ia32_storeupd512_mask(p, v, double_mask(count));
}
#else
typedef long long LongInts __attribute__((vector_size(32)));
MAA_KERNEL_INLINE LongInts double_mask(Index count) {
  constexpr LongInts order = {0, 1, 2, 3};
  return order < static_cast<long long>(count);
}
MAA_KERNEL_INLINE Doubles load_first_doubles(const double* p, Index count) {
  return __builtin_ia32_maskloadpd256(reinterpret_cast<const Doubles*>(p), double_mask(count));
}
MAA_KERNEL_INLINE void store_first_doubles(double* p, Doubles v, Index count) {
  __builtin_ia32_maskstorepd256(reinterpret_cast<Doubles*>(p), double_mask(count), v);
}
#endif

inline void add_rows(Index rows, Index cols, const double* matrix, Index stride, double scale,
                     const double* factors, Index factor_stride, double* out) {
  constexpr Index at_once = 4;
  Index j = 0;
  for (; j + at_once * double_lanes <= cols; j += at_once * double_lanes) {
    Doubles sums[at_once] = {};
    for (Index k = 0; k < rows; ++k) {
      const double* row = matrix + k * stride + j;
      const double factor = factors[k * factor_stride];
      MAA_KERNEL_UNROLL
      for (Index u = 0; u < at_once; ++u) {
        sums[u] += factor * load_doubles(row + u * double_lanes);
      }
    }
    MAA_KERNEL_UNROLL
    for (Index u = 0; u < at_once; ++u) {
      double* to = out + j + u * double_lanes;
      *reinterpret_cast<UnalignedDoubles*>(to) = load_doubles(to) + scale * sums[u];
    }
  }
  for (; j < cols; j += double_lanes) {
    const Index count = cols - j < double_lanes ? cols - j : double_lanes;
    const bool whole = count == double_lanes;
    Doubles even = {}, odd = {};
    for (Index k = 0; k < rows; ++k) {
      const double* row = matrix + k * stride + j;
      const Doubles values = whole ? load_doubles(row) : load_first_doubles(row, count);
      Doubles& sum = k % 2 == 0 ? even : odd;
      sum += factors[k * factor_stride] * values;
    }
    const Doubles added = scale * (even + odd);
    if (whole) {
      *reinterpret_cast<UnalignedDoubles*>(out + j) = load_doubles(out + j) + added;
    } else {
      store_first_doubles(out + j, load_first_doubles(out + j, count) + added, count);
    }
  }
}

inline void row_products(Index rows, Index cols, const double* matrix, Index stride, const double* x,
                         double* out) {
  const Index whole = cols - cols % double_lanes;
  for (Index i = 0; i < rows; ++i) {
    const double* row = matrix + i * stride;
    Doubles even = {}, odd = {};
    Index j = 0;
    for (; j + 2 * double_lanes <= whole; j += 2 * double_lanes) {
      even += load_doubles(row + j) * load_doubles(x + j);
      odd += load_doubles(row + j + double_lanes) * load_doubles(x + j + double_lanes);
    }
    if (j < whole) {
      even += load_doubles(row + j) * load_doubles(x + j);
    }
    if (whole < cols) {
      odd += load_first_doubles(row + whole, cols - whole) * load_first_doubles(x + whole, cols - whole);
    }
    const Doubles both = even + odd;
    double total = 0;
    for (Index lane = 0; lane < double_lanes; ++lane) {
      total += both[lane];
    }
    out[i] = total;
  }
}
