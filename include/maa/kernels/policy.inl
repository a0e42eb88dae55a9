// Policies: one observation or a few at a time, from packed weights (policy_layer.hpp). Included once per
// instruction set, after vector.inl and math.inl.

// The lower number of each word.
MAA_KERNEL_INLINE Vec lower_of_pairs(Vec words) {
  return from_bits(bits(words) << 16);
}
// Words that are used twice are loaded once.
MAA_KERNEL_INLINE Vec load_pairs(const float* p) {
  Vec words = load(p);
  __asm__("" : "+v"(words));
  return words;
}

// sums[i][v] += the products of `In` inputs of row i with vector v of a block whose rows are `Stride` apart.
template <int In, int Stride, bool Paired, int Rows, int Width>
MAA_KERNEL_INLINE void policy_sums(const float* w, const float* x, Index x_row, Vec (&sums)[Rows][Width]) {
  // For one row a second set of sums hides the latency of an addition.
  Vec odd[Rows][Width];
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      odd[i][v] = Vec{};
    }
  }
  for (int k = 0; k + 2 <= In; k += 2) {
    Vec right[Width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      right[v] = Paired ? load_pairs(w + v * lanes) : load(w + v * lanes);
    }
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(x[i * x_row + k]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        sums[i][v] = fma(left, right[v], sums[i][v]);
      }
    }
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      right[v] = Paired ? lower_of_pairs(right[v]) : load(w + Stride + v * lanes);
    }
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const Vec left = broadcast(x[i * x_row + k + 1]);
      MAA_KERNEL_UNROLL
      for (int v = 0; v < Width; ++v) {
        if constexpr (Rows == 1) {
          odd[i][v] = fma(left, right[v], odd[i][v]);
        } else {
          sums[i][v] = fma(left, right[v], sums[i][v]);
        }
      }
    }
    w += Paired ? Stride : 2 * Stride;
  }
  MAA_KERNEL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MAA_KERNEL_UNROLL
    for (int v = 0; v < Width; ++v) {
      if constexpr (In % 2 == 1) {
        sums[i][v] = fma(load(w + v * lanes), broadcast(x[i * x_row + In - 1]), sums[i][v]);
      }
      if constexpr (Rows == 1) {
        sums[i][v] += odd[i][v];
      }
    }
  }
}

// `Rows` rows of x through the block of a wide layer that begins at output `first`.
template <class Layer, int BlockWidth, int Rows, bool Activated>
MAA_KERNEL_INLINE void policy_block(const float* packed, Index first, const float* x, Index x_row, float* y,
                                    Index y_row) {
  // Outputs whose sums are kept in registers at once.
#if MAA_LANES == 16
  constexpr int part = BlockWidth;
#else
  constexpr int part = Rows == 1 ? BlockWidth / 2 : 16;
#endif
  constexpr int width = part / MAA_LANES;
  const float* w = packed + Layer::block_offset(first);
  for (Index j = 0; j < BlockWidth; j += part) {
    Vec sums[Rows][width];
    MAA_KERNEL_UNROLL
    for (int v = 0; v < width; ++v) {
      const Vec bias = load(packed + first + j + v * lanes);
      MAA_KERNEL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        sums[i][v] = bias;
      }
    }
    policy_sums<Layer::in, BlockWidth, Layer::paired>(w + j, x, x_row, sums);
    MAA_KERNEL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MAA_KERNEL_UNROLL
      for (int v = 0; v < width; ++v) {
        if constexpr (Activated) {
          sums[i][v] = activated<Layer::activation>(sums[i][v]);
        }
        store(y + i * y_row + first + j + v * lanes, sums[i][v]);
      }
    }
  }
}

