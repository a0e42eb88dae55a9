// Matrix products on strided operands.
#pragma once

#include <maa/backend/cpu/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// Whether a product replaces its output or is added to it.
enum class Write { overwrite, accumulate };

// A read-only matrix with any strides (in elements): element (i, j) is data[i * row_stride + j * col_stride].
template <class T>
struct Strided {
  const T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index row_stride = 0;
  Index col_stride = 0;

  Strided() = default;
  Strided(const T* data_, Index rows_, Index cols_, Index row_stride_, Index col_stride_)
      : data(data_), rows(rows_), cols(cols_), row_stride(row_stride_), col_stride(col_stride_) {}
  Strided(MatrixView<const T> m) : Strided(m.data, m.rows, m.cols, m.stride, 1) {}
  Strided(MatrixView<T> m) : Strided(m.data, m.rows, m.cols, m.stride, 1) {}

  Strided transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

namespace detail {

template <class T>
kernels::Product<T> checked_product(const char* op, const Strided<T>& a, const Strided<T>& b,
                                    const MatrixView<T>& c, const T* bias, Write write) {
  require(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows, op,
          ": expected [M, K] [K, N] to [M, N], found [", a.rows, ", ", a.cols, "] [", b.rows, ", ", b.cols,
          "] to [", c.rows, ", ", c.cols, "]");
  return {a.data,
          a.row_stride,
          a.col_stride,
          b.data,
          b.row_stride,
          b.col_stride,
          c.data,
          c.stride,
          bias,
          c.rows,
          c.cols,
          a.cols,
          write == Write::accumulate};
}

// A product on its way through the kernels.
struct PackedProduct {
  const kernels::Product<float>* product;
  DepthBlocks blocks;
  const PackedMatrix* panels;  // null: packed by each task
  float* rows;                 // [blocks][padded rows][packed_stride]; null: few rows, read as they are
  std::uint32_t* narrow_rows;  // in place of `rows` for bfloat16 units

  bool is_packed() const { return rows != nullptr || narrow_rows != nullptr; }
  Index padded_rows() const { return (product->rows + 1) / 2 * 2; }
  Index packed_size() const { return blocks.count() * padded_rows() * kernels::packed_stride; }
  float* block_rows(Index block, Index row) const {
    return rows + (block * padded_rows() + row) * kernels::packed_stride;
  }
};

// Few rows: packing the weights would cost more than it saves; for more than four the sums across lanes must
// pay off, too.
inline bool streams(const kernels::Product<float>& p) {
  return p.rows <= (p.depth >= 512   ? 32
                    : p.depth >= 128 ? 12
                                     : 4) &&
         p.a_col == 1 && p.b_row == 1 && p.b_minus == nullptr && p.twin == nullptr;
}

// How a product is cut: the same for any number of threads.
class Grid {
 public:
  struct Part {
    Index first_row, last_row;
    Index first_panel, last_panel;  // of the columns
  };

  // Pieces of 1 M multiplications or more, at most 32. Columns are cut before rows, as a block packs its
  // columns itself; rows are cut where a block holds too many for the cache, or columns alone give fewer than
  // 8 pieces.
  Grid(Index rows, Index cols, Index depth, Index panels) : rows_(rows), panels_(panels) {
    const auto ceil_div = [](Index a, Index b) { return (a + b - 1) / b; };
    // With few rows the time goes to reading the second factor.
    const Index pieces = std::clamp<Index>(std::max<Index>(rows, 16) * cols * depth >> 20, 1, 32);
    row_blocks_ = std::max<Index>(1, ceil_div(rows, 256));
    col_blocks_ = std::clamp<Index>(ceil_div(pieces, row_blocks_), 1, std::max<Index>(1, panels / 4));
    row_blocks_ =
        std::max(row_blocks_, std::min(ceil_div(std::min<Index>(8, pieces), col_blocks_), rows / 56));
  }

  Index parts() const { return row_blocks_ * col_blocks_; }
  Part part(Index i) const {
    const Index row = i / col_blocks_, col = i % col_blocks_;
    return {row_begin(row), row_begin(row + 1), panels_ * col / col_blocks_,
            panels_ * (col + 1) / col_blocks_};
  }

 private:
  // Even: packed rows go in pairs.
  Index row_begin(Index block) const {
    return block == row_blocks_ ? rows_ : rows_ * block / row_blocks_ / 2 * 2;
  }

