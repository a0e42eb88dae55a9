// One-dimensional convolution and its transpose on channels-last sequences, as products (conv_products.hpp).
//
// Weights lie in memory as one contiguous matrix per tap k: convolution [kernel, out, in], transposed
// convolution [kernel, in, out].
//
// A kernel of 3 over a sequence of 2, where the denoiser spends its time, takes four products, of which the
// two of the middle tap are one: every weight is read once, and training, bound by memory, can do no better.
// Inference with large batches is bound by arithmetic and takes three:
//
//     p = W1 (x0 + x1),  y0 = p + (W2 - W1) x1,  y1 = p + (W0 - W1) x0
//
// likewise for the adjoint. The differences cost a pass over the weights and memory for two thirds of them,
// so they are formed once, for weights that are packed, and kept.
#pragma once

#include <maa/backend/conv_products.hpp>
#include <maa/backend/cuda/linear.hpp>
#include <maa/backend/cuda/matrix.hpp>

#include <algorithm>
#include <vector>

MAA_NAMESPACE_BEGIN
namespace cuda {
namespace detail {

// Number is what products read: Real, or Bfloat16 where x and weights are rounded.
template <class Number>
struct TapProduct {
  Index tap;
  MatrixView<const Number> from;
  Out to;
};

// A tap's matrix [narrow channels, wide channels], or its transpose.
template <class Number>
struct TapMatrix {
  const Number* data;
  Index row;
  bool transposed;
};

// to = from matrix + bias, or to += from matrix, of which the first `depth` columns of `from` are read.
template <class Number>
void multiply_tap(const Backend& backend, MatrixView<const Number> from, Index depth,
                  const TapMatrix<Number>& matrix, const Real* bias, bool accumulate, Out to) {
  multiply(backend, {.a = raw(from.data),
                     .b = raw(matrix.data),
                     .c = raw(to.data),
                     .bias = accumulate ? nullptr : raw(bias),
                     .m = to.rows,
                     .n = to.cols,
                     .k = depth,
                     .a_row = from.stride,
                     .b_row = matrix.row,
                     .c_row = to.stride,
                     .b_transposed = matrix.transposed,
                     .accumulate = accumulate,
                     .arithmetic = std::is_same_v<Number, Bfloat16> ? Arithmetic::bf16 : Arithmetic::fp32});
}

// The first product that writes a position overwrites it and adds the bias; what no product writes is set to
// the bias. Products over all positions go first, as then nothing else need set them.
template <class Number, class MatrixOf>
void run_products(const Backend& backend, std::vector<TapProduct<Number>>& products, Index depth,
                  const MatrixOf& matrix_of, const Real* bias, OutSeq to) {
  if (to.size() == 0) {
    return;
  }
  const auto covers_all = [&](const TapProduct<Number>& product) {
    return product.to.rows == to.batch * to.length;
  };
  std::stable_partition(products.begin(), products.end(), covers_all);
  std::vector<bool> written(static_cast<std::size_t>(to.length), false);
  for (const auto& product : products) {
    const auto position = static_cast<std::size_t>((product.to.data - to.data) / to.channels);
    multiply_tap(backend, product.from, depth, matrix_of(product.tap), bias, written[position], product.to);
    if (covers_all(product)) {
      written.assign(written.size(), true);
    } else {
      written[position] = true;
    }
  }
  for (std::size_t l = 0; l < written.size(); ++l) {
    if (!written[l]) {
      set_rows(backend, bias, to.position(static_cast<Index>(l)));
    }
  }
}

enum class Direction { to_narrow, to_wide };

template <class Number>
void exact_products(const Backend& backend, Direction direction, ConvShape shape,
                    SequenceView<const Number> from, Index depth, const Number* weight, const Real* bias,
                    OutSeq to) {
  std::vector<TapProduct<Number>> products;
  const bool narrow = direction == Direction::to_narrow;
  if (narrow) {
    conv::for_each_product(shape, from, to, [&](Index tap, MatrixView<const Number> wide, Out rows) {
      products.push_back({tap, wide, rows});
    });
  } else {
    conv::for_each_product(shape, to, from, [&](Index tap, Out rows, MatrixView<const Number> narrow_rows) {
      products.push_back({tap, narrow_rows, rows});
    });
  }
  const auto matrix_of = [&](Index tap) {
    return TapMatrix<Number>{weight + tap * depth * to.channels, narrow ? depth : to.channels, narrow};
  };
  run_products(backend, products, depth, matrix_of, bias, to);
}

// W2 - W1 and W0 - W1 of packed weights, each [size], rounded from floats if Number is Bfloat16.
template <class Number>
const Number* weight_differences(const Backend& backend, const Real* weight, Index size) {
  auto& kept = backend.packed_for(weight)->differences;
  const auto found = kept.find(weight);
  if (found != kept.end()) {
    return reinterpret_cast<const Number*>(found->second.data());
  }
  auto block = backend.memory().allocate(2 * size * static_cast<Index>(sizeof(Number)));
  auto* const result = reinterpret_cast<Number*>(block.data());
  const In middle(weight + size, 1, size);
  combine(backend, In(weight + 2 * size, 1, size), middle, -1, MatrixView<Number>(result, 1, size));
  combine(backend, In(weight, 1, size), middle, -1, MatrixView<Number>(result + size, 1, size));
  finish(backend);
  kept.emplace(weight, std::move(block));
  return result;
}

template <class Number>
MatrixView<const Number> factor(const Backend& backend, In a, In b) {
  if constexpr (std::is_same_v<Number, Real>) {
    if (b.data == nullptr) {
      return a;
    }
  }
  const Index stride = std::is_same_v<Number, Real> ? a.cols : padded_row(a.cols);
  const MatrixView<Number> result(backend.scratch().take<Number>(a.rows * stride), a.rows, a.cols, stride);
  combine(backend, a, b, 1, result);
  return result;
}

// x [batch, 2, depth] and y; `weight` as products read it.
template <class Number>
void three_products(const Backend& backend, Direction direction, InSeq x, const Number* weight,
                    const Number* differences, const Real* bias, OutSeq y) {
  const auto scope = backend.scratch().scope();
  const bool narrow = direction == Direction::to_narrow;
  const Index size = x.channels * y.channels;
  const auto matrix = [&](const Number* data) {
    return TapMatrix<Number>{data, narrow ? x.channels : y.channels, narrow};
  };
  const Number* const upper = narrow ? differences : differences + size;  // from x1 to y0
  const Number* const lower = narrow ? differences + size : differences;  // from x0 to y1
  multiply_tap(backend, factor<Number>(backend, x.position(0), x.position(1)), x.channels,
               matrix(weight + size), bias, false, y.position(0));
  copy_matrix(backend, y.position(0), y.position(1));
  multiply_tap(backend, factor<Number>(backend, x.position(1), In()), x.channels, matrix(upper), nullptr,
               true, y.position(0));
  multiply_tap(backend, factor<Number>(backend, x.position(0), In()), x.channels, matrix(lower), nullptr,
               true, y.position(1));
}

// narrow = bias + sum of wide W', or wide = bias + sum of narrow W. The weights are [kernel, narrow channels,
// wide channels].
inline void convolve(const Backend& backend, Direction direction, ConvShape shape, InSeq from,
                     const Real* weight, const Real* bias, OutSeq to) {
  const bool rounded = is_rounded(backend, weight);
  constexpr Index bound_by_arithmetic = 256;
  if (conv::is_toeplitz(shape, from, to) && from.batch >= bound_by_arithmetic && from.channels > 0 &&
      to.channels > 0 && backend.packed_for(weight) != nullptr) {
    const Index size = from.channels * to.channels;
    if (rounded) {
      const auto* const rounded_here = rounded_weight(backend, weight);
      three_products(backend, direction, from, rounded_here,
                     weight_differences<Bfloat16>(backend, weight, size), bias, to);
    } else {
      three_products(backend, direction, from, weight, weight_differences<Real>(backend, weight, size), bias,
                     to);
    }
    return;
  }
  if (!rounded) {
    exact_products(backend, direction, shape, from, from.channels, weight, bias, to);
    return;
  }
  // Rounded once for all products.
  const auto scope = backend.scratch().scope();
  const auto rows = factor<Bfloat16>(backend, from.flat(), In());
  const SequenceView<const Bfloat16> x(rows.data, from.batch, from.length, rows.stride);
  exact_products(backend, direction, shape, x, from.channels, rounded_weight(backend, weight), bias, to);
}

// dweight += sum of narrow' wide.
inline void conv_weight_gradient(const Backend& backend, ConvShape shape, InSeq wide, InSeq narrow,
                                 Real* dweight) {
  conv::for_each_product(shape, wide, narrow, [&](Index tap, In from, In to) {
    linear_backward_weight(backend, to, from, dweight + tap * narrow.channels * wide.channels, nullptr);
  });
}

}  // namespace detail

// x [batch, length, in], weight [kernel, out, in], bias [out] or null -> y [batch,
// shape.output_length(length), out].
inline void conv1d_forward(const Backend& backend, ConvShape shape, InSeq x, const Real* weight,
                           const Real* bias, OutSeq y) {
  conv::check_convolution(shape, x, y, &ConvShape::output_length, "conv1d_forward");
  detail::convolve(backend, detail::Direction::to_narrow, shape, x, weight, bias, y);
}

// dx = adjoint of the convolution applied to dy (overwrites).
inline void conv1d_backward_input(const Backend& backend, ConvShape shape, InSeq dy, const Real* weight,
                                  OutSeq dx) {
  conv::check_convolution(shape, dx, dy, &ConvShape::output_length, "conv1d_backward_input");
  detail::convolve(backend, detail::Direction::to_wide, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of dy' x over batch and positions, db += sum of dy; `dbias` may be null.
inline void conv1d_backward_weight(const Backend& backend, ConvShape shape, InSeq dy, InSeq x, Real* dweight,
                                   Real* dbias) {
  conv::check_convolution(shape, x, dy, &ConvShape::output_length, "conv1d_backward_weight");
  detail::conv_weight_gradient(backend, shape, x, dy, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

// x [batch, length, in], weight [kernel, in, out], bias [out] or null
// -> y [batch, shape.transposed_output_length(length), out].
inline void conv_transpose1d_forward(const Backend& backend, ConvShape shape, InSeq x, const Real* weight,
                                     const Real* bias, OutSeq y) {
  conv::check_convolution(shape, x, y, &ConvShape::transposed_output_length, "conv_transpose1d_forward");
  detail::convolve(backend, detail::Direction::to_wide, shape, x, weight, bias, y);
}

// dx = the convolution of dy (overwrites).
inline void conv_transpose1d_backward_input(const Backend& backend, ConvShape shape, InSeq dy,
                                            const Real* weight, OutSeq dx) {
  conv::check_convolution(shape, dx, dy, &ConvShape::transposed_output_length,
                          "conv_transpose1d_backward_input");
  detail::convolve(backend, detail::Direction::to_narrow, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of x' dy over batch and positions, db += sum of dy; `dbias` may be null.
inline void conv_transpose1d_backward_weight(const Backend& backend, ConvShape shape, InSeq dy, InSeq x,
                                             Real* dweight, Real* dbias) {
  conv::check_convolution(shape, x, dy, &ConvShape::transposed_output_length,
                          "conv_transpose1d_backward_weight");
  detail::conv_weight_gradient(backend, shape, dy, x, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

}  // namespace cuda
MAA_NAMESPACE_END
