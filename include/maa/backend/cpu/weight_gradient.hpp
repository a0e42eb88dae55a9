// Gradients of weight matrices, dW += dy' x: a sum over samples for each weight, so that reading and writing
// weights takes as long as the arithmetic unless each block is finished while it is in the cache.
#pragma once

#include <maa/backend/cpu/gemm.hpp>
#include <maa/backend/cpu/optimizer.hpp>
#include <maa/core/finite.hpp>

#include <array>

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

// Adds sums [rows][sums_row] to the gradient at c, or makes the optimizer's step with them.
inline void finish_gradient(const Backend& backend, Index rows, Index cols, const float* sums, Index sums_row,
                            float* c, Index c_row) {
  const WeightUpdate* const update = backend.update_for(c);
  if (update == nullptr) {
    for (Index i = 0; i < rows; ++i) {
      backend.kernels().add(sums + i * sums_row, c + i * c_row, cols);
    }
    return;
  }
  for (Index i = 0; i < rows; ++i) {
    if (!is_finite(backend.kernels().sum_of_squares(sums + i * sums_row, cols))) {
      update->finite.store(false, std::memory_order_relaxed);
      return;
    }
    const Index at = c + i * c_row - update->gradients.data();
    backend.kernels().adamw(update->factors, cols, update->weights + at, sums + i * sums_row,
                            update->first_moment + at, update->second_moment + at,
                            update->average == nullptr ? nullptr : update->average + at);
  }
  update->updated.fetch_add(rows * cols, std::memory_order_relaxed);
}

// The rows that come next of what finish_gradient will touch, to be fetched while products are computed: tile
// t of a panel fetches those of one array.
class GradientFetch {
 public:
  GradientFetch(const Backend& backend, const float* c, Index c_row) : step_(c_row * 4) {
    const WeightUpdate* const update = backend.update_for(c);
    if (update == nullptr) {
      arrays_.fill(c);
      return;
    }
    const Index at = c - update->gradients.data();
    arrays_ = {update->weights + at, update->first_moment + at, update->second_moment + at,
               (update->average == nullptr ? update->weights : update->average) + at};
  }
  // For a panel whose first column is `col`.
  kernels::TileFetches at(Index col) const {
    kernels::TileFetches fetches;
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      fetches.from[i] = reinterpret_cast<const char*>(arrays_[i] + col);
    }
    fetches.step = step_;
    return fetches;
  }

 private:
  std::array<const float*, 4> arrays_;
  Index step_;
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
      const GradientFetch fetch(backend, p.c + row * p.c_row + first_col, p.c_row);
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
          const auto fetches = fetch.at(col);
          table.multiply_panel(packed[i].block_rows(d, row), panel, depth, part, &fetches);
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
      finish_gradient(backend, rows, cols, sums[i], block.cols, p.c + row * p.c_row + first_col, p.c_row);
    }
  }
}

// The gradient of a matrix that no product reaches (a tap that only meets padding) is zero; the optimizer's
// step is made all the same.
inline void no_gradient(const Backend& backend, MatrixView<float> c) {
  if (backend.update_for(c.data) == nullptr) {
    return;
  }
  const Workspace::Scope scope(thread_scratch());
  const auto zeros = thread_scratch().span<float>(c.cols);
  std::ranges::fill(zeros, 0.0f);
  finish_gradient(backend, c.rows, c.cols, zeros.data(), 0, c.data, c.stride);
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
