// Version, namespace and the ABI tag that keeps differently configured translation units apart.
#pragma once

#include <cstddef>
#include <cstdint>

#define MAA_VERSION_MAJOR 0
#define MAA_VERSION_MINOR 1
#define MAA_VERSION_PATCH 0

// Kernels for AVX2 and AVX-512 are compiled by target attributes, whatever flags the user sets; other
// processors and MAA_NO_SIMD get the portable code only.
#if defined(__x86_64__) && !defined(MAA_NO_SIMD)
#define MAA_HAS_X86_KERNELS 1
#define MAA_ABI_KERNELS x86
#else
#define MAA_HAS_X86_KERNELS 0
#define MAA_ABI_KERNELS portable
#endif

// Every symbol carries version and kernel set in its mangled name, so that translation units built from
// different versions or options fail to link instead of sharing inline functions of different meaning.
#define MAA_DETAIL_JOIN(a, b, c, d) v##a##_##b##_##c##_##d
#define MAA_DETAIL_ABI(a, b, c, d) MAA_DETAIL_JOIN(a, b, c, d)
#define MAA_ABI_TAG MAA_DETAIL_ABI(MAA_VERSION_MAJOR, MAA_VERSION_MINOR, MAA_VERSION_PATCH, MAA_ABI_KERNELS)

#define MAA_NAMESPACE_BEGIN \
  namespace maa {           \
  inline namespace MAA_ABI_TAG {
#define MAA_NAMESPACE_END \
  }                       \
  }

MAA_NAMESPACE_BEGIN

// All sizes, counts and strides.
using Index = std::ptrdiff_t;

MAA_NAMESPACE_END