  Index rows_, panels_, row_blocks_, col_blocks_;
};

// Copies a finished part of c to its twin.
template <class T>
void copy_twin(const kernels::Product<T>& product, Index first_row, Index last_row, Index first_col,
               Index last_col) {
  if (product.twin != nullptr) {
    for (Index i = first_row * product.c_row; i < last_row * product.c_row; i += product.c_row) {
      std::copy(product.c + i + first_col, product.c + i + last_col, product.twin + i + first_col);
    }
  }
}

inline void multiply_part(const Backend& backend, const PackedProduct& packed, const Grid::Part& of) {
  const auto& table = *backend.gemm_kernels();
  const auto& product = *packed.product;
  const Index first_row = of.first_row, last_row = of.last_row;
  const Index width = table.panel_cols, first_col = of.first_panel * width;
  const Index last_col = std::min(product.cols, of.last_panel * width);
  if (packed.narrow_rows != nullptr) {
    backend.bf16_kernels()->multiply(
        packed.narrow_rows + first_row * 16, kernels::bf16_step_words(product.rows),
        packed.panels->narrow_panel(0, of.first_panel),
        product.block(first_row, last_row - first_row, first_col, last_col - first_col));
    copy_twin(product, first_row, last_row, first_col, last_col);
    return;
  }
  if (packed.rows == nullptr) {
    // A block of depth at a time, so that the rows stay in the second-level cache.
    constexpr Index stream_depth = 2048;
    auto part = product.block(first_row, last_row - first_row, first_col, last_col - first_col);
    for (Index first = 0; first < product.depth || first == 0; first += stream_depth) {
      part.depth = std::min(stream_depth, product.depth - first);
      part.accumulate = product.accumulate || first > 0;
      table.stream(part);
      part.a += part.depth;
      part.b += part.depth;
    }
    return;
  }
  // Panels that are packed at once: their rows are read in longer pieces.
  constexpr Index group = 4;
  Workspace::Scope scope(thread_scratch());
  float* const scratch = thread_scratch().take<float>(group * kernels::panel_size);
  for (Index d = 0; d < packed.blocks.count(); ++d) {
    const Index first = packed.blocks.begin(d), depth = packed.blocks.size(d);
    const float* const rows = packed.block_rows(d, first_row);
    for (Index panel = of.first_panel; panel < of.last_panel; ++panel) {
      const Index col = panel * width, place = (panel - of.first_panel) % group;
      auto part = product.block(first_row, last_row - first_row, col, std::min(width, product.cols - col));
      part.accumulate = product.accumulate || d > 0;
      if (packed.panels == nullptr) {
        if (place == 0) {
          const Index end = std::min(last_col, col + group * width);
          table.pack_panels(product, col, first, depth, end - col, scratch);
        }
        table.multiply_panel(rows, scratch + place * depth * width, depth, part, nullptr);
      } else if (packed.panels->narrow()) {
        table.multiply_narrow_panel(rows, packed.panels->narrow_panel(first, panel), depth, part, scratch);
      } else {
        table.multiply_panel(rows, packed.panels->panel(first, depth, panel), depth, part, nullptr);
      }
    }
  }
  copy_twin(product, first_row, last_row, first_col, last_col);
}

// Packs the first factors of products, in the caller's scratch memory. for_each(count, body) runs body(i) for
// i in [0, count).
template <class ForEach>
std::span<const PackedProduct> pack_products(const Backend& backend,
                                             std::span<const kernels::Product<float>> products, bool always,
                                             const ForEach& for_each) {
  auto& scratch = thread_scratch();
  auto* const packed = scratch.take<PackedProduct>(std::ssize(products));
  constexpr Index rows_per_task = 64;
  Index tasks = 0, numbers = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const auto& p = products[i];
    packed[i] = {&p, {p.depth}, always ? nullptr : backend.packed_matrix(p), nullptr, nullptr};
    if (packed[i].panels != nullptr && packed[i].panels->narrow() && backend.bf16_kernels() != nullptr) {
      packed[i].narrow_rows =
          scratch.take<std::uint32_t>(kernels::bf16_steps(p.depth) * kernels::bf16_step_words(p.rows));
    } else if (always || packed[i].panels != nullptr || !streams(p)) {
      packed[i].rows = scratch.take<float>(packed[i].packed_size());
    }
    if (packed[i].is_packed()) {
      tasks += packed[i].blocks.count() * ((p.rows + rows_per_task - 1) / rows_per_task);
      numbers += p.rows * p.depth;
    }
  }
  const auto pack = [&](Index task) {
    std::size_t i = 0;
    Index chunks = 0;
    for (;; ++i) {
      if (packed[i].is_packed()) {
        chunks = (packed[i].product->rows + rows_per_task - 1) / rows_per_task;
        const Index of_product = packed[i].blocks.count() * chunks;
        if (task < of_product) {
          break;
        }
        task -= of_product;
      }
    }
    const auto& p = *packed[i].product;
    const Index d = task / chunks, row = task % chunks * rows_per_task;
    const Index first = packed[i].blocks.begin(d), depth = packed[i].blocks.size(d);
    const Index rows = std::min(rows_per_task, p.rows - row);
    const float* const from = p.a + row * p.a_row + first * p.a_col;
    if (packed[i].narrow_rows != nullptr) {
      const Index step_words = kernels::bf16_step_words(p.rows);
      backend.bf16_kernels()->pack_rows(from, p.a_row, p.a_col, rows, depth,
                                        packed[i].narrow_rows + first / 32 * step_words + row * 16,
                                        step_words);
    } else {
      backend.gemm_kernels()->pack_rows(from, p.a_row, p.a_col, rows, depth, packed[i].block_rows(d, row));
    }
  };
  constexpr Index worth_sharing = Index{1} << 15;
  if (numbers >= worth_sharing) {
    for_each(tasks, pack);
  } else {
    for (Index task = 0; task < tasks; ++task) {
      pack(task);
    }
  }
  return {packed, products.size()};
}

// Products one after the other: each may add to what one before it wrote. Their first factors are packed
// together.
template <class T, class ForEach>
void multiply(const Backend& backend, std::span<const kernels::Product<T>> products,
              const ForEach& for_each) {
  const auto panels = [](const kernels::Product<T>& p, Index width) { return (p.cols + width - 1) / width; };
  if constexpr (std::is_same_v<T, float>) {
    if (const auto* table = backend.gemm_kernels()) {
      const Workspace::Scope scope(thread_scratch());
      for (const auto& packed : pack_products(backend, products, false, for_each)) {
        const auto& p = *packed.product;
        const Grid grid(p.rows, p.cols, p.depth, panels(p, table->panel_cols));
        for_each(grid.parts(), [&](Index i) { multiply_part(backend, packed, grid.part(i)); });
      }
      return;
    }
  }
  for (const auto& p : products) {
    constexpr Index width = 64;
    const Grid grid(p.rows, p.cols, p.depth, panels(p, width));
    for_each(grid.parts(), [&](Index i) {
      const auto part = grid.part(i);
      const Index col = part.first_panel * width;
      kernels::multiply_reference(p.block(part.first_row, part.last_row - part.first_row, col,
                                          std::min(p.cols, part.last_panel * width) - col));
    });
  }
}

template <class T>
void multiply_serial(const Backend& backend, const kernels::Product<T>& product) {
  // Rows are cut here, so that the packed ones do not outgrow the cache.
  constexpr Index row_block = 256;
  const Index blocks = std::max<Index>(1, (product.rows + row_block - 1) / row_block);
  for (Index i = 0; i < blocks; ++i) {
    const Index first = product.rows * i / blocks, last = product.rows * (i + 1) / blocks;
    const auto part = product.block(first, last - first, 0, product.cols);
    multiply<T>(backend, std::span(&part, 1), [](Index count, const auto& body) {
      for (Index task = 0; task < count; ++task) {
        body(task);
      }
    });
  }
}

template <class T>
void multiply(const Backend& backend, std::span<const kernels::Product<T>> products) {
  multiply<T>(backend, products,
              [&](Index count, const auto& body) { backend.pool().for_each(count, body); });
}

template <class T>
void multiply(const Backend& backend, const kernels::Product<T>& product) {
  // Very many rows in parts, so that the packed ones do not take too much memory.
  constexpr Index row_block = 4096;
  const Index blocks = (product.rows + row_block - 1) / row_block;
  for (Index i = 0; i < blocks; ++i) {
    const Index first = product.rows * i / blocks, last = product.rows * (i + 1) / blocks;
    const auto part = product.block(first, last - first, 0, product.cols);
    multiply<T>(backend, std::span(&part, 1));
  }
}

}  // namespace detail

// c = a b or c += a b with a [M, K], b [K, N], c [M, N], on the calling thread; for use inside parallel
// loops. Same bits as gemm. c must not overlap a or b. Fastest if one stride of each operand is 1.
template <class T>
void gemm_serial(const Backend& backend, Strided<std::type_identity_t<T>> a,
                 Strided<std::type_identity_t<T>> b, MatrixView<T> c, Write write) {
  detail::multiply_serial(backend, detail::checked_product<T>("gemm_serial", a, b, c, nullptr, write));
}

// The same, parallel over blocks of c.
template <class T>
void gemm(const Backend& backend, Strided<std::type_identity_t<T>> a, Strided<std::type_identity_t<T>> b,
          MatrixView<T> c, Write write) {
  detail::multiply(backend, detail::checked_product<T>("gemm", a, b, c, nullptr, write));
}

}  // namespace cpu
MAA_NAMESPACE_END
