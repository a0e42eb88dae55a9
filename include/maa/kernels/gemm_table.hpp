// Matrix products of each instruction set; apart from table.hpp because running a single policy needs none.
#pragma once

#include <maa/kernels/table.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

// Floats of scratch memory that `multiply` needs: for a packed block of a (256 rows of 272) and a panel of b.
inline constexpr Index gemm_scratch = 256 * 272 + 256 * 32;

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/gemm.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/gemm.inl>
#undef MAA_LANES
MAA_KERNEL_END
static_assert(gemm_scratch >= avx2::row_block * avx2::packed_stride + avx2::depth_block * avx2::tile_cols);
static_assert(gemm_scratch >=
              avx512::row_block * avx512::packed_stride + avx512::depth_block * avx512::tile_cols);
#endif

using Multiply = void (*)(const Product<float>&, float* scratch);

// The float product of an instruction set.
inline Multiply multiply_for(Isa isa) noexcept {
#if MAA_HAS_X86_KERNELS
  switch (isa) {
    case Isa::avx512:
      return avx512::multiply;
    case Isa::avx2:
      return avx2::multiply;
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  return [](const Product<float>& p, float*) { multiply_reference(p); };
}

}  // namespace kernels
MAA_NAMESPACE_END
