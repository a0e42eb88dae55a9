// Gradients of weight matrices, dW += dy' x: a sum over samples for each weight, so that reading and writing
// weights takes as long as the arithmetic unless each block is finished while it is in the cache.
#pragma once

#include <maa/backend/cpu/gemm.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu::detail {

// How a gradient follows from the sums of its products.
enum class GradientForm {
  plain,     // one gradient: the sum of all products
  toeplitz,  // three gradients, c of products 0, 1 and 2: the first is product 0 less the others (conv1d.hpp)
};

// A block of a gradient: its second factors, packed, and its sums stay in the second-level cache. Rows as
// long as that allows, so that weights are read and written in long pieces.
struct GradientBlock {
  Index rows, cols;

  GradientBlock(std::span<const kernels::Product<float>> products, GradientForm form) {
    constexpr Index panels_size = Index{1} << 17, sums_size = Index{1} << 16;  // floats
    constexpr Index unit = 128, tile = 14;  // whole panels, and tiles of AVX-512
    Index depth = 0;
    for (const auto& p : products) {
      depth += p.depth;
    }
    const Index results = form == GradientForm::toeplitz ? 3 : 1;
    const auto whole = [](Index size, Index of) { return (size + of - 1) / of * of; };
    cols = std::clamp<Index>(panels_size / std::max<Index>(1, depth) / unit * unit, unit,
                             whole(products[0].cols, unit));
    rows = std::clamp<Index>(sums_size / (cols * results) / tile * tile, tile, whole(products[0].rows, tile));
  }
};

// One task of weight_gradient: rows [first_row, last_row) of columns [first_col, last_col).
inline void gradient_part(const Backend& backend, std::span<const PackedProduct> packed, GradientForm form,
                          const GradientBlock& block, Index first_row, Index last_row, Index first_col,
                          Index last_col) {
  const auto& table = *backend.gemm_kernels();
  const bool separate = form == GradientForm::toeplitz;
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  // The second factors of these columns, packed once for all rows.
  float** const panels = scratch.take<float*>(std::ssize(packed));
  float** const sums = scratch.take<float*>(std::ssize(packed));
  const Index cols = last_col - first_col;
  for (std::size_t i = 0; i < packed.size(); ++i) {
    const auto& p = *packed[i].product;
    panels[i] = scratch.take<float>(p.depth * block.cols);
    for (Index d = 0; d < packed[i].blocks.count(); ++d) {
      table.pack_panels(p, first_col, packed[i].blocks.begin(d), packed[i].blocks.size(d), cols,
                        panels[i] + packed[i].blocks.begin(d) * block.cols);
    }
    sums[i] = i == 0 || separate ? scratch.take<float>(block.rows * block.cols) : sums[0];
  }
  for (Index row = first_row; row < last_row; row += block.rows) {
    const Index rows = std::min(block.rows, last_row - row);
    for (std::size_t i = 0; i < packed.size(); ++i) {
      const auto& p = *packed[i].product;
      const float* const gradient = p.c + row * p.c_row + first_col;
      for (Index d = 0; d < packed[i].blocks.count(); ++d) {
        const Index depth = packed[i].blocks.size(d);
        const float* panel = panels[i] + packed[i].blocks.begin(d) * block.cols;
        for (Index col = 0; col < cols; col += table.panel_cols) {
          kernels::Product<float> part{};
          part.c = sums[i] + col;
          part.c_row = block.cols;
          part.rows = rows;
          part.cols = std::min(table.panel_cols, cols - col);
          part.accumulate = d > 0 || (i > 0 && !separate);
          // Fetched while products are computed: the rows that the sums are added to.
          const kernels::TileFetch fetch{reinterpret_cast<const char*>(gradient + col), p.c_row * 4};
          table.multiply_panel(packed[i].block_rows(d, row), panel, depth, part, &fetch);
          panel += depth * table.panel_cols;
        }
      }
    }
    if (separate) {
      for (Index i = 0; i < rows * block.cols; ++i) {
        sums[0][i] -= sums[1][i] + sums[2][i];
      }
    }
    for (std::size_t i = 0; i < (separate ? packed.size() : 1); ++i) {
      const auto& p = *packed[i].product;
      for (Index r = 0; r < rows; ++r) {
        backend.kernels().add(sums[i] + r * block.cols, p.c + (row + r) * p.c_row + first_col, cols);
      }
    }
  }
}

// Products a b with the rows of a gradient [out, in] as their rows; all have the same rows, columns and, if
// the form is plain, the same c, which they are added to.
template <class T>
void weight_gradient(const Backend& backend, std::span<const kernels::Product<T>> products,
                     GradientForm form) {
  if constexpr (std::is_same_v<T, float>) {
    if (backend.gemm_kernels() != nullptr) {
      const Index rows = products[0].rows, cols = products[0].cols;
      auto& scratch = thread_scratch();
      const Workspace::Scope scope(scratch);
      const auto packed = pack_products(backend, products, true, [&](Index count, const auto& body) {
        backend.pool().for_each(count, body);
      });
      const GradientBlock block(products, form);
      const Index col_blocks = (cols + block.cols - 1) / block.cols;
      // Rows of a task: enough to pack the second factor for, few enough for sixteen tasks.
      const Index row_units = (rows + block.rows - 1) / block.rows;
      const Index row_blocks =
          std::clamp<Index>((16 + col_blocks - 1) / col_blocks, (row_units + 5) / 6, row_units);
      backend.pool().for_each(col_blocks * row_blocks, [&](Index task) {
        const Index part = task % row_blocks, col = task / row_blocks * block.cols;
        gradient_part(backend, packed, form, block,
                      std::min(rows, row_units * part / row_blocks * block.rows),
                      std::min(rows, row_units * (part + 1) / row_blocks * block.rows), col,
                      std::min(cols, col + block.cols));
      });
      return;
    }
  }
  if (form == GradientForm::plain) {
    multiply<T>(backend, products);
    return;
  }
  fail("weight_gradient: the reference has no form of three products");
}

}  // namespace cpu::detail
MAA_NAMESPACE_END
