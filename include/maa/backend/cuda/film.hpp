// Feature-wise linear modulation (Perez et al., 2018): y = scale * x + bias, one scale and bias per sample
// and channel.
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// x, y [batch, length, channels]; scale_bias [batch, 2 * channels]: the scales, then the biases. y may be x.
inline void film_forward(const Backend& backend, InSeq x, In scale_bias, OutSeq y) {
  require_shape(y, x.batch, x.length, x.channels, "film_forward: y");
  require_shape(scale_bias, x.batch, 2 * x.channels, "film_forward: scale_bias");
  backend.launch(kernels::film_forward_kernel, x.size(),
                 kernels::FilmArguments{raw(x.data), raw(scale_bias.data), nullptr, raw(y.data), nullptr,
                                        x.length, x.channels, scale_bias.stride, 0});
}

// dx = scale * dy, dscale = sum over positions of dy * x, dbias = sum over positions of dy; all overwritten.
// dx may be dy.
inline void film_backward(const Backend& backend, InSeq x, In scale_bias, InSeq dy, OutSeq dx,
                          Out dscale_bias) {
  require_shape(dy, x.batch, x.length, x.channels, "film_backward: dy");
  require_shape(dx, x.batch, x.length, x.channels, "film_backward: dx");
  require_shape(scale_bias, x.batch, 2 * x.channels, "film_backward: scale_bias");
  require_shape(dscale_bias, x.batch, 2 * x.channels, "film_backward: dscale_bias");
  backend.launch(kernels::film_backward_kernel, x.batch * x.channels,
                 kernels::FilmArguments{raw(x.data), raw(scale_bias.data), raw(dy.data), raw(dx.data),
                                        raw(dscale_bias.data), x.length, x.channels, scale_bias.stride,
                                        dscale_bias.stride});
}

}  // namespace cuda
MAA_NAMESPACE_END
