// Matrix products on packed operands. Included once per instruction set, after dot.inl.
//
// The first factor is packed by rows, the second in panels of tile_cols columns: [depth][tile_cols]. A tile
// of c, tile_rows x tile_cols, stays in registers over one block of depth. Each element of c is one chain of
// fused multiply-adds in order of k, which begins at what c held (or the bias); its bits do not depend on
// where in c it lies, nor on the number of rows, so c may be cut into blocks at will.

MAA_KERNEL_INLINE Ints load_words(const std::uint32_t* p) {
  return bits(load(reinterpret_cast<const float*>(p)));
}
MAA_KERNEL_INLINE void store_words(std::uint32_t* p, Ints words) {
  store(reinterpret_cast<float*>(p), from_bits(words));
}

inline constexpr Index tile_rows = MAA_LANES == 16 ? 14 : 6;
inline constexpr Index tile_cols = 2 * lanes;

// Where the product of a row block and a panel is written.
struct Target {
  float* c;
  Index stride;
  const float* bias;
  Index rows, cols;  // cols: at most tile_cols
  bool accumulate;
  const float* next;  // where the next tile will be written

  // Rows [row, row + count); after the last ones comes the panel to the right.
  MAA_KERNEL_INLINE Target part(Index row, Index count) const {
    return {c + row * stride,
            stride,
            bias,
            count,
            cols,
            accumulate,
            row + count < rows ? c + (row + count) * stride : c + cols};
  }
};

MAA_KERNEL_INLINE Vec load_part(const float* p, Index count) {
  return count >= lanes ? load(p) : count > 0 ? load_first(p, count) : Vec{};
}
MAA_KERNEL_INLINE void store_part(float* p, Vec v, Index count) {
  if (count >= lanes) {
    store(p, v);
  } else if (count > 0) {
    store_first(p, v, count);
  }
}

// What sums begin with: c, the bias or nothing. The place of the next tile is fetched meanwhile: rows of c
// lie too far apart for the hardware to foresee it.
template <int Rows, int Width>
MAA_KERNEL_INLINE void begin(const Target& to, Vec (&sums)[Rows][Width]) {
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    __builtin_prefetch(to.next + i * to.stride, 1, 2);
    __builtin_prefetch(to.next + i * to.stride + 16, 1, 2);
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      sums[i][v] = Vec{};
    }
  }
  if (to.accumulate) {
    if (to.rows >= Rows && to.cols >= Width * lanes) {
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        MAA_KERNEL_UNROLL
        for (int v = 0; v < Width; ++v) {
          sums[i][v] = load(to.c + i * to.stride + v * lanes);
        }
      }
    } else {
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        if (i < to.rows) {
          MAA_KERNEL_UNROLL
          for (int v = 0; v < Width; ++v) {
            sums[i][v] = load_part(to.c + i * to.stride + v * lanes, to.cols - v * lanes);
          }
        }
      }
    }
  } else if (to.bias != nullptr) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      const Vec bias = load_part(to.bias + v * lanes, to.cols - v * lanes);
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        sums[i][v] = bias;
      }
    }
  }
}

template <int Rows, int Width>
MAA_KERNEL_INLINE void finish(const Target& to, const Vec (&sums)[Rows][Width]) {
  if (to.rows >= Rows && to.cols >= Width * lanes) {
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        store(to.c + i * to.stride + v * lanes, sums[i][v]);
      }
    }
    return;
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    if (i < to.rows) {
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        store_part(to.c + i * to.stride + v * lanes, sums[i][v], to.cols - v * lanes);
      }
    }
  }
}

// Memory to bring into the second-level cache while a tile is computed: `step` bytes per step of depth.
struct Fetch {
  const char* from;
  Index step;

  MAA_KERNEL_INLINE void next() {
    __builtin_prefetch(from, 0, 2);
    __builtin_prefetch(from + 64, 0, 2);
    from += step;
  }
};

// One tile; a [Rows][packed_stride], b [depth][Width vectors].
template <int Rows, int Width>
inline void tile(const float* a, const float* b, Index depth, Fetch fetch, const Target& to) {
  Vec sums[Rows][Width];
  begin(to, sums);
  for (Index k = 0; k < depth; ++k) {
    Vec right[Width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      right[v] = load(b + v * lanes);
      __builtin_prefetch(b + (v + 8 * Width) * lanes, 0, 3);  // from the second-level cache
    }
    fetch.next();
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(a[i * packed_stride]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(left, right[v], sums[i][v]);
      }
    }
    ++a;
    b += Width * lanes;
  }
  finish(to, sums);
}

