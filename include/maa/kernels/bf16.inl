// Products of bfloat16 factors with sums in float, on AMX tiles or AVX512-BF16. Included in the AVX-512
// region after gemm.inl. The instructions are written as assembly: compilers know them only with further
// target options, and name their builtins differently.
//
// Both factors lie in steps of 32 numbers of depth, as 16 words of pairs whose low half is the even k; the
// last step is filled up with zeros. The first factor: [steps][rows][16 words], steps `a_step` words apart.
// The second, for each panel of 32 columns: [steps][16 pairs][32 words]. Each element of c is one chain over
// the whole depth, whatever tile computes it, so c may be cut at will.

// Two vectors rounded to nearest even; the first becomes the low half. NaN stays NaN, denormal numbers become
// zero (and are zero to the products).
MAA_KERNEL_INLINE Ints to_bf16(Vec low, Vec high) {
  Ints words;
  __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(words) : "v"(low), "v"(high));
  return words;
}

// Packs rows [0, rows) and `depth` columns of a; `to` is the place of the first row in the first of these
// steps.
inline void pack_bf16_rows(const float* a, Index a_row, Index a_col, Index rows, Index depth,
                           std::uint32_t* to, Index a_step) {
  for (Index i = 0; i < rows; ++i) {
    const float* const from = a + i * a_row;
    std::uint32_t* target = to + i * 16;
    if (a_col == 1) {
      Index k = 0;
      for (; k + 2 * lanes <= depth; k += 2 * lanes) {
        store_words(target, to_bf16(load(from + k), load(from + k + lanes)));
        target += a_step;
      }
      if (k < depth) {
        const Index left = depth - k;
        store_words(target, to_bf16(load_part(from + k, left), load_part(from + k + lanes, left - lanes)));
      }
    } else {
      for (Index k = 0; k < depth; k += 2 * lanes) {
        float part[2 * lanes] = {};
        for (Index j = 0; j < 2 * lanes && k + j < depth; ++j) {
          part[j] = from[(k + j) * a_col];
        }
        store_words(target, to_bf16(load(part), load(part + lanes)));
        target += a_step;
      }
    }
  }
}

// Rows are dealt to tiles as evenly as they go. All tiles have the rows of the largest: where one holds more
// than its share it computes rows of the next one, too, which it does not write.
struct RowTiles {
  Index rows, tiles, size;

  MAA_KERNEL_INLINE RowTiles(Index rows_, Index limit)
      : rows(rows_), tiles((rows_ + limit - 1) / limit), size((rows_ + tiles - 1) / tiles) {}
  MAA_KERNEL_INLINE Index begin(Index t) const { return rows * t / tiles; }
  MAA_KERNEL_INLINE Target target(const Target& to, Index t) const {
    return to.part(begin(t), begin(t + 1) - begin(t));
  }
};

// Memory to bring into the second-level cache, some lines per step of depth.
struct LineFetch {
  const char* from;
  Index lines;

  MAA_KERNEL_INLINE void next() {
    for (Index i = 0; i < lines; ++i) {
      __builtin_prefetch(from, 0, 2);
      from += 64;
    }
  }
};

// What palette 1 of ldtilecfg reads: bytes of a row and number of rows of each tile register.
struct TileConfig {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};

// Sums in registers 0 to 3, the first factor in 4 and 5, the second in 6 and 7.
MAA_KERNEL_INLINE void configure_tiles(Index rows) {
  TileConfig config = {};
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = static_cast<std::uint8_t>(i < 6 ? rows : 16);
  }
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

// What follows computes sums [rows][32] += rows of a times `steps` steps of a panel; `fresh` sums begin at
// zero. In the order of the loads each tile of b serves before the next one comes: of few rows that costs
// less.
inline void amx_pair(const std::uint32_t* a0, const std::uint32_t* a1, Index a_step, const std::uint32_t* b,
                     Index steps, LineFetch fetch, bool fresh, float* sums0, float* sums1) {
  constexpr Index a_row = 64, row = 128;
  if (fresh) {
    __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" ::: "memory");
  } else {
    __asm__ volatile(
        "tileloadd (%0,%2,1), %%tmm0\n\t"
        "tileloadd 64(%0,%2,1), %%tmm1\n\t"
        "tileloadd (%1,%2,1), %%tmm2\n\t"
        "tileloadd 64(%1,%2,1), %%tmm3"
        :
        : "r"(sums0), "r"(sums1), "r"(row)
        : "memory");
  }
  for (Index s = 0; s < steps; ++s) {
    __asm__ volatile(
        "tileloadd (%0,%3,1), %%tmm4\n\t"
        "tileloadd (%2,%4,1), %%tmm6\n\t"
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
        "tileloadd (%1,%3,1), %%tmm5\n\t"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
        "tileloadd 64(%2,%4,1), %%tmm7\n\t"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
        "tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
        :
        : "r"(a0), "r"(a1), "r"(b), "r"(a_row), "r"(row)
        : "memory");
    fetch.next();
    a0 += a_step;
    a1 += a_step;
    b += 512;
  }
  __asm__ volatile(
      "tilestored %%tmm0, (%0,%2,1)\n\t"
      "tilestored %%tmm1, 64(%0,%2,1)\n\t"
      "tilestored %%tmm2, (%1,%2,1)\n\t"
      "tilestored %%tmm3, 64(%1,%2,1)"
      :
      : "r"(sums0), "r"(sums1), "r"(row)
      : "memory");
}

