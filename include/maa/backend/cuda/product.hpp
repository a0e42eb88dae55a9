// Matrix products. All of them go through multiply(), which chooses the arithmetic: factors as tensor floats
// or floats, as the backend's options say, or both as bfloat16 where the weights are packed so.
#pragma once

#include <maa/backend/cuda/backend.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cuda {
namespace detail {

// The upper half of a float.
using Bfloat16 = OnDevice<std::uint16_t>;

// Rows of bfloat16 numbers that start at multiples of 16 bytes are read fastest.
inline Index padded_row(Index cols) {
  return (cols + 7) / 8 * 8;
}

// to = a + sign b, or a if b has no data; the sum is formed in float.
template <class Number>
void combine(const Backend& backend, In a, In b, float sign, MatrixView<Number> to) {
  kernels::CombineArguments arguments{raw(a.data), raw(b.data), nullptr,   nullptr, to.cols,
                                      a.stride,    b.stride,    to.stride, sign,    0};
  if constexpr (std::is_same_v<Number, Real>) {
    arguments.to = raw(to.data);
  } else {
    arguments.rounded = raw(to.data);
  }
  backend.launch(kernels::combine_matrices_kernel, to.size(), arguments);
}

// Every row of `to` = row [cols], or zeros if that is null.
inline void set_rows(const Backend& backend, const Real* row, Out to) {
  backend.launch(kernels::set_rows_kernel, to.size(),
                 kernels::SetRowsArguments{raw(row), raw(to.data), to.cols, to.stride});
}

// Something that is made once and kept must not count as made if the commands that make it fail.
inline void finish(const Backend& backend) {
  backend.context().finish();
}

inline bool is_rounded(const Backend& backend, const Real* weight) {
  const auto* packed = backend.packed_for(weight);
  return packed != nullptr && packed->bf16;
}
// Where `weight` lies in the rounded copy of the packed weights. All of them are rounded at the first use.
inline const Bfloat16* rounded_weight(const Backend& backend, const Real* weight) {
  auto& packed = *backend.packed_for(weight);
  if (packed.rounded.data() == nullptr) {
    const auto count = static_cast<Index>(packed.weights.size());
    auto block = backend.memory().allocate(count * static_cast<Index>(sizeof(Bfloat16)));
    combine(backend, In(packed.weights.data(), 1, count), In(), 0,
            MatrixView<Bfloat16>(reinterpret_cast<Bfloat16*>(block.data()), 1, count));
    finish(backend);
    packed.rounded = std::move(block);
  }
  return reinterpret_cast<const Bfloat16*>(packed.rounded.data()) + (weight - packed.weights.data());
}

inline const Real* on_device(const float* address) {
  return reinterpret_cast<const Real*>(address);
}

}  // namespace detail

// Appends the product. Its factors are float, except with Arithmetic::bf16, which says that both are rounded
// already; otherwise the arithmetic is chosen here. If the second factor belongs to weights packed in
// bfloat16 (and batch is 1), the first is rounded into scratch memory. Without columns or rows nothing
// happens; with a depth of 0 c is set to the bias or zeros, or left alone if the product accumulates.
inline void multiply(const Backend& backend, Product product) {
  if (product.m == 0 || product.n == 0 || product.batch == 0) {
    return;
  }
  if (product.k == 0) {
    for (Index i = 0; i < product.batch && !product.accumulate; ++i) {
      detail::set_rows(
          backend, detail::on_device(product.bias),
          Out(reinterpret_cast<Real*>(product.c) + i * product.c_batch, product.m, product.n, product.c_row));
    }
    return;
  }
  const auto scope = backend.scratch().scope();
  if (product.arithmetic != Arithmetic::bf16) {
    const auto* const a = detail::on_device(static_cast<const float*>(product.a));
    const auto* const b = detail::on_device(static_cast<const float*>(product.b));
    product.arithmetic = backend.options().tf32 ? Arithmetic::tf32 : Arithmetic::fp32;
    if (product.batch == 1 && detail::is_rounded(backend, b)) {
      const Index rows = product.a_transposed ? product.k : product.m;
      const Index cols = product.a_transposed ? product.m : product.k;
      const Index stride = detail::padded_row(cols);
      auto* const rounded = backend.scratch().take<detail::Bfloat16>(rows * stride);
      detail::combine(backend, In(a, rows, cols, product.a_row), In(), 0,
                      MatrixView<detail::Bfloat16>(rounded, rows, cols, stride));
      product.a = rounded;
      product.a_row = stride;
      product.b = detail::rounded_weight(backend, b);
      product.arithmetic = Arithmetic::bf16;
    }
  }
  backend.context().append(product);
}

namespace detail {

// sums of matrix i at sums + i * sums_matrix, [cols], += the column sums of x [matrices, rows, cols]. Many
// rows are summed in chunks first: as many as each has rows, so that both passes are short.
inline void add_column_sums(const Backend& backend, In x, Index matrices, Index x_matrix, Real* sums,
                            Index sums_matrix) {
  const auto scope = backend.scratch().scope();
  kernels::ColumnSumsArguments pass{raw(x.data), raw(sums), x.rows, x.cols,      x.rows, 1,
                                    x.stride,    x_matrix,  0,      sums_matrix, 1};
  constexpr Index shortest_chunk = 32;
  if (x.rows > 2 * shortest_chunk) {
    pass.chunk = std::max(shortest_chunk, static_cast<Index>(std::sqrt(static_cast<double>(x.rows))));
    pass.chunks = (x.rows + pass.chunk - 1) / pass.chunk;
    auto* const parts = raw(backend.scratch().take<Real>(matrices * pass.chunks * x.cols));
    pass.sums = parts;
    pass.sums_row = x.cols;
    pass.sums_matrix = pass.chunks * x.cols;
    pass.accumulate = 0;
    backend.launch(kernels::column_sums_kernel, matrices * pass.chunks * x.cols, pass);
    pass = {parts,       raw(sums), pass.chunks, x.cols, pass.chunks, 1, x.cols, pass.sums_matrix, 0,
            sums_matrix, 1};
  }
  backend.launch(kernels::column_sums_kernel, matrices * x.cols, pass);
}

}  // namespace detail
}  // namespace cuda
MAA_NAMESPACE_END
