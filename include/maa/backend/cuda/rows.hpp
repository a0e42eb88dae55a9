// Ops that treat every row or column of a matrix with a number of its own: what lies between a generator's
// models. The numbers come from the host, and may differ from call to call without a new graph.
#pragma once

#include <maa/backend/cuda/backend.hpp>
#include <maa/backend/row_checks.hpp>
#include <maa/backend/sampler_coefficients.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

using maa::detail::check_count;

// Two spans one after the other in device memory. One upload: a second one may end the first one's life.
template <class T>
const T* uploaded_pair(const Backend& backend, std::span<const T> first, std::span<const T> second) {
  std::vector<T> both(first.begin(), first.end());
  both.insert(both.end(), second.begin(), second.end());
  return raw(backend.context().transient(std::span<const T>(both)));
}

// Runs the kernel on x with numbers for its columns; nothing if there are none.
inline void map_columns(const Backend& backend, const Kernel<kernels::ColumnsArguments>& kernel,
                        std::span<const float> first, std::span<const float> second, Out x, const char* op) {
  if (first.empty()) {
    return;
  }
  check_count(first.size(), x.cols, op, "columns");
  if (x.size() > 0) {
    const float* const numbers = uploaded_pair(backend, first, second);
    backend.launch(kernel, x.size(), kernels::ColumnsArguments{numbers, raw(x.data), x.cols, x.stride});
  }
}

inline kernels::ScaledArguments scaled_arguments(float number, In from, Out to) {
  return {raw(from.data), raw(to.data), to.cols, from.stride, to.stride, number, 0};
}

}  // namespace detail

// x(i, j) *= factors[i].
inline void scale_rows(const Backend& backend, std::span<const double> factors, Out x) {
  detail::check_count(factors.size(), x.rows, "scale_rows", "factors");
  if (x.size() == 0) {
    return;
  }
  const double* const uploaded = raw(backend.context().transient(factors));
  backend.launch(
      kernels::scale_rows_kernel, x.size(),
      kernels::RowsArguments{uploaded, nullptr, nullptr, raw(x.data), x.rows, x.cols, 0, 0, x.stride, 0});
}

// out(i, j) = clamp(a[i] x(i, j) + b[i] y(i, j), -limit, limit), in double; limit may be infinity. out may be
// x or y.
inline void combine_rows(const Backend& backend, std::span<const double> a, In x, std::span<const double> b,
                         In y, double limit, Out out) {
  require_shape(x, out.rows, out.cols, "combine_rows: x");
  require_shape(y, out.rows, out.cols, "combine_rows: y");
  detail::check_count(a.size(), out.rows, "combine_rows", "factors of x");
  detail::check_count(b.size(), out.rows, "combine_rows", "factors of y");
  if (out.size() == 0) {
    return;
  }
  const double* const uploaded = detail::uploaded_pair(backend, a, b);
  backend.launch(kernels::combine_rows_kernel, out.size(),
                 kernels::RowsArguments{uploaded, raw(x.data), raw(y.data), raw(out.data), out.rows, out.cols,
                                        x.stride, y.stride, out.stride, limit});
}

// Gradients through combine_rows' clamp: dx(i, j) *= factors[i], or 0 where |clamped(i, j)| has reached the
// limit.
inline void scale_rows_inside(const Backend& backend, In clamped, double limit,
                              std::span<const double> factors, Out dx) {
  require_shape(clamped, dx.rows, dx.cols, "scale_rows_inside: clamped");
  detail::check_count(factors.size(), dx.rows, "scale_rows_inside", "factors");
  if (dx.size() == 0) {
    return;
  }
  const double* const uploaded = raw(backend.context().transient(factors));
  backend.launch(kernels::scale_rows_inside_kernel, dx.size(),
                 kernels::RowsArguments{uploaded, raw(clamped.data), nullptr, raw(dx.data), dx.rows, dx.cols,
                                        clamped.stride, 0, dx.stride, limit});
}

// Row i of `to` = row rows[i] of `from`. The two must not overlap.
inline void gather_rows(const Backend& backend, In from, std::span<const Index> rows, Out to) {
  maa::detail::check_gathered(from, rows, to);
  if (to.size() == 0) {
    return;
  }
  const std::vector<kernels::Int> numbers(rows.begin(), rows.end());
  const auto* const uploaded = raw(backend.context().transient(std::span<const kernels::Int>(numbers)));
  backend.launch(
      kernels::gather_rows_kernel, to.size(),
      kernels::GatherRowsArguments{uploaded, raw(from.data), raw(to.data), to.cols, from.stride, to.stride});
}

