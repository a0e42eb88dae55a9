// Numbers in a device's memory, as types of their own: a view of host memory handed to a device op, or the
// other way round, does not compile.
#pragma once

#include <maa/core/views.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// The element type of arrays in device memory. Host code forms views and addresses of it as of any other; the
// number itself is out of reach.
template <class T>
class OnDevice {
  T value_;
};

using Real = OnDevice<float>;

// Inputs and outputs of ops.
using In = MatrixView<const Real>;
using Out = MatrixView<Real>;
using InSeq = SequenceView<const Real>;
using OutSeq = SequenceView<Real>;
using InSpan = std::span<const Real>;
using OutSpan = std::span<Real>;

// The address as kernels see it. Not to be dereferenced on the host.
template <class T>
T* raw(OnDevice<T>* address) {
  return reinterpret_cast<T*>(address);
}
template <class T>
const T* raw(const OnDevice<T>* address) {
  return reinterpret_cast<const T*>(address);
}

template <class T>
inline constexpr bool is_on_device = false;
template <class T>
inline constexpr bool is_on_device<OnDevice<T>> = true;

}  // namespace cuda

MAA_NAMESPACE_END
