// Ops that act on each element alone.
#pragma once

#include <maa/backend/cuda/backend.hpp>
#include <maa/kernels/activation.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

static_assert(static_cast<Index>(Activation::identity) == kernels::ActivationCode::identity &&
              static_cast<Index>(Activation::relu) == kernels::ActivationCode::relu &&
              static_cast<Index>(Activation::elu) == kernels::ActivationCode::elu &&
              static_cast<Index>(Activation::gelu) == kernels::ActivationCode::gelu &&
              static_cast<Index>(Activation::mish) == kernels::ActivationCode::mish &&
              static_cast<Index>(Activation::tanh) == kernels::ActivationCode::tanh);

}  // namespace detail

// y = activation(x); y may be x, else they must not overlap. NaN gives NaN and infinities the limits.
inline void activation_forward(const Backend& backend, Activation activation, InSpan x, OutSpan y) {
  require(x.size() == y.size(), "activation_forward: expected ", x.size(), " outputs, found ", y.size());
  backend.launch(kernels::activation_forward_kernel, std::ssize(y),
                 kernels::ActivationArguments{raw(x.data()), nullptr, raw(y.data()),
                                              static_cast<kernels::Int>(activation)});
}

// dx = dy * activation'(x), from the input x of the forward pass; dx may be dy or x, else they must not
// overlap.
inline void activation_backward(const Backend& backend, Activation activation, InSpan x, InSpan dy,
                                OutSpan dx) {
  require(x.size() == dx.size() && dy.size() == dx.size(),
          "activation_backward: expected x, dy and dx of one size, found ", x.size(), ", ", dy.size(),
          " and ", dx.size());
  backend.launch(kernels::activation_backward_kernel, std::ssize(dx),
                 kernels::ActivationArguments{raw(x.data()), raw(dy.data()), raw(dx.data()),
                                              static_cast<kernels::Int>(activation)});
}

}  // namespace cuda
MAA_NAMESPACE_END
