// Pooling over the positions of a sequence: a summary that does not depend on their order.
#pragma once

#include <maa/backend/cpu/loops.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// Mean and maximum over positions: x [batch, length, channels] -> y [batch, 2 * channels], the means, then
// the maxima; argmax [batch, channels] gets the position of each maximum, the first of equal ones.
template <class T>
void mean_max_pool_forward(const Backend& backend, InSeq<T> x, MatrixView<T> y,
                           MatrixView<std::int32_t> argmax) {
  require(x.length > 0, "mean_max_pool_forward: expected at least one position, found none");
  require_shape(y, x.batch, 2 * x.channels, "mean_max_pool_forward: y");
  require_shape(argmax, x.batch, x.channels, "mean_max_pool_forward: argmax");
  const Index channels = x.channels;
  for_chunks(backend.pool(), x.batch, detail::rows_per_task(x.length * channels),
             [=](Index, Index first, Index last) {
               for (Index i = first; i < last; ++i) {
                 T* mean = y.row(i);
                 T* maximum = mean + channels;
                 std::int32_t* where = argmax.row(i);
                 const T* from = x.data + i * x.length * channels;
                 std::copy_n(from, channels, mean);
                 std::copy_n(from, channels, maximum);
                 std::fill_n(where, channels, 0);
                 for (std::int32_t l = 1; l < x.length; ++l) {
                   from += channels;
                   detail::lane_map(channels, mean, [=](Index c) { return mean[c] + from[c]; });
                   detail::lane_map(channels, where,
                                    [=](Index c) { return from[c] > maximum[c] ? l : where[c]; });
                   detail::lane_map(channels, maximum,
                                    [=](Index c) { return from[c] > maximum[c] ? from[c] : maximum[c]; });
                 }
                 const T share = T(1) / static_cast<T>(x.length);
                 detail::lane_map(channels, mean, [=](Index c) { return mean[c] * share; });
               }
             });
}

// dy [batch, 2 * channels] -> dx (overwritten): every position gets an equal share of the mean's gradient,
// the maximum's goes to where it was.
template <class T>
void mean_max_pool_backward(const Backend& backend, In<T> dy, MatrixView<const std::int32_t> argmax,
                            SequenceView<T> dx) {
  require_shape(dy, dx.batch, 2 * dx.channels, "mean_max_pool_backward: dy");
  require_shape(argmax, dx.batch, dx.channels, "mean_max_pool_backward: argmax");
  const Index channels = dx.channels;
  for_chunks(backend.pool(), dx.batch, detail::rows_per_task(dx.length * channels),
             [=](Index, Index first, Index last) {
               const T share = T(1) / static_cast<T>(dx.length);
               for (Index i = first; i < last; ++i) {
                 const T* dmean = dy.row(i);
                 const T* dmaximum = dmean + channels;
                 const std::int32_t* where = argmax.row(i);
                 for (std::int32_t l = 0; l < dx.length; ++l) {
                   detail::lane_map(channels, dx.data + (i * dx.length + l) * channels, [=](Index c) {
                     return dmean[c] * share + (where[c] == l ? dmaximum[c] : T(0));
                   });
                 }
               }
             });
}

}  // namespace cpu
MAA_NAMESPACE_END
