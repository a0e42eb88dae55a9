// Products of a matrix in double with vectors, for the small linear systems of the Bayesian head; apart from
// table.hpp because running a single policy needs none.
#pragma once

#include <maa/kernels/table.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {
namespace reference {

inline void add_rows(Index rows, Index cols, const double* matrix, Index stride, double scale,
                     const double* factors, Index factor_stride, double* out) {
  for (Index k = 0; k < rows; ++k) {
    const double factor = scale * factors[k * factor_stride];
    for (Index j = 0; j < cols; ++j) {
      out[j] += factor * matrix[k * stride + j];
    }
  }
}

inline void row_products(Index rows, Index cols, const double* matrix, Index stride, const double* x,
                         double* out) {
  for (Index i = 0; i < rows; ++i) {
    double sum = 0;
    for (Index j = 0; j < cols; ++j) {
      sum += matrix[i * stride + j] * x[j];
    }
    out[i] = sum;
  }
}

}  // namespace reference

// `out` overlaps no row of the matrix that is read.
struct SystemTable {
  // out[j] += scale * the sum of factors[k * factor_stride] matrix[k * stride + j] over k < rows, for j <
  // cols.
  void (*add_rows)(Index rows, Index cols, const double* matrix, Index stride, double scale,
                   const double* factors, Index factor_stride, double* out);
  // out[i] = the sum of matrix[i * stride + j] x[j] over j < cols, for i < rows.
  void (*row_products)(Index rows, Index cols, const double* matrix, Index stride, const double* x,
                       double* out);
};

// The kernels of an instruction set, which the machine must support to call them.
const SystemTable& system_for(Isa isa) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/system.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/system.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

MAA_INLINE const SystemTable& system_for(Isa isa) noexcept {
  static constexpr SystemTable scalar{reference::add_rows, reference::row_products};
#if MAA_HAS_X86_KERNELS
  static constexpr SystemTable avx2{avx2::add_rows, avx2::row_products};
  static constexpr SystemTable avx512{avx512::add_rows, avx512::row_products};
  switch (isa) {
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  return scalar;
}

#endif

}  // namespace kernels
MAA_NAMESPACE_END