// A narrow layer: a vector holds the products of four inputs with four outputs (AVX2: two vectors do).
template <class Layer, bool Activated>
MAA_KERNEL_INLINE void policy_narrow(const float* packed, const float* x, float* y) {
  constexpr int groups = Layer::groups, parts = 16 / MAA_LANES, chains = groups == 1 ? 4 : 2;
  constexpr int quads = Layer::quads;
  Vec sums[chains][groups][parts];
  MAA_KERNEL_UNROLL
  for (int c = 0; c < chains; ++c) {
    MAA_KERNEL_UNROLL
    for (int g = 0; g < groups; ++g) {
      MAA_KERNEL_UNROLL
      for (int p = 0; p < parts; ++p) {
        sums[c][g][p] = Vec{};
      }
    }
  }
  const float* w = packed + Layer::padded_out;
  for (int k = 0; k + chains <= quads; k += chains) {
    MAA_KERNEL_UNROLL
    for (int c = 0; c < chains; ++c) {
      const Vec input = broadcast_quad(x + 4 * (k + c));
      MAA_KERNEL_UNROLL
      for (int g = 0; g < groups; ++g) {
        MAA_KERNEL_UNROLL
        for (int p = 0; p < parts; ++p) {
          sums[c][g][p] = fma(load(w + (k + c) * groups * 16 + g * 16 + p * lanes), input, sums[c][g][p]);
        }
      }
    }
  }
  MAA_KERNEL_UNROLL
  for (int c = 0; c < quads % chains; ++c) {
    constexpr int done = quads - quads % chains;
    const Vec input = broadcast_quad(x + 4 * (done + c));
    MAA_KERNEL_UNROLL
    for (int g = 0; g < groups; ++g) {
      MAA_KERNEL_UNROLL
      for (int p = 0; p < parts; ++p) {
        sums[c][g][p] = fma(load(w + (done + c) * groups * 16 + g * 16 + p * lanes), input, sums[c][g][p]);
      }
    }
  }
  alignas(64) float result[16] = {};
  MAA_KERNEL_UNROLL
  for (int g = 0; g < groups; ++g) {
    MAA_KERNEL_UNROLL
    for (int p = 0; p < parts; ++p) {
      Vec all = sums[0][g][p] + sums[1][g][p];
      if constexpr (chains == 4) {
        all += sums[2][g][p] + sums[3][g][p];
      }
      store_quad_sums(result + g * 4 + p * (lanes / 4), all);
    }
  }
  MAA_KERNEL_UNROLL
  for (int p = 0; p < parts; ++p) {
    Vec value = load(result + p * lanes) + load(packed + p * lanes);
    if constexpr (Activated) {
      value = activated<Layer::activation>(value);
    }
    store(result + p * lanes, value);
  }
  for (Index j = 0; j < Layer::out; ++j) {
    y[j] = result[j];
  }
}

// What lies between the outputs and the next multiple of four is read by narrow layers, times zero.
template <class Layer>
MAA_KERNEL_INLINE void clear_padding(float* y) {
  for (Index j = Layer::out; j < (Layer::out + 3) / 4 * 4; ++j) {
    y[j] = 0;
  }
}

// One row through a layer. y holds padded_out floats; x those up to a multiple of four if the layer is
// narrow.
template <class Layer>
MAA_KERNEL_INLINE void policy_layer(const float* packed, const float* x, float* y) {
  if constexpr (Layer::narrow) {
    policy_narrow<Layer, true>(packed, x, y);
  } else {
    constexpr Index whole = Layer::padded_out / Layer::block * Layer::block;
    for (Index first = 0; first < whole; first += Layer::block) {
      policy_block<Layer, Layer::block, 1, true>(packed, first, x, 0, y, 0);
    }
    if constexpr (whole < Layer::padded_out) {
      policy_block<Layer, Layer::padded_out - whole, 1, true>(packed, whole, x, 0, y, 0);
    }
  }
  clear_padding<Layer>(y);
}