// Means over groups of consecutive rows of equal size: rows [groups * size, n] -> means [groups, n].
inline void mean_of_groups(const Backend& backend, In rows, Out means) {
  const Index size = maa::detail::size_of_groups(rows, means, "mean_of_groups");
  backend.launch(
      kernels::mean_of_groups_kernel, means.size(),
      kernels::GroupsArguments{raw(rows.data), raw(means.data), size, means.cols, rows.stride, means.stride});
}
// drows (overwritten) = dmeans / size.
inline void mean_of_groups_backward(const Backend& backend, In dmeans, Out drows) {
  const Index size = maa::detail::size_of_groups(drows, dmeans, "mean_of_groups_backward");
  backend.launch(kernels::mean_of_groups_backward_kernel, drows.size(),
                 kernels::GroupsArguments{raw(dmeans.data), raw(drows.data), size, drows.cols, dmeans.stride,
                                          drows.stride});
}

// Per column j, nothing for empty spans: x = (x - offset) scale; its inverse x / scale + offset; x *= factor;
// x = offset + factor x.
inline void standardize_columns(const Backend& backend, std::span<const float> offset,
                                std::span<const float> scale, Out x) {
  detail::check_count(scale.size(), std::ssize(offset), "standardize_columns", "scales");
  detail::map_columns(backend, kernels::standardize_columns_kernel, offset, scale, x, "standardize_columns");
}
inline void unstandardize_columns(const Backend& backend, std::span<const float> offset,
                                  std::span<const float> scale, Out x) {
  detail::check_count(scale.size(), std::ssize(offset), "unstandardize_columns", "scales");
  detail::map_columns(backend, kernels::unstandardize_columns_kernel, offset, scale, x,
                      "unstandardize_columns");
}
inline void scale_columns(const Backend& backend, std::span<const float> factor, Out x) {
  detail::map_columns(backend, kernels::scale_columns_kernel, factor, {}, x, "scale_columns");
}
inline void affine_columns(const Backend& backend, std::span<const float> factor,
                           std::span<const float> offset, Out x) {
  detail::check_count(factor.size(), std::ssize(offset), "affine_columns", "factors");
  detail::map_columns(backend, kernels::affine_columns_kernel, factor, offset, x, "affine_columns");
}

// x *= factor.
inline void scale(const Backend& backend, float factor, Out x) {
  backend.launch(kernels::scale_kernel, x.size(), detail::scaled_arguments(factor, In(), x));
}
// to += factor from.
inline void add_scaled(const Backend& backend, float factor, In from, Out to) {
  require_shape(from, to.rows, to.cols, "add_scaled: from");
  backend.launch(kernels::add_scaled_kernel, to.size(), detail::scaled_arguments(factor, from, to));
}
// to = from, limited to [-limit, limit]; to may be from.
inline void clamp(const Backend& backend, float limit, In from, Out to) {
  require_shape(from, to.rows, to.cols, "clamp: from");
  backend.launch(kernels::clamp_kernel, to.size(), detail::scaled_arguments(limit, from, to));
}
// to = from'; to += from'. The two must not overlap.
inline void transpose(const Backend& backend, In from, Out to) {
  require_shape(from, to.cols, to.rows, "transpose: from");
  backend.launch(kernels::transpose_kernel, to.size(), detail::scaled_arguments(0, from, to));
}
inline void add_transposed(const Backend& backend, In from, Out to) {
  require_shape(from, to.cols, to.rows, "add_transposed: from");
  backend.launch(kernels::add_transposed_kernel, to.size(), detail::scaled_arguments(0, from, to));
}

// Classifier-free guidance (Ho and Salimans, 2022): prediction = without + scale (prediction - without), in
// double.
inline void guide(const Backend& backend, In without, double scale, Out prediction) {
  require_shape(without, prediction.rows, prediction.cols, "guide: without");
  backend.launch(kernels::guide_kernel, prediction.size(),
                 kernels::GuideArguments{raw(without.data), raw(prediction.data), prediction.cols,
                                         without.stride, prediction.stride, scale});
}

// x to the previous timestep, in place and in double per element; `noise` is read only if c.noise > 0.
inline void sampler_step(const Backend& backend, const SamplerCoefficients& c, In prediction, In noise,
                         Out x) {
  require_shape(prediction, x.rows, x.cols, "sampler step: prediction");
  if (c.noise > 0) {
    require_shape(noise, x.rows, x.cols, "sampler step: noise");
  }
  backend.launch(kernels::sampler_step_kernel, x.size(),
                 kernels::SamplerStepArguments{raw(prediction.data), c.noise > 0 ? raw(noise.data) : nullptr,
                                               raw(x.data), x.cols, prediction.stride, noise.stride, x.stride,
                                               c.x0_x, c.x0_prediction, c.epsilon_x, c.epsilon_prediction,
                                               c.limit, c.clean, c.direction, c.current, c.noise});
}

}  // namespace cuda
MAA_NAMESPACE_END
