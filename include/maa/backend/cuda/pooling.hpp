// Pooling over the positions of a sequence: a summary that does not depend on their order.
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

static_assert(sizeof(int) == sizeof(std::int32_t));

// Mean and maximum over positions: x [batch, length, channels] -> y [batch, 2 * channels], the means, then
// the maxima; argmax [batch, channels] gets the position of each maximum, the first of equal ones.
inline void mean_max_pool_forward(const Backend& backend, InSeq x, Out y,
                                  MatrixView<OnDevice<std::int32_t>> argmax) {
  require(x.length > 0, "mean_max_pool_forward: expected at least one position, found none");
  require_shape(y, x.batch, 2 * x.channels, "mean_max_pool_forward: y");
  require_shape(argmax, x.batch, x.channels, "mean_max_pool_forward: argmax");
  backend.launch(kernels::mean_max_pool_forward_kernel, x.batch * x.channels,
                 kernels::PoolForwardArguments{raw(x.data), raw(y.data), raw(argmax.data), x.length,
                                               x.channels, y.stride, argmax.stride});
}

// dy [batch, 2 * channels] -> dx (overwritten): every position gets an equal share of the mean's gradient,
// the maximum's goes to where it was.
inline void mean_max_pool_backward(const Backend& backend, In dy,
                                   MatrixView<const OnDevice<std::int32_t>> argmax, OutSeq dx) {
  require_shape(dy, dx.batch, 2 * dx.channels, "mean_max_pool_backward: dy");
  require_shape(argmax, dx.batch, dx.channels, "mean_max_pool_backward: argmax");
  backend.launch(kernels::mean_max_pool_backward_kernel, dx.size(),
                 kernels::PoolBackwardArguments{raw(dy.data), raw(argmax.data), raw(dx.data), dx.length,
                                                dx.channels, dy.stride, argmax.stride});
}

}  // namespace cuda
MAA_NAMESPACE_END
