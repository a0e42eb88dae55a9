// Group normalisation over sequences (Wu & He, 2018) and layer normalisation over rows (Ba et al., 2016).
//
//     x_hat = (x - mean) / sqrt(var + epsilon),  y = gain * x_hat + bias
//     dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + epsilon)  with g = gain * dy
//
// where mean and (biased) variance run over one group of channels and all positions of one sample.
#pragma once

#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/loops.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// How a sample, one row of `length * channels` numbers, is cut in groups: group g has channels [g * size,
// (g+1) * size) of every position. Layer normalisation is one group and length 1.
struct NormGroups {
  Index groups = 1;
  Index length = 1;
  Index channels = 0;

  Index size() const { return channels / groups; }
  Index count() const { return length * size(); }  // numbers normalised together
};

template <class T, class Value>
T group_sum(const NormGroups& shape, const Value& value) {
  T sum = 0;
  for (Index l = 0; l < shape.length; ++l) {
    sum += lane_sum<T>(shape.size(), [&](Index c) { return value(l * shape.channels + c, c); });
  }
  return sum;
}

// `values`, or `count` times `otherwise` if that is null.
template <class T>
const T* or_constant(const T* values, Index count, T otherwise, Workspace& scratch) {
  if (values != nullptr) {
    return values;
  }
  auto* constants = scratch.take<T>(count);
  std::fill_n(constants, count, otherwise);
  return constants;
}

// x, y [batch, length * channels]; statistics [batch, 2 * groups]: means, then reciprocal standard
// deviations.
template <class T>
void norm_forward(const Backend& backend, NormGroups shape, double epsilon, MatrixView<const T> x,
                  const T* gain, const T* bias, MatrixView<T> y, MatrixView<T> statistics) {
  const Workspace::Scope scope(thread_scratch());
  gain = or_constant(gain, shape.channels, T(1), thread_scratch());
  bias = or_constant(bias, shape.channels, T(0), thread_scratch());
  const T count = static_cast<T>(shape.count());
  for_chunks(backend.pool(), x.rows, rows_per_task(x.cols), [=](Index, Index first, Index last) {
    for (Index s = first; s < last; ++s) {
      for (Index g = 0; g < shape.groups; ++g) {
        const Index channel = g * shape.size();
        const T* from = x.row(s) + channel;
        const T mean = group_sum<T>(shape, [=](Index i, Index) { return from[i]; }) / count;
        const T variance =
            group_sum<T>(shape, [=](Index i, Index) { return (from[i] - mean) * (from[i] - mean); }) / count;
        const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(variance) + epsilon));
        statistics(s, g) = mean;
        statistics(s, shape.groups + g) = scale;
        for (Index l = 0; l < shape.length; ++l) {
          const Index offset = l * shape.channels;
          lane_map(shape.size(), y.row(s) + channel + offset, [=](Index c) {
            return (from[offset + c] - mean) * scale * gain[channel + c] + bias[channel + c];
          });
        }
      }
    }
  });
}

template <class T>
void norm_backward_input(const Backend& backend, NormGroups shape, MatrixView<const T> x,
                         MatrixView<const T> statistics, const T* gain, MatrixView<const T> dy,
                         MatrixView<T> dx) {
  const Workspace::Scope scope(thread_scratch());
  gain = or_constant(gain, shape.channels, T(1), thread_scratch());
  const T count = static_cast<T>(shape.count());
  for_chunks(backend.pool(), x.rows, rows_per_task(x.cols), [=](Index, Index first, Index last) {
    for (Index s = first; s < last; ++s) {
      for (Index g = 0; g < shape.groups; ++g) {
        const Index channel = g * shape.size();
        const T* from = x.row(s) + channel;
        const T* upstream = dy.row(s) + channel;
        const T* gains = gain + channel;
        const T mean = statistics(s, g);
        const T scale = statistics(s, shape.groups + g);
        const T mean_g =
            group_sum<T>(shape, [=](Index i, Index c) { return upstream[i] * gains[c]; }) / count;
        const T mean_gx =
            group_sum<T>(
                shape, [=](Index i, Index c) { return upstream[i] * gains[c] * (from[i] - mean) * scale; }) /
            count;
        for (Index l = 0; l < shape.length; ++l) {
          const Index offset = l * shape.channels;
          lane_map(shape.size(), dx.row(s) + channel + offset, [=](Index c) {
            const T x_hat = (from[offset + c] - mean) * scale;
            return scale * (upstream[offset + c] * gains[c] - mean_g - x_hat * mean_gx);
          });
        }
      }
    }
  });
}

