// Between the host's memory and the backend's, which are one and the same here: arrays are copied, views are
// given back as they are. Backends with a memory of their own have functions of the same names.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>

MAA_NAMESPACE_BEGIN
namespace cpu {

// to = from.
template <class T>
void upload(const Backend&, InSpan<T> from, std::span<T> to) {
  require(from.size() == to.size(), "upload: expected ", to.size(), " numbers, found ", from.size());
  std::copy(from.begin(), from.end(), to.begin());
}
template <class T>
void download(const Backend&, InSpan<T> from, std::span<T> to) {
  require(from.size() == to.size(), "download: expected ", to.size(), " numbers, found ", from.size());
  std::copy(from.begin(), from.end(), to.begin());
}

// Host numbers where ops can read them, and results where the host can; valid as long as both are.
template <class View>
View uploaded(const Backend&, View from, Workspace&) {
  return from;
}
template <class View>
View downloaded(const Backend&, View from, Workspace&) {
  return from;
}

// The value of a loss or norm, and the sum of two.
inline double read(const Backend&, double value) {
  return value;
}
inline double sum(const Backend&, double a, double b) {
  return a + b;
}

}  // namespace cpu
MAA_NAMESPACE_END