inline void amx_single(const std::uint32_t* a, Index a_step, const std::uint32_t* b, Index steps,
                       LineFetch fetch, bool fresh, float* sums) {
  constexpr Index a_row = 64, row = 128;
  if (fresh) {
    __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1" ::: "memory");
  } else {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm0\n\ttileloadd 64(%0,%1,1), %%tmm1"
                     :
                     : "r"(sums), "r"(row)
                     : "memory");
  }
  for (Index s = 0; s < steps; ++s) {
    __asm__ volatile(
        "tileloadd (%0,%2,1), %%tmm4\n\t"
        "tileloadd (%1,%3,1), %%tmm6\n\t"
        "tileloadd 64(%1,%3,1), %%tmm7\n\t"
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1"
        :
        : "r"(a), "r"(b), "r"(a_row), "r"(row)
        : "memory");
    fetch.next();
    a += a_step;
    b += 512;
  }
  __asm__ volatile("tilestored %%tmm0, (%0,%1,1)\n\ttilestored %%tmm1, 64(%0,%1,1)"
                   :
                   : "r"(sums), "r"(row)
                   : "memory");
}

// Writes sums [rows][32] where they belong.
inline void write_sums(const float* sums, const Target& to) {
  if (to.cols == 32 && !to.accumulate) {
    const Vec left = to.bias == nullptr ? Vec{} : load(to.bias);
    const Vec right = to.bias == nullptr ? Vec{} : load(to.bias + lanes);
    for (Index i = 0; i < to.rows; ++i) {
      store(to.c + i * to.stride, load(sums + i * 32) + left);
      store(to.c + i * to.stride + lanes, load(sums + i * 32 + lanes) + right);
    }
    return;
  }
  for (Index i = 0; i < to.rows; ++i) {
    for (Index col = 0; col < to.cols; col += lanes) {
      float* const at = to.c + i * to.stride + col;
      const Index count = to.cols - col;
      const Vec base = to.accumulate        ? load_part(at, count)
                       : to.bias != nullptr ? load_part(to.bias + col, count)
                                            : Vec{};
      store_part(at, load(sums + i * 32 + col) + base, count);
    }
  }
}

// The panel of c from column `first` on.
MAA_KERNEL_INLINE Target panel_target(const Product<float>& c, Index first) {
  Target to = target_of(c);
  to.c += first;
  to.bias = to.bias == nullptr ? nullptr : to.bias + first;
  to.cols = c.cols - first < 32 ? c.cols - first : 32;
  return to;
}

// At most amx_rows rows; their sums for one panel lie on the stack.
inline constexpr Index amx_rows = 128;
inline void multiply_amx_rows(const std::uint32_t* a, Index a_step, const std::uint32_t* b,
                              const Product<float>& c) {
  const Index steps = (c.depth + 31) / 32;
  const RowTiles tiles(c.rows, 16);
  alignas(64) float sums[amx_rows * 32];
  configure_tiles(tiles.size);
  // Where there are several pairs of row tiles, all read a part of the panel that stays in the first-level
  // cache: L2 alone cannot feed them. Meanwhile the memory some way behind is fetched, by each pair its
  // share.
  const Index pairs = (tiles.tiles + 1) / 2, chunk = pairs == 1 ? steps : 8;
  const Index lines = (32 + pairs - 1) / pairs, distance = pairs == 1 ? 4 : chunk;  // the distance in steps
  for (Index col = 0; col < c.cols; col += 32) {
    Index s = 0;
    do {
      const Index count = steps - s < chunk ? steps - s : chunk;
      const char* const ahead = reinterpret_cast<const char*>(b + distance * 512);
      for (Index t = 0; t < tiles.tiles; t += 2) {
        const std::uint32_t* const rows = a + s * a_step;
        const LineFetch fetch{ahead + t / 2 * lines * count * 64, lines};
        float* const at = sums + t * tiles.size * 32;
        if (t + 1 < tiles.tiles) {
          amx_pair(rows + tiles.begin(t) * 16, rows + tiles.begin(t + 1) * 16, a_step, b, count, fetch,
                   s == 0, at, at + tiles.size * 32);
        } else {
          amx_single(rows + tiles.begin(t) * 16, a_step, b, count, fetch, s == 0, at);
        }
      }
      b += count * 512;
      s += chunk;
    } while (s < steps);  // of no depth, too, sums are cleared
    const Target to = panel_target(c, col);
    for (Index t = 0; t < tiles.tiles; ++t) {
      write_sums(sums + t * tiles.size * 32, tiles.target(to, t));
    }
  }
  __asm__ volatile("tilerelease" ::: "memory");
}

