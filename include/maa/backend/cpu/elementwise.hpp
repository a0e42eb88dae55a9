// Ops that act on each element alone.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/kernels/scalar_math.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// y = activation(x); y may be x.
template <class T>
void activation_forward(const Backend&, Activation activation, InSpan<T> x, std::span<T> y) {
  require(x.size() == y.size(), "activation_forward: expected ", x.size(), " outputs, found ", y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = kernels::activate(activation, x[i]);
  }
}

// dx = dy * activation'(x); dx may be dy.
template <class T>
void activation_backward(const Backend&, Activation activation, InSpan<T> x, InSpan<T> dy, std::span<T> dx) {
  require(x.size() == dx.size() && dy.size() == dx.size(), "activation_backward: sizes");
  for (std::size_t i = 0; i < x.size(); ++i) {
    dx[i] = dy[i] * kernels::activation_slope(activation, x[i]);
  }
}

// y += x.
template <class T>
void add(const Backend&, InSpan<T> x, std::span<T> y) {
  require(x.size() == y.size(), "add: expected ", y.size(), " elements, found ", x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] += x[i];
  }
}

// to = from, of the same shape but any row strides.
template <class T>
void copy_columns(In<T> from, MatrixView<T> to) {
  require_shape(from, to.rows, to.cols, "copy_columns: from");
  for (Index i = 0; i < to.rows; ++i) {
    std::copy_n(from.row(i), to.cols, to.row(i));
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