// dgain += sum of dy * x_hat, dbias += sum of dy, over samples and positions; either may be null.
template <class T>
void norm_backward_parameters(const Backend& backend, NormGroups shape, MatrixView<const T> x,
                              MatrixView<const T> statistics, MatrixView<const T> dy, T* dgain, T* dbias) {
  if (dgain != nullptr) {
    // Parallel over parts of groups: every sum is formed by one task in order of positions and samples.
    const Index parts = (shape.size() + columns_per_task - 1) / columns_per_task;
    backend.pool().for_each(shape.groups * parts, [=](Index task) {
      const Index g = task / parts;
      const Index first = g * shape.size() + task % parts * columns_per_task;
      const Index count = std::min(columns_per_task, (g + 1) * shape.size() - first);
      for (Index l = 0; l < shape.length; ++l) {
        add_column_sums(x.rows, l * shape.channels + first, count, dgain + first, [=](Index s, Index c) {
          return dy(s, c) * (x(s, c) - statistics(s, g)) * statistics(s, shape.groups + g);
        });
      }
    });
  }
  if (dbias != nullptr) {
    for (Index l = 0; l < shape.length; ++l) {
      cpu::add_column_sums(backend, dy.col_range(l * shape.channels, shape.channels), dbias);
    }
  }
}

inline void check_groups(Index channels, Index groups, const char* op) {
  require(groups >= 1 && channels >= 1 && channels % groups == 0, op, ": expected groups that divide the ",
          channels, " channels, found ", groups);
}

}  // namespace detail

// x, y [batch, length, channels]; gain, bias [channels], null for 1 and 0; statistics [batch, 2 * groups]:
// the means of the groups, then their reciprocal standard deviations, which the backward op needs. y may be
// x.
template <class T>
void group_norm_forward(const Backend& backend, Index groups, double epsilon, InSeq<T> x,
                        const std::type_identity_t<T>* gain, const std::type_identity_t<T>* bias,
                        SequenceView<T> y, MatrixView<std::type_identity_t<T>> statistics) {
  detail::check_groups(x.channels, groups, "group_norm_forward");
  require_shape(y, x.batch, x.length, x.channels, "group_norm_forward: y");
  require_shape(statistics, x.batch, 2 * groups, "group_norm_forward: statistics");
  detail::norm_forward<T>(backend, {groups, x.length, x.channels}, epsilon, x.per_sample(), gain, bias,
                          y.per_sample(), statistics);
}

// dx is overwritten unless its data is null; dgain and dbias accumulate, and may be null. dx may be dy.
template <class T>
void group_norm_backward(const Backend& backend, Index groups, InSeq<T> x, In<T> statistics,
                         const std::type_identity_t<T>* gain, InSeq<T> dy, SequenceView<T> dx,
                         std::type_identity_t<T>* dgain, std::type_identity_t<T>* dbias) {
  detail::check_groups(x.channels, groups, "group_norm_backward");
  require_shape(dy, x.batch, x.length, x.channels, "group_norm_backward: dy");
  require_shape(statistics, x.batch, 2 * groups, "group_norm_backward: statistics");
  const detail::NormGroups shape{groups, x.length, x.channels};
  detail::norm_backward_parameters<T>(backend, shape, x.per_sample(), statistics, dy.per_sample(), dgain,
                                      dbias);
  if (dx.data != nullptr) {
    require_shape(dx, x.batch, x.length, x.channels, "group_norm_backward: dx");
    detail::norm_backward_input<T>(backend, shape, x.per_sample(), statistics, gain, dy.per_sample(),
                                   dx.per_sample());
  }
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
  detail::norm_forward<T>(backend, {1, 1, x.cols}, epsilon, x, gain, bias, y, statistics);
}

// dx is overwritten unless its data is null; dgain and dbias accumulate, and may be null. dx may be dy.
template <class T>
void layer_norm_backward(const Backend& backend, In<T> x, In<T> statistics,
                         const std::type_identity_t<T>* gain, In<T> dy, MatrixView<T> dx,
                         std::type_identity_t<T>* dgain, std::type_identity_t<T>* dbias) {
  detail::check_groups(x.cols, 1, "layer_norm_backward");
  require_shape(dy, x.rows, x.cols, "layer_norm_backward: dy");
  require_shape(statistics, x.rows, 2, "layer_norm_backward: statistics");
  detail::norm_backward_parameters<T>(backend, {1, 1, x.cols}, x, statistics, dy, dgain, dbias);
  if (dx.data != nullptr) {
    require_shape(dx, x.rows, x.cols, "layer_norm_backward: dx");
    detail::norm_backward_input<T>(backend, {1, 1, x.cols}, x, statistics, gain, dy, dx);
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
