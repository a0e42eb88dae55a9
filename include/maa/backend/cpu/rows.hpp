// Ops that treat every row or column of a matrix with a number of its own: what lies between a generator's
// models. The numbers come from the host.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/backend/row_checks.hpp>
#include <maa/backend/sampler_coefficients.hpp>

#include <algorithm>
#include <array>
#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

using maa::detail::check_count;

// x(i, j) = value(i, j, x(i, j)).
template <class T, class Value>
void map_matrix(MatrixView<T> x, const Value& value) {
  for (Index i = 0; i < x.rows; ++i) {
    T* const row = x.row(i);
    for (Index j = 0; j < x.cols; ++j) {
      row[j] = value(i, j, row[j]);
    }
  }
}
template <class T, class Value>
void map_columns(std::span<const float> of, MatrixView<T> x, const char* op, const Value& value) {
  if (of.empty()) {
    return;
  }
  check_count(of.size(), x.cols, op, "columns");
  map_matrix(x, [&](Index, Index j, T old) { return value(static_cast<std::size_t>(j), old); });
}

}  // namespace detail

// x(i, j) *= factors[i].
template <class T>
void scale_rows(const Backend&, std::span<const double> factors, MatrixView<T> x) {
  detail::check_count(factors.size(), x.rows, "scale_rows", "factors");
  detail::map_matrix(
      x, [&](Index i, Index, T old) { return static_cast<T>(factors[static_cast<std::size_t>(i)]) * old; });
}

// out(i, j) = clamp(a[i] x(i, j) + b[i] y(i, j), -limit, limit), in double; limit may be infinity. out may be
// x or y.
template <class T>
void combine_rows(const Backend&, std::span<const double> a, In<T> x, std::span<const double> b, In<T> y,
                  double limit, MatrixView<T> out) {
  require_shape(x, out.rows, out.cols, "combine_rows: x");
  require_shape(y, out.rows, out.cols, "combine_rows: y");
  detail::check_count(a.size(), out.rows, "combine_rows", "factors of x");
  detail::check_count(b.size(), out.rows, "combine_rows", "factors of y");
  for (Index i = 0; i < out.rows; ++i) {
    const double of_x = a[static_cast<std::size_t>(i)];
    const double of_y = b[static_cast<std::size_t>(i)];
    for (Index j = 0; j < out.cols; ++j) {
      const double value = of_x * static_cast<double>(x(i, j)) + of_y * static_cast<double>(y(i, j));
      out(i, j) = static_cast<T>(std::clamp(value, -limit, limit));
    }
  }
}

// Gradients through combine_rows' clamp: dx(i, j) *= factors[i], or 0 where |clamped(i, j)| has reached the
// limit.
template <class T>
void scale_rows_inside(const Backend&, In<T> clamped, double limit, std::span<const double> factors,
                       MatrixView<T> dx) {
  require_shape(clamped, dx.rows, dx.cols, "scale_rows_inside: clamped");
  detail::check_count(factors.size(), dx.rows, "scale_rows_inside", "factors");
  detail::map_matrix(dx, [&](Index i, Index j, T old) {
    const bool outside = std::abs(static_cast<double>(clamped(i, j))) >= limit;
    return outside ? T(0) : static_cast<T>(factors[static_cast<std::size_t>(i)]) * old;
  });
}

// Row i of `to` = row rows[i] of `from`.
template <class T>
void gather_rows(const Backend&, In<T> from, std::span<const Index> rows, MatrixView<T> to) {
  maa::detail::check_gathered(from, rows, to);
  for (Index i = 0; i < to.rows; ++i) {
    std::copy_n(from.row(rows[static_cast<std::size_t>(i)]), to.cols, to.row(i));
  }
}

// Means over groups of consecutive rows of equal size: rows [groups * size, n] -> means [groups, n].
template <class T>
void mean_of_groups(const Backend&, In<T> rows, MatrixView<T> means) {
  const Index size = maa::detail::size_of_groups(rows, means, "mean_of_groups");
  const auto share = static_cast<T>(size);
  detail::map_matrix(means, [&](Index i, Index j, T) {
    T sum = 0;
    for (Index k = 0; k < size; ++k) {
      sum += rows(i * size + k, j) / share;
    }
    return sum;
  });
}
// drows (overwritten) = dmeans / size.
template <class T>
void mean_of_groups_backward(const Backend&, In<T> dmeans, MatrixView<T> drows) {
  const Index size = maa::detail::size_of_groups(drows, dmeans, "mean_of_groups_backward");
  const auto share = static_cast<T>(size);
  detail::map_matrix(drows, [&](Index i, Index j, T) { return dmeans(i / size, j) / share; });
}

