// Group normalisation over sequences (Wu & He, 2018) with what follows it in the denoiser's blocks, and layer
// normalisation over rows (Ba et al., 2016).
//
//     x_hat = (x - mean) / sqrt(var + epsilon),  y = gain * x_hat + bias
//     dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + epsilon)  with g = gain * dy
//
// where mean and (biased) variance run over one group of channels and all positions of one sample.
#pragma once

#include <maa/backend/cpu/loops.hpp>
#include <maa/kernels/norm_table.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

template <class T>
void norm_forward(const Backend& backend, Index batch, const kernels::NormForward<T>& p) {
  const Index elements = p.length * p.groups * p.group_size;
  for_chunks(backend.pool(), batch, rows_per_task(elements), [&](Index, Index first, Index last) {
    if constexpr (std::is_same_v<T, float>) {
      kernels::norm_for(backend.isa()).forward(p, first, last);
    } else {
      kernels::reference::norm_forward(p, first, last);
    }
  });
}

// dgain, dbias and dx_sums (the sum of dx over samples and positions) accumulate; each may be null.
template <class T>
void norm_backward(const Backend& backend, Index batch, const kernels::NormBackward<T>& p, T* dgain, T* dbias,
                   T* dx_sums) {
  const Index channels = p.groups * p.group_size;
  const bool summed = dgain != nullptr || dbias != nullptr || dx_sums != nullptr;
  // Every chunk sums on its own; 16 of them keep that memory small.
  const Index chunk = std::max(rows_per_task(p.length * channels), (batch + 15) / 16);
  const Index chunks = (batch + chunk - 1) / chunk;
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const auto parts = scratch.matrix<T>(summed ? chunks : 0, 3 * channels);
  for_chunks(backend.pool(), batch, chunk, [&](Index i, Index first, Index last) {
    T* sums = nullptr;
    if (summed) {
      sums = parts.row(i);
      std::fill_n(sums, parts.cols, T(0));
    }
    if constexpr (std::is_same_v<T, float>) {
      kernels::norm_for(backend.isa()).backward(p, first, last, sums);
    } else {
      kernels::reference::norm_backward(p, first, last, sums);
    }
  });
  if (!summed) {
    return;
  }
  constexpr Index columns_per_task = 512;
  for_chunks(backend.pool(), channels, columns_per_task, [&](Index, Index first, Index last) {
    T* const totals[] = {dgain, dbias, dx_sums};
    for (Index k = 0; k < 3; ++k) {
      if (totals[k] == nullptr) {
        continue;
      }
      const T* from = parts.data + k * channels + first;
      if constexpr (std::is_same_v<T, float>) {
        kernels::norm_for(backend.isa())
            .column_sums(from, parts.stride, parts.rows, last - first, totals[k] + first);
      } else {
        kernels::reference::column_sums(from, parts.stride, parts.rows, last - first, totals[k] + first);
      }
    }
  });
}

inline void check_groups(Index channels, Index groups, const char* op) {
  require(groups >= 1 && channels >= 1 && channels % groups == 0, op, ": expected groups that divide the ",
          channels, " channels, found ", groups);
}

// The group norm of a batch of sequences, whose rows may be strided.
template <class T>
kernels::NormForward<T> forward_arguments(Index groups, Index length, double epsilon, MatrixView<const T> x,
                                          const T* gain, const T* bias, MatrixView<T> y,
                                          MatrixView<T> statistics) {
  kernels::NormForward<T> p{};
  p.groups = groups;
  p.group_size = x.cols / groups;
  p.length = length;
  p.epsilon = static_cast<T>(epsilon);
  p.x = x.data;
  p.x_row = x.stride;
  p.gain = gain;
  p.bias = bias;
  p.y = y.data;
  p.y_row = y.stride;
  p.statistics = statistics.data;
  p.statistics_row = statistics.stride;
  return p;
}

template <class T>
kernels::NormBackward<T> backward_arguments(Index groups, Index length, MatrixView<const T> x,
                                            MatrixView<const T> statistics, const T* gain,
                                            MatrixView<const T> dy, MatrixView<T> dx) {
  kernels::NormBackward<T> p{};
  p.groups = groups;
  p.group_size = x.cols / groups;
  p.length = length;
  p.x = x.data;
  p.x_row = x.stride;
  p.statistics = statistics.data;
  p.statistics_row = statistics.stride;
  p.gain = gain;
  p.dy = dy.data;
  p.dy_row = dy.stride;
  p.dx = dx.data;
  p.dx_row = dx.stride;
  return p;
}

}  // namespace detail

