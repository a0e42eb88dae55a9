// Runs policies from packed weights, by instruction set.
#pragma once

#include <maa/kernels/policy_layer.hpp>
#include <maa/kernels/table.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/policy.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/policy.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

// x [observation_size] -> mean [action_size] = Squash(mean head) and, unless null, log_std [action_size].
template <class Plan, Activation Squash>
void policy_act(Isa isa, const float* packed, const float* x, float* mean, float* log_std) noexcept {
#if MAA_HAS_X86_KERNELS
  bool backwards = false;
  if constexpr (Plan::alternates) {
    thread_local bool last = false;  // of no policy in particular: any change of direction will do
    backwards = last = !last;
  }
  switch (isa) {
    case Isa::avx512:
      return avx512::policy_act<Plan, Squash>(packed, x, backwards, mean, log_std);
    case Isa::avx2:
      return avx2::policy_act<Plan, Squash>(packed, x, backwards, mean, log_std);
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  reference::policy_act<Plan, Squash>(packed, x, mean, log_std);
}

// x [rows, observation_size] -> mean [rows, action_size].
template <class Plan, Activation Squash>
void policy_act_rows(Isa isa, const float* packed, const float* x, Index rows, float* mean) noexcept {
#if MAA_HAS_X86_KERNELS
  switch (isa) {
    case Isa::avx512:
      return avx512::policy_act_rows<Plan, Squash>(packed, x, rows, mean);
    case Isa::avx2:
      return avx2::policy_act_rows<Plan, Squash>(packed, x, rows, mean);
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  reference::policy_act_rows<Plan, Squash>(packed, x, rows, mean);
}

}  // namespace kernels
MAA_NAMESPACE_END
