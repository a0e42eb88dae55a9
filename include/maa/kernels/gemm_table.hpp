// Matrix products of each instruction set; apart from table.hpp because running a single policy needs none.
#pragma once

#include <maa/kernels/product.hpp>
#include <maa/kernels/table.hpp>

#include <cstdint>

MAA_NAMESPACE_BEGIN
namespace kernels {

// Depth of a block: a panel, [depth][panel columns], stays in the first-level cache.
inline constexpr Index depth_block = 256;
// Packed rows lie this far apart: not a power of two, whose multiples would share cache sets; room for the
// zero behind a row of odd length.
inline constexpr Index packed_stride = depth_block + 16;

// Memory that each tile of a panel fetches while it is computed: `step` bytes per step of depth.
struct TileFetch {
  const char* from;
  Index step;
};

// Floats of a panel at most: [depth_block][the widest panel].
inline constexpr Index panel_size = depth_block * 32;

// The parts of a product, on packed operands (gemm.inl says how they lie). All run on the calling thread.
struct GemmTable {
  Index panel_cols;  // the last panel of a matrix has half of them, if that suffices
  void (*pack_rows)(const float* a, Index a_row, Index a_col, Index rows, Index depth, float* to);
  void (*pack_panels)(const Product<float>&, Index first_col, Index first_depth, Index depth, Index count,
                      float* to);
  void (*narrow_panel)(const float* panel, Index depth, Index cols, std::uint32_t* to);
  // The block `c` of p's result, plus rows [rows][packed_stride] times the panel. Without `fetch` what lies
  // behind the panel is fetched.
  void (*multiply_panel)(const float* rows, const float* panel, Index depth, const Product<float>& c,
                         const TileFetch* fetch);
  void (*multiply_narrow_panel)(const float* rows, const std::uint32_t* panel, Index depth,
                                const Product<float>& c, float* scratch);
  void (*stream)(const Product<float>&);
};

// Null for scalar, which has no packed form.
const GemmTable* gemm_table_for(Isa isa) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/dot.inl>

#include <maa/kernels/gemm.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/dot.inl>

#include <maa/kernels/gemm.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

MAA_INLINE const GemmTable* gemm_table_for(Isa isa) noexcept {
#if MAA_HAS_X86_KERNELS
  static constexpr GemmTable avx2{avx2::tile_cols,    avx2::pack_rows,      avx2::pack_panels,
                                  avx2::narrow_panel, avx2::multiply_panel, avx2::multiply_narrow_panel,
                                  avx2::stream};
  static constexpr GemmTable avx512{avx512::tile_cols,      avx512::pack_rows,
                                    avx512::pack_panels,    avx512::narrow_panel,
                                    avx512::multiply_panel, avx512::multiply_narrow_panel,
                                    avx512::stream};
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
