// Policies with many rows each: the parts of their forward and backward pass, of each instruction set.
#pragma once

#include <maa/kernels/gemm_table.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

// c = a b (+ c, or + a bias for each row). Element (i, k) of a is a[i * a_row + k * a_col]; rows of b and c
// are contiguous, those of b readable up to a whole number of vectors.
struct BroadcastProduct {
  const float* a;
  Index a_row, a_col;
  const float* b;
  Index b_row;
  float* c;
  Index c_row;
  const float* bias;  // null or [rows]
  Index rows, cols, depth;
  bool accumulate;
};

// Whether an activation's slope follows from its output.
inline constexpr bool slope_from_output(Activation activation) {
  return activation != Activation::gelu && activation != Activation::mish;
}

struct PolicyBatchTable {
  Index lanes;
  void (*product)(const BroadcastProduct&);
  // to[j * to_row + i] = from[i * from_row + j] for i < rows, j < cols
  void (*transpose)(const float* from, Index from_row, Index rows, Index cols, float* to, Index to_row);
  // to[i] += the sum of row i
  void (*add_row_sums)(const float* x, Index x_row, Index rows, Index cols, float* to);
  // dy *= activation' where the activation gave y and slope_from_output holds; count in whole vectors
  void (*output_slope)(Activation, const float* y, float* dy, Index count);
};

// Null for Isa::scalar.
const PolicyBatchTable* policy_batch_table_for(Isa isa) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/policy_batch.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/policy_batch.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

MAA_INLINE const PolicyBatchTable* policy_batch_table_for(Isa isa) noexcept {
#if MAA_HAS_X86_KERNELS
  static constexpr PolicyBatchTable avx2{8, avx2::policy_product, avx2::policy_transpose,
                                         avx2::policy_add_row_sums, avx2::policy_output_slope};
  static constexpr PolicyBatchTable avx512{16, avx512::policy_product, avx512::policy_transpose,
                                           avx512::policy_add_row_sums, avx512::policy_output_slope};
  switch (isa) {
    case Isa::avx512:
      return &avx512;
    case Isa::avx2:
      return &avx2;
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  return nullptr;
}

#endif

}  // namespace kernels
MAA_NAMESPACE_END