// The same for b in bfloat16, [depth / 2][Width vectors of pairs]: the low half of a word is the even k.
template <int Rows, int Width>
inline void narrow_tile(const float* a, const std::uint32_t* b, Index depth, Fetch fetch, const Target& to) {
  Vec sums[Rows][Width];
  begin(to, sums);
  for (Index k = 0; k < depth; k += 2) {
    Vec even[Width], odd[Width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      const Ints pairs = load_words(b + v * lanes);
      even[v] = from_bits(pairs << 16);
      odd[v] = from_bits(pairs & static_cast<int>(0xffff0000u));
    }
    fetch.next();
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(a[i * packed_stride]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(left, even[v], sums[i][v]);
      }
      const Vec next = broadcast(a[i * packed_stride + 1]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(next, odd[v], sums[i][v]);
      }
    }
    a += 2;
    b += Width * lanes;
  }
  finish(to, sums);
}

template <class T>
using TileFunction = void (*)(const float*, const T*, Index, Fetch, const Target&);

// The tile of one row or an even number of rows.
#define MAA_KERNEL_CHOOSE_TILE(function) \
  switch (rows) {                        \
    case 1:                              \
      return function<1, Width>;         \
    case 2:                              \
      return function<2, Width>;         \
    case 4:                              \
      return function<4, Width>;         \
      MAA_KERNEL_MORE_TILES(function)    \
    default:                             \
      return function<tile_rows, Width>; \
  }
#if MAA_LANES == 16
#define MAA_KERNEL_MORE_TILES(function) \
  case 6:                               \
    return function<6, Width>;          \
  case 8:                               \
    return function<8, Width>;          \
  case 10:                              \
    return function<10, Width>;         \
  case 12:                              \
    return function<12, Width>;
#else
#define MAA_KERNEL_MORE_TILES(function)
#endif
template <int Width>
inline TileFunction<float> tile_function(Index rows) {
  MAA_KERNEL_CHOOSE_TILE(tile)
}
inline TileFunction<std::uint32_t> narrow_tile_function(Index rows) {
  constexpr int Width = 2;
  MAA_KERNEL_CHOOSE_TILE(narrow_tile)
}
#undef MAA_KERNEL_CHOOSE_TILE
#undef MAA_KERNEL_MORE_TILES

// Rows are dealt to `tiles` tiles in pairs, as evenly as they go: where tile t begins.
MAA_KERNEL_INLINE Index tile_begin(Index rows, Index tiles, Index t) {
  const Index pairs = (rows + 1) / 2;
  return 2 * (pairs * t / tiles);
}
MAA_KERNEL_INLINE Index tile_count(Index rows) {
  return (rows + tile_rows - 1) / tile_rows;
}
// What tile t of `tiles` fetches: a single tile some distance along the panel, which it reads only once; of
// more, each its share of the panel behind this one. `bytes` is the panel's size, `row_bytes` that of a step
// of depth.
MAA_KERNEL_INLINE Fetch fetch_for(Index tiles, Index t, const void* panel, Index bytes, Index row_bytes) {
  constexpr Index distance = 1024;
  const char* const begin = static_cast<const char*>(panel);
  return tiles == 1 ? Fetch{begin + distance, row_bytes}
                    : Fetch{begin + bytes + bytes * t / tiles / 64 * 64, row_bytes / tiles};
}

MAA_KERNEL_INLINE Target target_of(const Product<float>& c) {
  return {c.c, c.c_row, c.bias, c.rows, c.cols, c.accumulate, nullptr};
}

// The block c (at most tile_cols columns), from packed_a [rows][packed_stride] and panel [depth][one or two
// vectors].
inline void multiply_panel(const float* packed_a, const float* panel, Index depth, const Product<float>& c,
                           const TileFetch* fetch) {
  const Target to = target_of(c);
  const Index tiles = tile_count(to.rows);
  const bool wide = to.cols > lanes;
  for (Index t = 0; t < tiles; ++t) {
    const Index first = tile_begin(to.rows, tiles, t), padded = tile_begin(to.rows, tiles, t + 1) - first;
    const Index rows = padded < to.rows - first ? padded : to.rows - first;
    const Index row_bytes = (wide ? tile_cols : lanes) * 4;
    const Index shape = to.rows == 1 ? 1 : padded;
    const auto run = wide ? tile_function<2>(shape) : tile_function<1>(shape);
    run(packed_a + first * packed_stride, panel, depth,
        fetch == nullptr ? fetch_for(tiles, t, panel, depth * row_bytes, row_bytes)
                         : Fetch{fetch->from, fetch->step},
        to.part(first, rows));
  }
}