// Per column j, nothing for empty spans: x = (x - offset) scale; its inverse x / scale + offset; x *= factor;
// x = offset + factor x.
template <class T>
void standardize_columns(const Backend&, std::span<const float> offset, std::span<const float> scale,
                         MatrixView<T> x) {
  detail::check_count(scale.size(), std::ssize(offset), "standardize_columns", "scales");
  detail::map_columns(offset, x, "standardize_columns",
                      [&](std::size_t j, T old) { return (old - offset[j]) * scale[j]; });
}
template <class T>
void unstandardize_columns(const Backend&, std::span<const float> offset, std::span<const float> scale,
                           MatrixView<T> x) {
  detail::check_count(scale.size(), std::ssize(offset), "unstandardize_columns", "scales");
  detail::map_columns(offset, x, "unstandardize_columns",
                      [&](std::size_t j, T old) { return old / scale[j] + offset[j]; });
}
template <class T>
void scale_columns(const Backend&, std::span<const float> factor, MatrixView<T> x) {
  detail::map_columns(factor, x, "scale_columns", [&](std::size_t j, T old) { return old * factor[j]; });
}
template <class T>
void affine_columns(const Backend&, std::span<const float> factor, std::span<const float> offset,
                    MatrixView<T> x) {
  detail::check_count(factor.size(), std::ssize(offset), "affine_columns", "factors");
  detail::map_columns(offset, x, "affine_columns",
                      [&](std::size_t j, T old) { return offset[j] + factor[j] * old; });
}

// x *= factor.
template <class T>
void scale(const Backend&, std::type_identity_t<T> factor, MatrixView<T> x) {
  detail::map_matrix(x, [=](Index, Index, T old) { return factor * old; });
}
// to += factor from.
template <class T>
void add_scaled(const Backend&, std::type_identity_t<T> factor, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "add_scaled: from");
  detail::map_matrix(to, [&](Index i, Index j, T old) { return old + factor * from(i, j); });
}
// to = from, limited to [-limit, limit].
template <class T>
void clamp(const Backend&, std::type_identity_t<T> limit, In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "clamp: from");
  detail::map_matrix(to, [&](Index i, Index j, T) { return std::clamp(from(i, j), -limit, limit); });
}
// to = from'; to += from'. The two must not overlap.
template <class T>
void transpose(const Backend&, In<T> from, MatrixView<T> to) {
  require_shape(from, to.cols, to.rows, "transpose: from");
  detail::map_matrix(to, [&](Index i, Index j, T) { return from(j, i); });
}
template <class T>
void add_transposed(const Backend&, In<T> from, MatrixView<T> to) {
  require_shape(from, to.cols, to.rows, "add_transposed: from");
  detail::map_matrix(to, [&](Index i, Index j, T old) { return old + from(j, i); });
}

// Classifier-free guidance (Ho and Salimans, 2022): prediction = without + scale (prediction - without), in
// double.
template <class T>
void guide(const Backend&, In<T> without, double scale, MatrixView<T> prediction) {
  require_shape(without, prediction.rows, prediction.cols, "guide: without");
  detail::map_matrix(prediction, [&](Index i, Index j, T old) {
    const auto base = static_cast<double>(without(i, j));
    return static_cast<T>(base + scale * (static_cast<double>(old) - base));
  });
}

// x to the previous timestep, in place and in double per element; `noise` is read only if c.noise > 0.
template <class T>
void sampler_step(const Backend&, const SamplerCoefficients& c, In<T> prediction, In<T> noise,
                  MatrixView<T> x) {
  require_shape(prediction, x.rows, x.cols, "sampler step: prediction");
  if (c.noise > 0) {
    require_shape(noise, x.rows, x.cols, "sampler step: noise");
  }
  detail::map_matrix(x, [&](Index i, Index j, T old) {
    const auto current = static_cast<double>(old);
    const auto predicted = static_cast<double>(prediction(i, j));
    const double epsilon = c.epsilon_x * current + c.epsilon_prediction * predicted;
    const double x0 = std::clamp(c.x0_x * current + c.x0_prediction * predicted, -c.limit, c.limit);
    double value = c.clean * x0 + c.direction * epsilon + c.current * current;
    if (c.noise > 0) {
      value += c.noise * static_cast<double>(noise(i, j));
    }
    return static_cast<T>(value);
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
