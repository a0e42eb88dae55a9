// ---- Standard normal numbers from counter-based streams, as core/rng.hpp has them.

// Philox4x32-10 (Salmon et al., SC 2011): ten rounds of two 32 x 32 bit products each.
struct PhiloxBlock {
  U32 a, b, c, d;
};
MAA_DEVICE PhiloxBlock philox(PhiloxBlock x, U32 key0, U32 key1) {
  for (int round = 0; round < 10; ++round) {
    const U64 first = U64(0xd2511f53u) * x.a, second = U64(0xcd9e8d57u) * x.c;
    x = {U32(second >> 32) ^ x.b ^ key0, U32(second), U32(first >> 32) ^ x.d ^ key1, U32(first)};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return x;
}

// Rng::State.
struct RandomState {
  U64 seed;
  U64 stream;
  U64 position;
};
MAA_DEVICE PhiloxBlock random_block(const RandomState& state, U64 position) {
  return philox({U32(position), U32(position >> 32), U32(state.stream), U32(state.stream >> 32)},
                U32(state.seed), U32(state.seed >> 32));
}

struct FillNormalArguments {
  const RandomState* states;  // one per row
  float* to;
  Int blocks_per_row;
  Int cols;
  Int stride;
  float scale;
  int unused;
};
// Element i: four numbers of row i / blocks_per_row, from one block of its stream; Box-Muller.
MAA_DEVICE void fill_normal(Int i, const FillNormalArguments& a) {
  const Int row = i / a.blocks_per_row, block = i % a.blocks_per_row;
  const RandomState state = a.states[row];
  const PhiloxBlock x = random_block(state, state.position + U64(block));
  float* to = a.to + row * a.stride + 4 * block;
  const Int left = a.cols - 4 * block;
  for (int pair = 0; pair < 2 && 2 * pair < left; ++pair) {
    const float radius = sqrtf(-2.0f * logf((float(pair == 0 ? x.a : x.c) + 0.5f) * 0x1p-32f));
    const float angle = 6.28318531f * (float(pair == 0 ? x.b : x.d) * 0x1p-32f);
    to[2 * pair] = a.scale * (radius * cosf(angle));
    if (2 * pair + 1 < left) {
      to[2 * pair + 1] = a.scale * (radius * sinf(angle));
    }
  }
}
MAA_PER_ELEMENT(fill_normal, FillNormalArguments)