// Group norm, Mish, FiLM and a residual in one pass:
//
//     y = scale * Mish(gain * x_hat + bias) + shift + residual
//
// x [batch, length, channels]; gain, bias [channels], null for 1 and 0; scale_bias [batch, 2 * channels]: the
// scales, then the shifts, or no data for 1 and 0; residual and y [batch * length, channels], rows may be
// strided; residual without data stands for 0. statistics [batch, 2 * groups]: the means of the groups, then
// their reciprocal standard deviations, which the backward op needs. y may be x or residual.
template <class T>
void norm_mish_forward(const Backend& backend, Index groups, double epsilon, InSeq<T> x,
                       const std::type_identity_t<T>* gain, const std::type_identity_t<T>* bias,
                       In<T> scale_bias, In<T> residual, MatrixView<T> y,
                       MatrixView<std::type_identity_t<T>> statistics) {
  detail::check_groups(x.channels, groups, "norm_mish_forward");
  require_shape(y, x.batch * x.length, x.channels, "norm_mish_forward: y");
  require_shape(statistics, x.batch, 2 * groups, "norm_mish_forward: statistics");
  auto arguments =
      detail::forward_arguments<T>(groups, x.length, epsilon, x.flat(), gain, bias, y, statistics);
  arguments.mish = true;
  if (scale_bias.data != nullptr) {
    require_shape(scale_bias, x.batch, 2 * x.channels, "norm_mish_forward: scale_bias");
    arguments.film = scale_bias.data;
    arguments.film_row = scale_bias.stride;
  }
  if (residual.data != nullptr) {
    require_shape(residual, x.batch * x.length, x.channels, "norm_mish_forward: residual");
    arguments.residual = residual.data;
    arguments.residual_row = residual.stride;
  }
  detail::norm_forward(backend, x.batch, arguments);
}

// Its gradients, from the inputs and statistics of the forward pass; the residual's is dy. dy [batch *
// length, channels], rows may be strided. dx and dscale_bias are overwritten; dgain, dbias and dx_sums
// accumulate, and may be null. dx_sums [channels] is the sum of dx over samples and positions: the gradient
// of the bias of a convolution that made x. dscale_bias has data if scale_bias has. dx may be dy.
template <class T>
void norm_mish_backward(const Backend& backend, Index groups, InSeq<T> x, In<T> statistics,
                        const std::type_identity_t<T>* gain, const std::type_identity_t<T>* bias,
                        In<T> scale_bias, In<T> dy, SequenceView<T> dx,
                        MatrixView<std::type_identity_t<T>> dscale_bias, std::type_identity_t<T>* dgain,
                        std::type_identity_t<T>* dbias, std::type_identity_t<T>* dx_sums) {
  detail::check_groups(x.channels, groups, "norm_mish_backward");
  require_shape(statistics, x.batch, 2 * groups, "norm_mish_backward: statistics");
  require_shape(dy, x.batch * x.length, x.channels, "norm_mish_backward: dy");
  require_shape(dx, x.batch, x.length, x.channels, "norm_mish_backward: dx");
  auto arguments = detail::backward_arguments<T>(groups, x.length, x.flat(), statistics, gain, dy, dx.flat());
  arguments.mish = true;
  arguments.bias = bias;
  if (scale_bias.data != nullptr) {
    require_shape(scale_bias, x.batch, 2 * x.channels, "norm_mish_backward: scale_bias");
    require_shape(dscale_bias, x.batch, 2 * x.channels, "norm_mish_backward: dscale_bias");
    arguments.film = scale_bias.data;
    arguments.film_row = scale_bias.stride;
    arguments.dfilm = dscale_bias.data;
    arguments.dfilm_row = dscale_bias.stride;
  }
  detail::norm_backward<T>(backend, x.batch, arguments, dgain, dbias, dx_sums);
}

// x, y [rows, channels]; gain, bias [channels], null for 1 and 0; statistics [rows, 2]: mean and reciprocal
// standard deviation, which the backward op needs. y may be x.
template <class T>
void layer_norm_forward(const Backend& backend, double epsilon, In<T> x, const std::type_identity_t<T>* gain,
                        const std::type_identity_t<T>* bias, MatrixView<T> y,
                        MatrixView<std::type_identity_t<T>> statistics) {
  detail::check_groups(x.cols, 1, "layer_norm_forward");
  require_shape(y, x.rows, x.cols, "layer_norm_forward: y");
  require_shape(statistics, x.rows, 2, "layer_norm_forward: statistics");
  detail::norm_forward(backend, x.rows,
                       detail::forward_arguments<T>(1, 1, epsilon, x, gain, bias, y, statistics));
}

// dx is overwritten unless its data is null; dgain and dbias accumulate, and may be null. dx may be dy.
template <class T>
void layer_norm_backward(const Backend& backend, In<T> x, In<T> statistics,
                         const std::type_identity_t<T>* gain, In<T> dy, MatrixView<T> dx,
                         std::type_identity_t<T>* dgain, std::type_identity_t<T>* dbias) {
  detail::check_groups(x.cols, 1, "layer_norm_backward");
  require_shape(dy, x.rows, x.cols, "layer_norm_backward: dy");
  require_shape(statistics, x.rows, 2, "layer_norm_backward: statistics");
  if (dx.data != nullptr) {
    require_shape(dx, x.rows, x.cols, "layer_norm_backward: dx");
  }
  const auto arguments = detail::backward_arguments<T>(1, 1, x, statistics, gain, dy, dx);
  detail::norm_backward<T>(backend, x.rows, arguments, dgain, dbias, nullptr);
}

}  // namespace cpu
MAA_NAMESPACE_END
