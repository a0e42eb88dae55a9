// One-dimensional convolution and its transpose on channels-last sequences.
//
//     convolution             y[n, l] = b + sum_k W_k x[n, l * stride + k - padding]
//     transposed convolution  y[n, l * stride + k - padding] = b + sum_{l, k} W_k' x[n, l]
//
// Weights lie in memory as one contiguous matrix per tap k: convolution [kernel, out, in], transposed
// convolution [kernel, in, out]. Every (position, tap) pair is one matrix product over the batch; pairs that
// meet the padding are left out, so nothing is multiplied by zeros and nothing is copied.
//
// A kernel of 3 over a sequence of 2, where the denoiser spends its time, makes four such products. They are
// the 2 x 2 Toeplitz matrix [W1 W2; W0 W1], and three products do:
//
//     p = W1 (x0 + x1),  y0 = p + (W2 - W1) x1,  y1 = p + (W0 - W1) x0
//
// likewise for the adjoint and, with g the gradient of y, for the weights' gradients:
//
//     dW0 = g1 x0',  dW2 = g0 x1',  dW1 = (g0 + g1) (x0 + x1)' - dW0 - dW2
#pragma once

#include <maa/backend/conv_products.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/loops.hpp>
#include <maa/backend/cpu/matrix.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// Three functions serve the convolution and its transpose; conv_products.hpp says what `wide` and `narrow`
// are.
using conv::check_convolution;
using conv::for_each_product;
using conv::is_toeplitz;

// The products of one convolution, or of one gradient, computed together.
template <class T>
class ProductList {
 public:
  using Product = kernels::Product<T>;

  ProductList(const Backend& backend, Index capacity)
      : backend_(backend), scope_(thread_scratch()), products_(thread_scratch().take<Product>(capacity)) {}

  Product& add(Strided<T> a, Strided<T> b, MatrixView<T> c, Write write, const T* bias = nullptr) {
    return *std::construct_at(products_ + count_++, checked_product<T>("convolution", a, b, c, bias, write));
  }
  bool empty() const { return count_ == 0; }
  void multiply() const { detail::multiply<T>(backend_, span()); }
  void sum_gradient(GradientForm form) const { weight_gradient<T>(backend_, span(), form); }

 private:
  std::span<const Product> span() const { return {products_, static_cast<std::size_t>(count_)}; }

  const Backend& backend_;
  Workspace::Scope scope_;
  Product* products_;
  Index count_ = 0;
};

template <class T>
Strided<T> tap_matrix(const T* weight, Index tap, Index narrow_channels, Index wide_channels) {
  return {weight + tap * narrow_channels * wide_channels, narrow_channels, wide_channels, wide_channels, 1};
}

// With few samples, reading weights costs more than multiplying by them, and differences of weights are not
// free.
template <class Wide, class Narrow>
bool takes_three_products(const Backend& backend, ConvShape shape, SequenceView<Wide> wide,
                          SequenceView<Narrow> narrow) {
  return is_toeplitz(shape, wide, narrow) && (wide.batch >= 48 || backend.has_packed_weights());
}

// x0 + x1 of a sequence of two, in scratch memory.
template <class T>
MatrixView<T> sum_of_positions(const Backend& backend, SequenceView<const T> x) {
  const auto sum = thread_scratch().matrix<T>(x.batch, x.channels);
  copy_matrix(backend, x.position(0), sum);
  add_matrix(backend, x.position(1), sum);
  return sum;
}

// y0 = p + (V - W) x1, y1 = p + (U - W) x0 with p = W (x0 + x1) + bias; here matrices are [in, out].
template <class T>
void three_products(const Backend& backend, SequenceView<const T> x, Strided<T> w, Strided<T> v, Strided<T> u,
                    const T* bias, SequenceView<T> y) {
  const Workspace::Scope scope(thread_scratch());
  const auto sum = sum_of_positions(backend, x);
  ProductList<T> products(backend, 3);
  products.add(sum, w, y.position(0), Write::overwrite, bias).twin = y.position(1).data;
  products.add(x.position(1), v, y.position(0), Write::accumulate).b_minus = w.data;
  products.add(x.position(0), u, y.position(1), Write::accumulate).b_minus = w.data;
  products.multiply();
}

// Every position of y = bias (zeros if null).
template <class T>
void fill_positions(const Backend& backend, const T* bias, SequenceView<T> y) {
  const auto rows = y.flat();
  for_chunks(backend.pool(), rows.rows, rows_per_task(rows.cols), [=](Index, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      if (bias != nullptr) {
        std::copy_n(bias, rows.cols, rows.row(i));
      } else {
        std::fill_n(rows.row(i), rows.cols, T(0));
      }
    }
  });
}

// narrow = bias + sum of wide W'.
template <class T>
void conv_to_narrow(const Backend& backend, ConvShape shape, SequenceView<const T> wide, const T* weight,
                    const T* bias, SequenceView<T> narrow) {
  const auto transposed = [&](Index tap) {
    return tap_matrix(weight, tap, narrow.channels, wide.channels).transposed();
  };
  if (takes_three_products(backend, shape, wide, narrow)) {
    three_products(backend, wide, transposed(1), transposed(2), transposed(0), bias, narrow);
    return;
  }
  fill_positions(backend, bias, narrow);
  ProductList<T> products(backend, shape.kernel * narrow.length);
  for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<const T> from, MatrixView<T> to) {
    products.add(from, transposed(tap), to, Write::accumulate);
  });
  products.multiply();
}

