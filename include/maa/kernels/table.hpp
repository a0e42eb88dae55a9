// The float kernels of each instruction set, behind function pointers. All run on the calling thread; none
// allocates or throws. Enough to run a policy without threads.
#pragma once

#include <maa/kernels/isa.hpp>
#include <maa/kernels/reference.hpp>
#include <maa/kernels/target.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/vector.inl>

#include <maa/kernels/math.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/vector.inl>

#include <maa/kernels/math.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

struct Table {
  Isa isa;
  // y = activation(x); y may be x.
  void (*activation_forward)(Activation, const float* x, float* y, Index count);
  // dx = dy activation'(x); dx may be x or dy.
  void (*activation_backward)(Activation, const float* x, const float* dy, float* dx, Index count);
  // y += x
  void (*add)(const float* x, float* y, Index count);
  // One AdamW step; ema may be null.
  void (*adamw)(const AdamWFactors<float>&, Index count, float* weights, const float* gradients, float* m,
                float* v, float* ema);
  double (*sum_of_squares)(const float* x, Index count);
};

// The kernels of an instruction set, which the machine must support to call them.
const Table& table_for(Isa isa) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/optimizer.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/optimizer.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

MAA_INLINE const Table& table_for(Isa isa) noexcept {
  static constexpr Table scalar{Isa::scalar,
                                reference::activation_forward<float>,
                                reference::activation_backward<float>,
                                reference::add<float>,
                                reference::adamw<float>,
                                reference::sum_of_squares<float>};
#if MAA_HAS_X86_KERNELS
  static constexpr Table avx2{Isa::avx2,   avx2::activation_forward, avx2::activation_backward, avx2::add,
                              avx2::adamw, avx2::sum_of_squares};
  static constexpr Table avx512{
      Isa::avx512,   avx512::activation_forward, avx512::activation_backward, avx512::add,
      avx512::adamw, avx512::sum_of_squares};
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
