// The parts of policies with many rows, units by rows: observations are vector lanes, so weights are read
// where they lie and never packed. Included once per instruction set, after vector.inl, math.inl and
// gemm.inl.

template <int Rows, int Width>
inline void policy_tile(const BroadcastProduct& p, Index row, Index col) {
  Vec sums[Rows][Width];
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const Vec start = p.bias == nullptr ? Vec{} : broadcast(p.bias[row + i]);
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      sums[i][v] = start;
    }
  }
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + col;
  for (Index k = 0; k < p.depth; ++k) {
    Vec right[Width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      right[v] = load(b + v * lanes);
    }
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(a[i * p.a_row]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(left, right[v], sums[i][v]);
      }
    }
    a += p.a_col;
    b += p.b_row;
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    float* c = p.c + (row + i) * p.c_row + col;
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      const Index count = p.cols - col - v * lanes;
      if (count >= lanes) {
        store(c + v * lanes, p.accumulate ? load(c + v * lanes) + sums[i][v] : sums[i][v]);
      } else if (count > 0) {
        const Vec before = p.accumulate ? load_first(c + v * lanes, count) : Vec{};
        store_first(c + v * lanes, before + sums[i][v], count);
      }
    }
  }
}

template <int Width>
inline void policy_columns(const BroadcastProduct& p, Index col) {
#if MAA_LANES == 16
  constexpr int rows = Width == 4 ? 6 : 8;
#else
  constexpr int rows = 4;
#endif
  Index row = 0;
  for (; row + rows <= p.rows; row += rows) {
    policy_tile<rows, Width>(p, row, col);
  }
  const Index left = p.rows - row;
  if (left & 4) {
    policy_tile<4, Width>(p, row, col);
    row += 4;
  }
  if (left & 2) {
    policy_tile<2, Width>(p, row, col);
    row += 2;
  }
  if (left & 1) {
    policy_tile<1, Width>(p, row, col);
  }
}

inline void policy_product(const BroadcastProduct& p) {
  constexpr Index widest = MAA_LANES == 16 ? 4 : 3;
  const Index vectors = (p.cols + lanes - 1) / lanes, blocks = (vectors + widest - 1) / widest;
  for (Index i = 0; i < blocks; ++i) {
    const Index first = vectors * i / blocks, end = vectors * (i + 1) / blocks;
    switch (end - first) {
      case 1:
        policy_columns<1>(p, first * lanes);
        break;
      case 2:
        policy_columns<2>(p, first * lanes);
        break;
      case 3:
        policy_columns<3>(p, first * lanes);
        break;
#if MAA_LANES == 16
      case 4:
        policy_columns<4>(p, first * lanes);
        break;
#endif
      default:
        break;
    }
  }
}

inline void policy_transpose(const float* from, Index from_row, Index rows, Index cols, float* to,
                             Index to_row) {
  Index i = 0;
  for (; i + lanes <= rows; i += lanes) {
    transpose_lanes<false>(from + i * from_row, nullptr, from_row, cols, to + i, to_row);
  }
  for (; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      to[j * to_row + i] = from[i * from_row + j];
    }
  }
}

inline void policy_add_row_sums(const float* x, Index x_row, Index rows, Index cols, float* to) {
  for (Index i = 0; i < rows; ++i) {
    Vec sums{};
    Index j = 0;
    for (; j + lanes <= cols; j += lanes) {
      sums += load(x + i * x_row + j);
    }
    if (j < cols) {
      sums += load_first(x + i * x_row + j, cols - j);
    }
    to[i] += sum(sums);
  }
}

template <Activation A>
inline void scale_by_output_slope(const float* y, float* dy, Index count) {
  for (Index i = 0; i < count; i += lanes) {
    const Vec output = load(y + i), upstream = load(dy + i);
    Vec scaled;
    if constexpr (A == Activation::relu) {
      scaled = output <= 0.0f ? Vec{} : upstream;
    } else if constexpr (A == Activation::elu) {
      scaled = output > 0.0f ? upstream : fma(output, upstream, upstream);
    } else {
      scaled = upstream * fma(-output, output, 1.0f);
    }
    store(dy + i, scaled);
  }
}

inline void policy_output_slope(Activation activation, const float* y, float* dy, Index count) {
  switch (activation) {
    case Activation::relu:
      return scale_by_output_slope<Activation::relu>(y, dy, count);
    case Activation::elu:
      return scale_by_output_slope<Activation::elu>(y, dy, count);
    case Activation::tanh:
      return scale_by_output_slope<Activation::tanh>(y, dy, count);
    default:  // identity
      return;
  }
}
