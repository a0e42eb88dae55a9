// Sizes of models: known to the compiler, or found out by a program as it runs.
#pragma once

#include <maa/core/config.hpp>

#include <array>
#include <cstddef>
#include <type_traits>
#include <vector>

MAA_NAMESPACE_BEGIN

// A size that is asked for whenever it is needed.
struct RuntimeSize {
  Index (*now)();
};
template <Index (*now)()>
inline constexpr RuntimeSize runtime_size{now};

// A template argument that is a number, Linear<39, 128>, or stands for a RuntimeSize: the same layers serve
// both.
struct Extent {
  Index fixed = 0;
  const RuntimeSize* runtime = nullptr;

  constexpr Extent(Index size) : fixed(size) {}
  constexpr Extent(const RuntimeSize& size) : runtime(&size) {}
  constexpr operator Index() const { return runtime != nullptr ? runtime->now() : fixed; }
  constexpr bool is_fixed() const { return runtime == nullptr; }
};

// What `size` gives: an Index now, or an Extent that asks each time.
template <bool at_run_time, Index (*size)()>
constexpr auto extent_of() {
  if constexpr (at_run_time) {
    return Extent(runtime_size<size>);
  } else {
    return size();
  }
}

// Numbers, `size` of them.
template <Extent size>
struct RowOf {
  using type = std::array<float, static_cast<std::size_t>(size.fixed)>;
  static type filled(float value) {
    type row;
    row.fill(value);
    return row;
  }
};
template <Extent size>
requires(!size.is_fixed()) struct RowOf<size> {
  using type = std::vector<float>;
  static type filled(float value) { return type(static_cast<std::size_t>(Index(size)), value); }
};

MAA_NAMESPACE_END
