// General matrix product: packed panels and register tiles. Included once per instruction set, after dot.inl.
//
// Each element of c is, per block of `depth`, one chain of fused multiply-adds in order of k, then added to
// what c held before (few rows: see dot.inl). Its bits do not depend on where in c it lies, so c may be cut
// into blocks at will.

inline constexpr Index tile_rows = MAA_LANES == 16 ? 14 : 6;
inline constexpr Index tile_cols = 2 * lanes;
// Depth of a block: a panel of b (depth_block x tile_cols) stays in the first-level cache.
inline constexpr Index depth_block = 256;
// Rows of packed a lie this far apart: not a power of two, whose multiples would share cache sets.
inline constexpr Index packed_stride = depth_block + 16;
inline constexpr Index row_block = 256;

// Where a tile is written.
struct Target {
  float* c;
  Index stride;
  const float* bias;
  Index rows, cols;  // at most those of the tile
  bool accumulate;
};

MAA_KERNEL_INLINE void write(const Target& to, float* c, Index col, Vec value) {
  const Index count = to.cols - col;
  if (count >= lanes) {
    if (to.accumulate) {
      value += load(c + col);
    } else if (to.bias != nullptr) {
      value += load(to.bias + col);
    }
    store(c + col, value);
  } else if (count > 0) {
    if (to.accumulate) {
      value += load_first(c + col, count);
    } else if (to.bias != nullptr) {
      value += load_first(to.bias + col, count);
    }
    store_first(c + col, value, count);
  }
}

// One tile of c in registers: Rows x (Width vectors). Packed a is [Rows][packed_stride] if ByRow, else
// [depth][Rows].
template <int Rows, int Width, bool ByRow>
inline void tile(const float* a, const float* b, Index b_row, Index depth, const Target& to) {
  constexpr Index row = ByRow ? packed_stride : 1;
  constexpr Index col = ByRow ? 1 : Rows;
  Vec sums[Rows][Width];
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      sums[i][v] = Vec{};
    }
  }
  for (Index k = 0; k < depth; ++k) {
    Vec right[Width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      right[v] = load(b + v * lanes);
    }
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(a[i * row]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(left, right[v], sums[i][v]);
      }
    }
    a += col;
    b += b_row;
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    if (i < to.rows) {
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        write(to, to.c + i * to.stride, v * lanes, sums[i][v]);
      }
    }
  }
}

using TileFunction = void (*)(const float*, const float*, Index, Index, const Target&);

// The tile of an even number of rows.
template <int Width, bool ByRow>
inline TileFunction tile_function(Index rows) {
  switch (rows) {
    case 2:
      return tile<2, Width, ByRow>;
    case 4:
      return tile<4, Width, ByRow>;
#if MAA_LANES == 16
    case 6:
      return tile<6, Width, ByRow>;
    case 8:
      return tile<8, Width, ByRow>;
    case 10:
      return tile<10, Width, ByRow>;
    case 12:
      return tile<12, Width, ByRow>;
#endif
    default:
      return tile<tile_rows, Width, ByRow>;
  }
}

// to[i * to_row + k] = from[i * from_row + k] for `rows` rows; rows up to `padded` are zeroed.
inline void copy_rows(const float* from, Index from_row, Index rows, Index padded, Index count, float* to,
                      Index to_row) {
  for (Index i = 0; i < padded; ++i) {
    float* target = to + i * to_row;
    const float* source = from + i * from_row;
    Index k = 0;
    if (i < rows) {
      for (; k + lanes <= count; k += lanes) {
        store(target + k, load(source + k));
      }
      if (k < count) {
        store_first(target + k, load_first(source + k, count - k), count - k);
      }
    } else {
      for (; k < count; ++k) {
        target[k] = 0;
      }
    }
  }
}

