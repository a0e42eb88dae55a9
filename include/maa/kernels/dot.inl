// Products of few rows with a row-major weight matrix, which is read once, in order, and not packed.

// Sums of Rows x Outputs dot products along `depth`.
template <int Rows, int Outputs>
MAA_KERNEL_INLINE void dot_products(const float* x, Index x_row, const float* w, Index w_row, Index depth,
                                    float (&result)[Rows][Outputs]) {
  // Independent accumulators, enough to cover the latency of an addition. Their number depends on Rows alone,
  // so that a result does not depend on where in the output its column lies.
  constexpr int ways = Rows == 1 ? 2 : 1;
  // Weights that exceed the caches: some hundred bytes more than the hardware fetches ahead.
  constexpr Index ahead = 256;
  Vec sums[ways][Rows][Outputs];
  MAA_KERNEL_UNROLL
  for (int u = 0; u < ways; ++u) {
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MAA_KERNEL_UNROLL
      for (int j = 0; j < Outputs; ++j) {
        sums[u][i][j] = Vec{};
      }
    }
  }
  Index k = 0;
  for (; k + ways * lanes <= depth; k += ways * lanes) {
    MAA_KERNEL_UNROLL
    for (int u = 0; u < ways; ++u) {
      Vec left[Rows];
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        left[i] = load(x + i * x_row + k + u * lanes);
      }
      MAA_KERNEL_UNROLL
      for (int j = 0; j < Outputs; ++j) {
        __builtin_prefetch(w + j * w_row + k + u * lanes + ahead, 0, 2);
        const Vec right = load(w + j * w_row + k + u * lanes);
        MAA_KERNEL_UNROLL
        for (int i = 0; i < Rows; ++i) {
          sums[u][i][j] = fma(left[i], right, sums[u][i][j]);
        }
      }
    }
  }
  for (; k < depth; k += lanes) {
    const bool whole = depth - k >= lanes;
    Vec left[Rows];
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      left[i] = whole ? load(x + i * x_row + k) : load_first(x + i * x_row + k, depth - k);
    }
    MAA_KERNEL_UNROLL
    for (int j = 0; j < Outputs; ++j) {
      const Vec right = whole ? load(w + j * w_row + k) : load_first(w + j * w_row + k, depth - k);
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        sums[0][i][j] = fma(left[i], right, sums[0][i][j]);
      }
    }
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MAA_KERNEL_UNROLL
    for (int j = 0; j < Outputs; ++j) {
      if constexpr (ways == 2) {
        sums[0][i][j] += sums[1][i][j];
      }
      result[i][j] = sum(sums[0][i][j]);
    }
  }
}

template <int Rows, int Outputs>
MAA_KERNEL_INLINE void stream_columns(const Product<float>& p, Index first) {
  float result[Rows][Outputs];
  dot_products<Rows, Outputs>(p.a, p.a_row, p.b + first * p.b_col, p.b_col, p.depth, result);
  for (int i = 0; i < Rows; ++i) {
    float* c = p.c + i * p.c_row + first;
    for (int j = 0; j < Outputs; ++j) {
      const float base = p.accumulate ? c[j] : p.bias != nullptr ? p.bias[first + j] : 0.0f;
      c[j] = base + result[i][j];
    }
  }
}

template <int Rows>
inline void stream_rows(const Product<float>& p, Index first, Index count) {
  // As many as there are registers for.
  constexpr Index outputs = Rows <= 2 ? 4 : MAA_LANES == 16 ? 6 : 2;
  Index j = first;
  for (; j + outputs <= first + count; j += outputs) {
    stream_columns<Rows, outputs>(p, j);
  }
  for (; j < first + count; ++j) {
    stream_columns<Rows, 1>(p, j);
  }
}

// p.a_col == p.b_row == 1. Groups of four rows take turns on a few rows of the weights, which the first group
// brings to the cache.
inline void stream(const Product<float>& p) {
  const Index columns = p.rows <= 4 ? p.cols : MAA_LANES == 16 ? 6 : 4;
  for (Index j = 0; j < p.cols; j += columns) {
    const Index count = columns < p.cols - j ? columns : p.cols - j;
    Index i = 0;
    for (; i + 4 <= p.rows; i += 4) {
      stream_rows<4>(p.block(i, 4, 0, p.cols), j, count);
    }
    const auto rest = p.block(i, p.rows - i, 0, p.cols);
    switch (rest.rows) {
      case 1:
        stream_rows<1>(rest, j, count);
        break;
      case 2:
        stream_rows<2>(rest, j, count);
        break;
      case 3:
        stream_rows<3>(rest, j, count);
        break;
      default:
        break;
    }
  }
}
