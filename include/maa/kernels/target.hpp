// Regions of code compiled for one instruction set, whatever flags the user sets. Inside a region only the
// .inl files of this folder are included: an inline function of another header compiled here could be the
// copy the linker keeps for a machine that lacks the instructions.
#pragma once

#include <maa/core/config.hpp>

#if MAA_HAS_X86_KERNELS

#define MAA_KERNEL_INLINE __attribute__((always_inline)) inline

#if defined(__clang__)
#define MAA_KERNEL_UNROLL _Pragma("clang loop unroll(full)")
#define MAA_KERNEL_BEGIN_AVX2 \
  namespace avx2 {            \
  _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
// _Pragma takes one string literal, which clang-format must not split.
// clang-format off
#define MAA_KERNEL_BEGIN_AVX512 \
  namespace avx512 {            \
  _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq\"))), apply_to = function)")
// clang-format on
#define MAA_KERNEL_END           \
  _Pragma("clang attribute pop") \
  }
#else
#define MAA_KERNEL_UNROLL _Pragma("GCC unroll 16")
// It takes a vector's element number of type int for a conversion of signs.
#define MAA_KERNEL_NO_SIGNS \
  _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wsign-conversion\"")
#define MAA_KERNEL_BEGIN_AVX2 \
  _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")") MAA_KERNEL_NO_SIGNS namespace avx2 {
#define MAA_KERNEL_BEGIN_AVX512                                                                      \
  _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq\")") \
      MAA_KERNEL_NO_SIGNS namespace avx512 {
#define MAA_KERNEL_END \
  }                    \
  _Pragma("GCC diagnostic pop") _Pragma("GCC pop_options")
#endif

// Newer clangs replace the processor's builtins with generic ones.
#if defined(__clang__) && defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_fma)
#define MAA_KERNEL_ELEMENTWISE_FMA 1
#endif
#if __has_builtin(__builtin_elementwise_sqrt)
#define MAA_KERNEL_ELEMENTWISE_SQRT 1
#endif
#endif

#endif