// wide = bias + sum of narrow W.
template <class T>
void conv_to_wide(const Backend& backend, ConvShape shape, SequenceView<const T> narrow, const T* weight,
                  const T* bias, SequenceView<T> wide) {
  const auto matrix = [&](Index tap) { return tap_matrix(weight, tap, narrow.channels, wide.channels); };
  if (takes_three_products(backend, shape, wide, narrow)) {
    three_products(backend, narrow, matrix(1), matrix(0), matrix(2), bias, wide);
    return;
  }
  fill_positions(backend, bias, wide);
  ProductList<T> products(backend, shape.kernel * narrow.length);
  for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<T> to, MatrixView<const T> from) {
    products.add(from, matrix(tap), to, Write::accumulate);
  });
  products.multiply();
}

// dweight += sum of narrow' wide.
template <class T>
void conv_weight_gradient(const Backend& backend, ConvShape shape, SequenceView<const T> wide,
                          SequenceView<const T> narrow, T* dweight) {
  const auto gradient = [&](Index tap) {
    return MatrixView<T>(dweight + tap * narrow.channels * wide.channels, narrow.channels, wide.channels);
  };
  const Workspace::Scope scope(thread_scratch());
  if (std::is_same_v<T, float> && backend.gemm_kernels() != nullptr && is_toeplitz(shape, wide, narrow)) {
    const auto dsum = sum_of_positions(backend, narrow), sum = sum_of_positions(backend, wide);
    ProductList<T> products(backend, 3);
    products.add(Strided<T>(dsum).transposed(), sum, gradient(1), Write::accumulate);
    products.add(Strided<T>(narrow.position(1)).transposed(), wide.position(0), gradient(0),
                 Write::accumulate);
    products.add(Strided<T>(narrow.position(0)).transposed(), wide.position(1), gradient(2),
                 Write::accumulate);
    products.sum_gradient(GradientForm::toeplitz);
    return;
  }
  for (Index wanted = 0; wanted < shape.kernel; ++wanted) {
    ProductList<T> products(backend, narrow.length);
    for_each_product(shape, wide, narrow, [&](Index tap, MatrixView<const T> from, MatrixView<const T> to) {
      if (tap == wanted) {
        products.add(Strided<T>(to).transposed(), from, gradient(tap), Write::accumulate);
      }
    });
    if (!products.empty()) {  // a tap that only meets padding has no gradient
      products.sum_gradient(GradientForm::plain);
    }
  }
}

}  // namespace detail

// x [batch, length, in], weight [kernel, out, in], bias [out] or null -> y [batch,
// shape.output_length(length), out].
template <class T>
void conv1d_forward(const Backend& backend, ConvShape shape, InSeq<T> x,
                    const std::type_identity_t<T>* weight, const std::type_identity_t<T>* bias,
                    SequenceView<T> y) {
  detail::check_convolution(shape, x, y, &ConvShape::output_length, "conv1d_forward");
  detail::conv_to_narrow<T>(backend, shape, x, weight, bias, y);
}

// dx = adjoint of the convolution applied to dy (overwrites).
template <class T>
void conv1d_backward_input(const Backend& backend, ConvShape shape, InSeq<T> dy,
                           const std::type_identity_t<T>* weight, SequenceView<T> dx) {
  detail::check_convolution(shape, dx, dy, &ConvShape::output_length, "conv1d_backward_input");
  detail::conv_to_wide<T>(backend, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of dy' x over batch and positions, db += sum of dy; `dbias` may be null.
template <class T>
void conv1d_backward_weight(const Backend& backend, ConvShape shape, InSeq<T> dy, InSeq<T> x, T* dweight,
                            std::type_identity_t<T>* dbias) {
  detail::check_convolution(shape, x, dy, &ConvShape::output_length, "conv1d_backward_weight");
  detail::conv_weight_gradient<T>(backend, shape, x, dy, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

// x [batch, length, in], weight [kernel, in, out], bias [out] or null
// -> y [batch, shape.transposed_output_length(length), out].
template <class T>
void conv_transpose1d_forward(const Backend& backend, ConvShape shape, InSeq<T> x,
                              const std::type_identity_t<T>* weight, const std::type_identity_t<T>* bias,
                              SequenceView<T> y) {
  detail::check_convolution(shape, x, y, &ConvShape::transposed_output_length, "conv_transpose1d_forward");
  detail::conv_to_wide<T>(backend, shape, x, weight, bias, y);
}

// dx = the convolution of dy (overwrites).
template <class T>
void conv_transpose1d_backward_input(const Backend& backend, ConvShape shape, InSeq<T> dy,
                                     const std::type_identity_t<T>* weight, SequenceView<T> dx) {
  detail::check_convolution(shape, dx, dy, &ConvShape::transposed_output_length,
                            "conv_transpose1d_backward_input");
  detail::conv_to_narrow<T>(backend, shape, dy, weight, nullptr, dx);
}

// dW_k += sum of x' dy over batch and positions, db += sum of dy; `dbias` may be null.
template <class T>
void conv_transpose1d_backward_weight(const Backend& backend, ConvShape shape, InSeq<T> dy, InSeq<T> x,
                                      T* dweight, std::type_identity_t<T>* dbias) {
  detail::check_convolution(shape, x, dy, &ConvShape::transposed_output_length,
                            "conv_transpose1d_backward_weight");
  detail::conv_weight_gradient<T>(backend, shape, dy, x, dweight);
  if (dbias != nullptr) {
    add_column_sums(backend, dy.flat(), dbias);
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