// [depth / 2][tile_cols] pairs to [depth][tile_cols] floats.
inline void widen_panel(const std::uint32_t* panel, Index pairs, float* to) {
  for (Index i = 0; i < pairs; ++i) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < 2; ++v) {
      const Ints words = load_words(panel + i * tile_cols + v * lanes);
      store(to + 2 * i * tile_cols + v * lanes, from_bits(words << 16));
      store(to + (2 * i + 1) * tile_cols + v * lanes, from_bits(words & static_cast<int>(0xffff0000u)));
    }
  }
}

// The same with a panel in bfloat16, always tile_cols wide: [ceil(depth / 2)][tile_cols] pairs. For several
// tiles it is widened once, into `scratch` of panel_size floats.
inline void multiply_narrow_panel(const float* packed_a, const std::uint32_t* panel, Index depth,
                                  const Product<float>& c, float* scratch) {
  const Target to = target_of(c);
  const Index tiles = tile_count(to.rows), pairs = (depth + 1) / 2;
  if (tiles == 1) {
    const Index shape = to.rows == 1 ? 1 : tile_begin(to.rows, 1, 1);
    narrow_tile_function(shape)(packed_a, panel, depth, fetch_for(1, 0, panel, 0, tile_cols * 4),
                                to.part(0, to.rows));
    return;
  }
  widen_panel(panel, pairs, scratch);
  for (Index t = 0; t < tiles; ++t) {
    const Index first = tile_begin(to.rows, tiles, t), padded = tile_begin(to.rows, tiles, t + 1) - first;
    const Index rows = padded < to.rows - first ? padded : to.rows - first;
    tile_function<2>(padded)(packed_a + first * packed_stride, scratch, depth,
                             fetch_for(tiles, t, panel, pairs * tile_cols * 4, tile_cols * 2),
                             to.part(first, rows));
  }
}

