// Feature-wise linear modulation (Perez et al., 2018): y = scale * x + bias, one scale and bias per sample
// and channel.
#pragma once

#include <maa/backend/cpu/loops.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// x, y [batch, length, channels]; scale_bias [batch, 2 * channels]: the scales, then the biases. y may be x.
template <class T>
void film_forward(const Backend& backend, InSeq<T> x, In<T> scale_bias, SequenceView<T> y) {
  require_shape(y, x.batch, x.length, x.channels, "film_forward: y");
  require_shape(scale_bias, x.batch, 2 * x.channels, "film_forward: scale_bias");
  const auto inputs = x.flat();
  const auto outputs = y.flat();
  for_chunks(backend.pool(), x.batch, detail::rows_per_task(x.length * x.channels),
             [=](Index, Index first, Index last) {
               for (Index row = first * x.length; row < last * x.length; ++row) {
                 const T* from = inputs.row(row);
                 const T* scale = scale_bias.row(row / x.length);
                 const T* bias = scale + x.channels;
                 detail::lane_map(x.channels, outputs.row(row),
                                  [=](Index c) { return scale[c] * from[c] + bias[c]; });
               }
             });
}

// dx = scale * dy, dscale = sum over positions of dy * x, dbias = sum over positions of dy; all overwritten.
// dx may be dy.
template <class T>
void film_backward(const Backend& backend, InSeq<T> x, In<T> scale_bias, InSeq<T> dy, SequenceView<T> dx,
                   MatrixView<std::type_identity_t<T>> dscale_bias) {
  require_shape(dy, x.batch, x.length, x.channels, "film_backward: dy");
  require_shape(dx, x.batch, x.length, x.channels, "film_backward: dx");
  require_shape(scale_bias, x.batch, 2 * x.channels, "film_backward: scale_bias");
  require_shape(dscale_bias, x.batch, 2 * x.channels, "film_backward: dscale_bias");
  const auto inputs = x.flat();
  const auto upstreams = dy.flat();
  const auto gradients = dx.flat();
  for_chunks(
      backend.pool(), x.batch, detail::rows_per_task(x.length * x.channels),
      [=](Index, Index first, Index last) {
        for (Index s = first; s < last; ++s) {
          const T* scale = scale_bias.row(s);
          T* dscale = dscale_bias.row(s);
          T* dbias = dscale + x.channels;
          std::fill_n(dscale, 2 * x.channels, T(0));
          for (Index row = s * x.length; row < (s + 1) * x.length; ++row) {
            const T* from = inputs.row(row);
            const T* upstream = upstreams.row(row);
            detail::lane_map(x.channels, dscale, [=](Index c) { return dscale[c] + upstream[c] * from[c]; });
            detail::lane_map(x.channels, dbias, [=](Index c) { return dbias[c] + upstream[c]; });
            detail::lane_map(x.channels, gradients.row(row), [=](Index c) { return upstream[c] * scale[c]; });
          }
        }
      });
}

}  // namespace cpu
MAA_NAMESPACE_END