// to[k * width + j] = from[k * from_row + j * from_col] for j < count; j from count to width is zeroed.
inline void copy_any(const float* from, Index from_row, Index from_col, Index depth, Index count, Index width,
                     float* to) {
  if (from_col == 1 && count == width) {
    copy_rows(from, from_row, depth, depth, width, to, width);
    return;
  }
  for (Index k = 0; k < depth; ++k) {
    for (Index j = 0; j < count; ++j) {
      to[k * width + j] = from[k * from_row + j * from_col];
    }
    for (Index j = count; j < width; ++j) {
      to[k * width + j] = 0;
    }
  }
}

MAA_KERNEL_INLINE Quad load_quad(const float* p) {
  return *reinterpret_cast<const UnalignedQuad*>(p);
}

// Lanes 4 i .. 4 i + 3 come from row 4 i + r of `from`.
MAA_KERNEL_INLINE Vec gather_quads(const float* from, Index row) {
  const Octet low =
      __builtin_shufflevector(load_quad(from), load_quad(from + 4 * row), 0, 1, 2, 3, 4, 5, 6, 7);
#if MAA_LANES == 16
  const Octet high =
      __builtin_shufflevector(load_quad(from + 8 * row), load_quad(from + 12 * row), 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  return low;
#endif
}

#if MAA_LANES == 16
#define MAA_KERNEL_LOW(x, y) \
  __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define MAA_KERNEL_HIGH(x, y) \
  __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define MAA_KERNEL_EVEN(x, y) \
  __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define MAA_KERNEL_ODD(x, y) \
  __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#else
#define MAA_KERNEL_LOW(x, y) __builtin_shufflevector(x, y, 0, 8, 1, 9, 4, 12, 5, 13)
#define MAA_KERNEL_HIGH(x, y) __builtin_shufflevector(x, y, 2, 10, 3, 11, 6, 14, 7, 15)
#define MAA_KERNEL_EVEN(x, y) __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13)
#define MAA_KERNEL_ODD(x, y) __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15)
#endif

// to[k * to_row + j] = from[j * from_row + k] for `lanes` values of j and depth of k.
inline void transpose_lanes(const float* from, Index from_row, Index depth, float* to, Index to_row) {
  Index k = 0;
  for (; k + 4 <= depth; k += 4) {
    // 4 x 4 transposes in each 128-bit lane.
    const Vec row0 = gather_quads(from + k, from_row);
    const Vec row1 = gather_quads(from + k + from_row, from_row);
    const Vec row2 = gather_quads(from + k + 2 * from_row, from_row);
    const Vec row3 = gather_quads(from + k + 3 * from_row, from_row);
    const Vec low01 = MAA_KERNEL_LOW(row0, row1), low23 = MAA_KERNEL_LOW(row2, row3);
    const Vec high01 = MAA_KERNEL_HIGH(row0, row1), high23 = MAA_KERNEL_HIGH(row2, row3);
    store(to + k * to_row, MAA_KERNEL_EVEN(low01, low23));
    store(to + (k + 1) * to_row, MAA_KERNEL_ODD(low01, low23));
    store(to + (k + 2) * to_row, MAA_KERNEL_EVEN(high01, high23));
    store(to + (k + 3) * to_row, MAA_KERNEL_ODD(high01, high23));
  }
  for (; k < depth; ++k) {
    for (Index j = 0; j < lanes; ++j) {
      to[k * to_row + j] = from[j * from_row + k];
    }
  }
}

#undef MAA_KERNEL_LOW
#undef MAA_KERNEL_HIGH
#undef MAA_KERNEL_EVEN
#undef MAA_KERNEL_ODD

// Packs `count` columns of b, from `width` on zero, as [depth][width].
inline void pack_panel(const float* b, Index b_row, Index b_col, Index depth, Index count, Index width,
                       float* to) {
  if (b_col == 1) {
    for (Index k = 0; k < depth; ++k) {
      const float* source = b + k * b_row;
      float* target = to + k * width;
      for (Index j = 0; j < width; j += lanes) {
        const Index left = count - j;
        store(target + j, left >= lanes ? load(source + j) : left > 0 ? load_first(source + j, left) : Vec{});
      }
    }
  } else if (b_row == 1 && count == width) {
    for (Index j = 0; j < width; j += lanes) {
      transpose_lanes(b + j * b_col, b_col, depth, to + j, width);
    }
  } else {
    copy_any(b, b_row, b_col, depth, count, width, to);
  }
}

// Rows of tile t when `rows` are dealt to `tiles` tiles in pairs, as evenly as they go: where it begins.
MAA_KERNEL_INLINE Index tile_begin(Index rows, Index tiles, Index t) {
  const Index pairs = (rows + 1) / 2;
  return 2 * (pairs * t / tiles);
}

// One block of at most row_block rows and depth_block of depth.
template <bool ByRow>
inline void multiply_block(const Product<float>& p, float* packed_a, float* packed_b) {
  const Index tiles = (p.rows + tile_rows - 1) / tile_rows;
  for (Index t = 0; t < tiles; ++t) {
    const Index first = tile_begin(p.rows, tiles, t), padded = tile_begin(p.rows, tiles, t + 1) - first;
    const Index rows = padded < p.rows - first ? padded : p.rows - first;
    float* to = packed_a + first * packed_stride;
    if constexpr (ByRow) {
      copy_rows(p.a + first * p.a_row, p.a_row, rows, padded, p.depth, to, packed_stride);
    } else {
      copy_any(p.a + first * p.a_row, p.a_col, p.a_row, p.depth, rows, padded, to);
    }
  }
  for (Index j = 0; j < p.cols; j += tile_cols) {
    const Index cols = p.cols - j < tile_cols ? p.cols - j : tile_cols;
    const Index width = cols > lanes ? tile_cols : lanes;
    pack_panel(p.b + j * p.b_col, p.b_row, p.b_col, p.depth, cols, width, packed_b);
    for (Index t = 0; t < tiles; ++t) {
      const Index first = tile_begin(p.rows, tiles, t), padded = tile_begin(p.rows, tiles, t + 1) - first;
      const Index rows = padded < p.rows - first ? padded : p.rows - first;
      const Target to{p.c + first * p.c_row + j,
                      p.c_row,
                      p.bias == nullptr ? nullptr : p.bias + j,
                      rows,
                      cols,
                      p.accumulate};
      const auto run = width == tile_cols ? tile_function<2, ByRow>(padded) : tile_function<1, ByRow>(padded);
      run(packed_a + first * packed_stride, packed_b, width, p.depth, to);
    }
  }
}

// The whole product; `scratch` holds gemm_scratch floats, 64-byte aligned.
inline void multiply(const Product<float>& p, float* scratch) {
  // Few rows: packing would cost more than it saves; for more than four the sums across lanes must pay off,
  // too.
  if (p.rows <= (p.depth >= 128 ? 12 : 4) && p.a_col == 1 && p.b_row == 1) {
    return stream(p);
  }
  float* packed_a = scratch;
  float* packed_b = scratch + row_block * packed_stride;
  const Index row_blocks = (p.rows + row_block - 1) / row_block;
  const Index depth_blocks = p.depth == 0 ? 1 : (p.depth + depth_block - 1) / depth_block;
  for (Index r = 0; r < row_blocks; ++r) {
    const Index first_row = p.rows * r / row_blocks, end_row = p.rows * (r + 1) / row_blocks;
    auto part = p.block(first_row, end_row - first_row, 0, p.cols);
    for (Index d = 0; d < depth_blocks; ++d) {
      const Index first = p.depth * d / depth_blocks, end = p.depth * (d + 1) / depth_blocks;
      part.depth = end - first;
      part.accumulate = p.accumulate || d > 0;
      if (p.a_col == 1) {
        multiply_block<true>(part, packed_a, packed_b);
      } else {
        multiply_block<false>(part, packed_a, packed_b);
      }
      part.a += part.depth * p.a_col;
      part.b += part.depth * p.b_row;
    }
  }
}