// A panel of tile_cols or fewer columns to bfloat16 pairs, rounded to nearest even; an odd last row gets a
// zero partner. `to` is tile_cols wide.
inline void narrow_panel(const float* panel, Index depth, Index cols, std::uint32_t* to) {
  const Index width = cols > lanes ? tile_cols : lanes;
  for (Index k = 0; k < depth; k += 2) {
    for (Index j = 0; j < tile_cols; j += lanes) {
      const Ints even = j < width ? bits(load(panel + k * width + j)) : Ints{};
      const Ints odd = j < width && k + 1 < depth ? bits(load(panel + (k + 1) * width + j)) : Ints{};
      const Ints low = even + 0x7fff + ((even >> 16) & 1), high = odd + 0x7fff + ((odd >> 16) & 1);
      store_words(to + k / 2 * tile_cols + j,
                  ((low >> 16) & 0xffff) | (high & static_cast<int>(0xffff0000u)));
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

// to[k * to_row + j] = from[j * from_row + k] for `lanes` values of j and depth of k; if Minus, less the same
// of `minus`.
template <bool Minus>
inline void transpose_lanes(const float* from, const float* minus, Index from_row, Index depth, float* to,
                            Index to_row) {
  // The next `lanes` rows are fetched meanwhile, a cache line of each where one of this block ends.
  const Index next = lanes * from_row;
  Index k = 0;
  for (; k + 4 <= depth; k += 4) {
    if (k % 16 == 0) {
      for (Index j = 0; j < lanes; ++j) {
        __builtin_prefetch(from + k + next + j * from_row, 0, 2);
      }
    }
    // 4 x 4 transposes in each 128-bit lane.
    Vec row0 = gather_quads(from + k, from_row);
    Vec row1 = gather_quads(from + k + from_row, from_row);
    Vec row2 = gather_quads(from + k + 2 * from_row, from_row);
    Vec row3 = gather_quads(from + k + 3 * from_row, from_row);
    if constexpr (Minus) {
      row0 -= gather_quads(minus + k, from_row);
      row1 -= gather_quads(minus + k + from_row, from_row);
      row2 -= gather_quads(minus + k + 2 * from_row, from_row);
      row3 -= gather_quads(minus + k + 3 * from_row, from_row);
    }
    const Vec low01 = MAA_KERNEL_LOW(row0, row1), low23 = MAA_KERNEL_LOW(row2, row3);
    const Vec high01 = MAA_KERNEL_HIGH(row0, row1), high23 = MAA_KERNEL_HIGH(row2, row3);
    store(to + k * to_row, MAA_KERNEL_EVEN(low01, low23));
    store(to + (k + 1) * to_row, MAA_KERNEL_ODD(low01, low23));
    store(to + (k + 2) * to_row, MAA_KERNEL_EVEN(high01, high23));
    store(to + (k + 3) * to_row, MAA_KERNEL_ODD(high01, high23));
  }
  for (; k < depth; ++k) {
    for (Index j = 0; j < lanes; ++j) {
      const Index at = j * from_row + k;
      to[k * to_row + j] = Minus ? from[at] - minus[at] : from[at];
    }
  }
}

#undef MAA_KERNEL_LOW
#undef MAA_KERNEL_HIGH
#undef MAA_KERNEL_EVEN
#undef MAA_KERNEL_ODD

// Packs rows [0, rows) and `depth` columns of a as [rows][packed_stride]; row `rows` (the partner of an odd
// last one) and the column behind the last are zeroed.
inline void pack_rows(const float* a, Index a_row, Index a_col, Index rows, Index depth, float* to) {
  if (a_col == 1) {
    for (Index i = 0; i < rows; ++i) {
      float* target = to + i * packed_stride;
      const float* source = a + i * a_row;
      Index k = 0;
      for (; k + lanes <= depth; k += lanes) {
        store(target + k, load(source + k));
      }
      if (k < depth) {
        store_first(target + k, load_first(source + k, depth - k), depth - k);
      }
    }
  } else {
    Index k = 0;
    if (a_row == 1) {
      for (; k + lanes <= depth; k += lanes) {
        transpose_lanes<false>(a + k * a_col, nullptr, a_col, rows, to + k, packed_stride);
      }
    }
    for (; k < depth; ++k) {
      for (Index i = 0; i < rows; ++i) {
        to[i * packed_stride + k] = a[i * a_row + k * a_col];
      }
    }
  }
  for (Index i = 0; i < rows; ++i) {
    to[i * packed_stride + depth] = 0;
  }
  if (rows % 2 == 1) {
    for (Index k = 0; k <= depth; ++k) {
      to[rows * packed_stride + k] = 0;
    }
  }
}

// Several panels at once where rows of b are contiguous, so that each is read in one go.
template <bool Minus>
inline void copy_panels(const float* b, const float* minus, Index b_row, Index depth, Index count,
                        float* to) {
  constexpr Index rows_ahead = 8;
  for (Index k = 0; k < depth; ++k) {
    float* panel = to;
    for (Index j = 0; j < count; j += tile_cols) {
      const Index width = count - j > lanes ? tile_cols : lanes;
      for (Index v = 0; v < width; v += lanes) {
        __builtin_prefetch(b + rows_ahead * b_row + j + v, 0, 2);
        if constexpr (Minus) {
          __builtin_prefetch(minus + rows_ahead * b_row + j + v, 0, 2);
        }
        Vec value = load_part(b + j + v, count - j - v);
        if constexpr (Minus) {
          value -= load_part(minus + j + v, count - j - v);
        }
        store(panel + k * width + v, value);
      }
      panel += depth * width;
    }
    b += b_row;
    minus += b_row;
  }
}

template <bool Minus>
inline void pack_columns(const float* b, const float* minus, Index b_row, Index b_col, Index depth,
                         Index count, float* to) {
  if (b_col == 1) {
    copy_panels<Minus>(b, minus, b_row, depth, count, to);
    return;
  }
  for (Index first = 0; first < count; first += tile_cols) {
    const Index used = count - first < tile_cols ? count - first : tile_cols;
    const Index width = used > lanes ? tile_cols : lanes;
    Index j = 0;
    if (b_row == 1) {
      for (; j + lanes <= used; j += lanes) {
        transpose_lanes<Minus>(b + (first + j) * b_col, minus + (first + j) * b_col, b_col, depth, to + j,
                               width);
      }
    }
    for (Index k = 0; k < depth; ++k) {
      for (Index i = j; i < width; ++i) {
        const Index at = k * b_row + (first + i) * b_col;
        to[k * width + i] = i >= used ? 0.0f : Minus ? b[at] - minus[at] : b[at];
      }
    }
    to += depth * width;
  }
}

// Packs `depth` rows and `count` columns of the second factor in panels [depth][tile_cols], one behind the
// other; the last has one vector's width if that suffices. Columns from `count` on are zero.
inline void pack_panels(const Product<float>& p, Index first_col, Index first_depth, Index depth, Index count,
                        float* to) {
  const Index at = first_col * p.b_col + first_depth * p.b_row;
  if (p.b_minus != nullptr) {
    pack_columns<true>(p.b + at, p.b_minus + at, p.b_row, p.b_col, depth, count, to);
  } else {
    pack_columns<false>(p.b + at, p.b, p.b_row, p.b_col, depth, count, to);
  }
}