// One row through the first two layers of a plan that alternates. Sums are formed over 32 units each, those
// of neighbours are added, then those of all: neither step depends on the direction.
template <class Plan>
MAA_KERNEL_INLINE void policy_first_two(const float* packed, const float* x, bool backwards, float* units,
                                        float* y) {
  using First = typename Plan::template Hidden<0>;
  using Second = typename Plan::template Hidden<1>;
  constexpr Index pairs = First::out / 64, blocks = Second::out / 64;
  constexpr int width = 64 / MAA_LANES, part = MAA_LANES == 16 ? width : width / 2;
  const float* second = packed + Plan::template offset<1>();
  alignas(64) float sums[pairs][Second::out];
  for (Index i = 0; i < pairs; ++i) {
    const Index pair = backwards ? pairs - 1 - i : i;
    const Index early = 64 * pair + (backwards ? 32 : 0), late = 64 * pair + (backwards ? 0 : 32);
    policy_block<First, 64, 1, true>(packed, 64 * pair, x, 0, units, 0);
    for (Index b = 0; b < blocks; ++b) {
      const Index block = backwards ? blocks - 1 - b : b;
      const float* w = second + Second::block_offset(64 * block);
      for (Index j = 0; j < 64; j += part * lanes) {
        Vec one[1][part], other[1][part];
        MAA_KERNEL_UNROLL
        for (int v = 0; v < part; ++v) {
          one[0][v] = Vec{};
          other[0][v] = Vec{};
        }
        policy_sums<32, 64, false>(w + early * 64 + j, units + early, 0, one);
        policy_sums<32, 64, false>(w + late * 64 + j, units + late, 0, other);
        MAA_KERNEL_UNROLL
        for (int v = 0; v < part; ++v) {
          store(sums[pair] + 64 * block + j + v * lanes, one[0][v] + other[0][v]);
        }
      }
    }
  }
  for (Index j = 0; j < Second::out; j += lanes) {
    Vec total = load(second + j);
    for (Index pair = 0; pair < pairs; ++pair) {
      total += load(sums[pair] + j);
    }
    store(y + j, activated<Second::activation>(total));
  }
}

// Rows whose sums are kept in registers at once.
inline constexpr Index policy_rows = MAA_LANES == 16 ? 6 : 4;

// policy_rows or more rows through a block; the last ones are computed twice rather than fewer apart.
template <class Layer, int BlockWidth>
MAA_KERNEL_INLINE void policy_block_rows(const float* packed, Index first, const float* x, Index x_row,
                                         Index rows, float* y, Index y_row) {
  for (Index i = 0; i < rows; i += policy_rows) {
    const Index at = i + policy_rows <= rows ? i : rows - policy_rows;
    policy_block<Layer, BlockWidth, policy_rows, false>(packed, first, x + at * x_row, x_row, y + at * y_row,
                                                        y_row);
  }
}
template <class Layer>
MAA_KERNEL_INLINE void policy_layer_rows(const float* packed, const float* x, Index x_row, Index rows,
                                         float* y, Index y_row) {
  if constexpr (!Layer::narrow) {
    constexpr Index whole = Layer::padded_out / Layer::block * Layer::block;
    for (Index first = 0; first < whole; first += Layer::block) {
      policy_block_rows<Layer, Layer::block>(packed, first, x, x_row, rows, y, y_row);
    }
    if constexpr (whole < Layer::padded_out) {
      policy_block_rows<Layer, Layer::padded_out - whole>(packed, whole, x, x_row, rows, y, y_row);
    }
  }
  for (Index i = 0; i < rows; ++i) {
    if constexpr (Layer::narrow) {
      policy_narrow<Layer, true>(packed, x + i * x_row, y + i * y_row);
    } else {
      forward_all<Layer::activation>(y + i * y_row, y + i * y_row, Layer::padded_out);
    }
    clear_padding<Layer>(y + i * y_row);
  }
}

