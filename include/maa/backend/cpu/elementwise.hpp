// Ops that act on each element alone.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// Elements per task; shorter spans are worked on at once, by the caller.
inline constexpr Index elementwise_chunk = 16384;

}  // namespace detail

// y = activation(x); y may be x, else they must not overlap. The float kernels state their errors in
// kernels/math.inl; NaN gives NaN and infinities the limits.
template <class T>
void activation_forward(const Backend& backend, Activation activation, InSpan<T> x, std::span<T> y) {
  require(x.size() == y.size(), "activation_forward: expected ", x.size(), " outputs, found ", y.size());
  for_chunks(backend.pool(), std::ssize(y), detail::elementwise_chunk, [&](Index, Index first, Index last) {
    if constexpr (std::is_same_v<T, float>) {
      backend.kernels().activation_forward(activation, x.data() + first, y.data() + first, last - first);
    } else {
      kernels::reference::activation_forward(activation, x.data() + first, y.data() + first, last - first);
    }
  });
}

// dx = dy * activation'(x), from the input x of the forward pass; dx may be dy or x, else they must not
// overlap.
template <class T>
void activation_backward(const Backend& backend, Activation activation, InSpan<T> x, InSpan<T> dy,
                         std::span<T> dx) {
  require(x.size() == dx.size() && dy.size() == dx.size(),
          "activation_backward: expected x, dy and dx of one size, found ", x.size(), ", ", dy.size(),
          " and ", dx.size());
  for_chunks(backend.pool(), std::ssize(dx), detail::elementwise_chunk, [&](Index, Index first, Index last) {
    const T* input = x.data() + first;
    if constexpr (std::is_same_v<T, float>) {
      backend.kernels().activation_backward(activation, input, dy.data() + first, dx.data() + first,
                                            last - first);
    } else {
      kernels::reference::activation_backward(activation, input, dy.data() + first, dx.data() + first,
                                              last - first);
    }
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