// The block c of a product, whose rows are `a` and whose panels begin with `b`.
inline void multiply_bf16_amx(const std::uint32_t* a, Index a_step, const std::uint32_t* b,
                              const Product<float>& c) {
  const Index blocks = (c.rows + amx_rows - 1) / amx_rows;
  for (Index i = 0; i < blocks; ++i) {
    const Index first = c.rows * i / blocks, last = c.rows * (i + 1) / blocks;
    multiply_amx_rows(a + first * 16, a_step, b, c.block(first, last - first, 0, c.cols));
  }
}

// In each lane, sums += the two products of a pair.
MAA_KERNEL_INLINE void dot_pairs(Vec& sums, Ints left, Ints right) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(left), "v"(right));
}
MAA_KERNEL_INLINE Ints broadcast_word(std::uint32_t word) {
  return static_cast<int>(word) - Ints{};
}

// A tile of c on AVX512-BF16, which stays in registers over the whole depth.
template <int Rows>
inline void dot_tile(const std::uint32_t* a, Index a_step, const std::uint32_t* b, Index steps,
                     LineFetch fetch, const Target& to) {
  Vec sums[Rows][2];
  begin(to, sums);
  for (Index s = 0; s < steps; ++s) {
    for (Index j = 0; j < 16; ++j) {
      const Ints first = load_words(b), second = load_words(b + lanes);
      fetch.next();
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        const Ints left = broadcast_word(a[i * 16 + j]);
        dot_pairs(sums[i][0], left, first);
        dot_pairs(sums[i][1], left, second);
      }
      b += 32;
    }
    a += a_step;
  }
  finish(to, sums);
}

using DotTile = void (*)(const std::uint32_t*, Index, const std::uint32_t*, Index, LineFetch, const Target&);

// The same on AVX512-BF16.
inline void multiply_bf16_dot(const std::uint32_t* a, Index a_step, const std::uint32_t* b,
                              const Product<float>& c) {
  static constexpr DotTile functions[] = {dot_tile<1>,  dot_tile<2>,  dot_tile<3>,  dot_tile<4>, dot_tile<5>,
                                          dot_tile<6>,  dot_tile<7>,  dot_tile<8>,  dot_tile<9>, dot_tile<10>,
                                          dot_tile<11>, dot_tile<12>, dot_tile<13>, dot_tile<14>};
  if (c.rows == 0) {
    return;
  }
  const Index steps = (c.depth + 31) / 32, panel_words = steps * 512;
  const RowTiles tiles(c.rows, tile_rows);
  const DotTile run = functions[tiles.size - 1];
  const Index lines = tiles.tiles == 1 ? 2 : 1;  // per pair of depth; a panel has two
  for (Index col = 0; col < c.cols; col += 32) {
    const Target to = panel_target(c, col);
    // A single tile fetches ahead; of more, the first two fetch the next panel.
    const char* const ahead = reinterpret_cast<const char*>(tiles.tiles == 1 ? b + 512 : b + panel_words);
    for (Index t = 0; t < tiles.tiles; ++t) {
      run(a + tiles.begin(t) * 16, a_step, b, steps, {ahead + t * steps * 1024, t < 2 ? lines : 0},
          tiles.target(to, t));
    }
    b += panel_words;
  }
}

// `count` times eight independent multiply-adds, or dot products of pairs, to compare their speed.
inline float repeat_fma(Index count) {
  Vec sums[8] = {};
  const Vec one = broadcast(1.0f);
  for (Index n = 0; n < count; ++n) {
    MAA_KERNEL_UNROLL
    for (int i = 0; i < 8; ++i) {
      __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(sums[i]) : "v"(one));
    }
  }
  return sums[0][0];
}
inline float repeat_dot(Index count) {
  Vec sums[8] = {};
  const Ints one = bits(broadcast(1.0f));
  for (Index n = 0; n < count; ++n) {
    MAA_KERNEL_UNROLL
    for (int i = 0; i < 8; ++i) {
      __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(sums[i]) : "v"(one));
    }
  }
  return sums[0][0];
}