// The last hidden layer of one row, in y or spare.
template <class Plan, Index At>
MAA_KERNEL_INLINE const float* policy_hidden(const float* packed, const float* x, float* y, float* spare) {
  policy_layer<typename Plan::template Hidden<At>>(packed + Plan::template offset<At>(), x, y);
  if constexpr (At + 1 < Plan::hidden_count) {
    return policy_hidden<Plan, At + 1>(packed, y, spare, y);
  } else {
    return y;
  }
}
template <class Plan, Index At>
MAA_KERNEL_INLINE const float* policy_hidden_rows(const float* packed, const float* x, Index x_row,
                                                  Index rows, float* y, float* spare) {
  policy_layer_rows<typename Plan::template Hidden<At>>(packed + Plan::template offset<At>(), x, x_row, rows, y,
                                                       Plan::row_size);
  if constexpr (At + 1 < Plan::hidden_count) {
    return policy_hidden_rows<Plan, At + 1>(packed, y, Plan::row_size, rows, spare, y);
  } else {
    return y;
  }
}

template <class Layer>
MAA_KERNEL_INLINE void policy_head(const float* packed, const float* units, float* y) {
  alignas(64) float padded[Layer::padded_out];
  policy_layer<Layer>(packed, units, padded);
  for (Index j = 0; j < Layer::out; ++j) {
    y[j] = padded[j];
  }
}

// Copies an observation where a narrow first layer can read it.
template <class Plan>
MAA_KERNEL_INLINE const float* policy_input(const float* x, float* padded) {
  if constexpr (Plan::template Hidden<0>::narrow) {
    for (Index k = 0; k < (Plan::observation_size + 3) / 4 * 4; ++k) {
      padded[k] = k < Plan::observation_size ? x[k] : 0;
    }
    return padded;
  } else {
    return x;
  }
}

// x [observation_size] -> mean [action_size] = Squash(mean head) and, unless null, log_std [action_size].
// `backwards` is for plans that alternate; it does not change a bit of the result.
template <class Plan, Activation Squash>
inline void policy_act(const float* packed, const float* x, bool backwards, float* mean, float* log_std) {
  alignas(64) float scratch[2 * Plan::row_size];
  alignas(64) float padded[(Plan::observation_size + 3) / 4 * 4];
  float* spare = scratch + Plan::row_size;
  const float* units = scratch;
  if constexpr (Plan::alternates) {
    policy_first_two<Plan>(packed, x, backwards, spare, scratch);
    if constexpr (Plan::hidden_count > 2) {
      units = policy_hidden<Plan, 2>(packed, scratch, spare, scratch);
    }
  } else {
    units = policy_hidden<Plan, 0>(packed, policy_input<Plan>(x, padded), scratch, spare);
  }
  policy_head<typename Plan::template Head<Squash>>(packed + Plan::mean_offset, units, mean);
  if (log_std != nullptr) {
    policy_head<typename Plan::LinearHead>(packed + Plan::log_std_offset, units, log_std);
  }
}

// x [rows, observation_size] -> mean [rows, action_size] = Squash(mean head). Fewer than
// policy_rows are run one by one.
template <class Plan, Activation Squash>
inline void policy_act_rows(const float* packed, const float* x, Index rows, float* mean) {
  using LinearHead = typename Plan::LinearHead;
  constexpr Index x_row = Plan::observation_size, y_row = Plan::action_size;
  if constexpr (!Plan::template Hidden<0>::narrow) {
    alignas(64) float scratch[2 * Plan::rows_at_once * Plan::row_size];
    while (rows >= policy_rows) {
      const Index count = rows < Plan::rows_at_once ? rows : Plan::rows_at_once;
      const float* units = policy_hidden_rows<Plan, 0>(packed, x, x_row, count, scratch,
                                                       scratch + Plan::rows_at_once * Plan::row_size);
      for (Index i = 0; i < count; ++i) {
        policy_head<LinearHead>(packed + Plan::mean_offset, units + i * Plan::row_size, mean + i * y_row);
      }
      forward_all<Squash>(mean, mean, count * y_row);
      x += count * x_row;
      mean += count * y_row;
      rows -= count;
    }
  }
  for (Index i = 0; i < rows; ++i) {
    policy_act<Plan, Squash>(packed, x + i * x_row, i % 2 == 1, mean + i * y_row, nullptr);
  }
}
