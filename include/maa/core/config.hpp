// Version, namespace and the ABI tag that keeps differently configured translation units apart.
#pragma once

// Compilers without what is used of C++20 stop here: elsewhere they would not say why.
#if defined(__clang__) ? __clang_major__ < 14 : defined(__GNUC__) && __GNUC__ < 12
#error "maa needs g++ 12 or clang 14, or newer"
#elif __cplusplus < 202002L
#error "maa needs C++20 (-std=c++20)"
#endif

#include <cstddef>
#include <cstdint>
#include <string_view>

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

// What -march (or -m) lets the compiler use anywhere, not in the kernels alone. A unit built for less may
// define it as the other unit's, if the program runs on that unit's processors only.
#if !defined(MAA_ABI_ARCHITECTURE)
#if defined(__AVX512F__)
#define MAA_ABI_ARCHITECTURE avx512
#elif defined(__AVX2__) || defined(__FMA__) || defined(__BMI2__)
#define MAA_ABI_ARCHITECTURE avx2
#elif defined(__AVX__)
#define MAA_ABI_ARCHITECTURE avx
#elif defined(__SSE3__)
#define MAA_ABI_ARCHITECTURE sse3
#elif defined(__ARM_FEATURE_SVE)
#define MAA_ABI_ARCHITECTURE sve
#else
#define MAA_ABI_ARCHITECTURE base
#endif
#endif
#if defined(__cpp_exceptions)
#define MAA_ABI_ERRORS thrown
#else
#define MAA_ABI_ERRORS fatal
#endif

// Every symbol carries version, kernel set, architecture and what an error does in its mangled name, so that
// translation units built from different versions or options fail to link, or have their own functions,
// instead of sharing inline functions of different meaning, which another processor may lack the instructions
// for.
#define MAA_DETAIL_JOIN(a, b, c, d, e, f) v##a##_##b##_##c##_##d##_##e##_##f
#define MAA_DETAIL_ABI(a, b, c, d, e, f) MAA_DETAIL_JOIN(a, b, c, d, e, f)
#define MAA_ABI_TAG                                                                        \
  MAA_DETAIL_ABI(MAA_VERSION_MAJOR, MAA_VERSION_MINOR, MAA_VERSION_PATCH, MAA_ABI_KERNELS, \
                 MAA_ABI_ARCHITECTURE, MAA_ABI_ERRORS)

#define MAA_NAMESPACE_BEGIN \
  namespace maa {           \
  inline namespace MAA_ABI_TAG {
#define MAA_NAMESPACE_END \
  }                       \
  }

// Where the bodies of functions that depend on no type of the user's are: in every translation unit, inline;
// or, with MAA_COMPILED, in the library maa::compiled alone, whose files (compiled/*.cpp) set MAA_BODIES to 1
// before they include the headers that they stand for; what they include before that is another file's (two
// may hold the same body: it only costs time). Names and bodies are the same either way, so both kinds of
// translation unit may be linked to one program.
//
//     void f();
//     #if MAA_BODIES
//     MAA_INLINE void f() { ... }
//     #endif
//
// A function template of which all instances are known keeps its body, followed by MAA_INSTANTIATE(f<T>);

// What waits for files or leads to an error: compiled for size, which also takes less time.
#define MAA_COLD [[gnu::cold, gnu::noinline]]

#ifdef MAA_COMPILED
#define MAA_BODIES 0
#define MAA_INLINE [[gnu::weak]]  // not inline: clang would leave constructors out
// `extern template`, in the library `template`.
#define MAA_TEMPLATE MAA_DETAIL_TEMPLATE(MAA_BODIES)
#define MAA_DETAIL_TEMPLATE(bodies) MAA_DETAIL_TEMPLATE_AS(bodies)
#define MAA_DETAIL_TEMPLATE_AS(bodies) MAA_DETAIL_TEMPLATE_##bodies
#define MAA_DETAIL_TEMPLATE_0 extern template
#define MAA_DETAIL_TEMPLATE_1 template
#define MAA_INSTANTIATE(...) MAA_TEMPLATE decltype(__VA_ARGS__) __VA_ARGS__
#else
#define MAA_BODIES 1
#define MAA_INLINE inline
#define MAA_INSTANTIATE(...) static_assert(true)
#endif

MAA_NAMESPACE_BEGIN

// All sizes, counts and strides.
using Index = std::ptrdiff_t;

#define MAA_DETAIL_TEXT(a, b, c) #a "." #b "." #c
#define MAA_DETAIL_VERSION(a, b, c) MAA_DETAIL_TEXT(a, b, c)
inline constexpr std::string_view library_version =
    MAA_DETAIL_VERSION(MAA_VERSION_MAJOR, MAA_VERSION_MINOR, MAA_VERSION_PATCH);

MAA_NAMESPACE_END
