// The layers of a policy that runs one observation at a time: how their weights lie in memory, and the plain
// loops that the vector kernels are tested against.
#pragma once

#include <maa/kernels/scalar_math.hpp>

#include <bit>

MAA_NAMESPACE_BEGIN

// What the weights of a running policy are kept as. bf16: 8 bits of precision at half the memory, which is
// what one observation waits for; biases, sums and layers of at most 12 outputs stay fp32.
enum class Storage { fp32, bf16 };

namespace kernels {

// Two numbers rounded to bfloat16 in one word. The upper one is read with the bits of the lower one as its
// last digits, and chosen so that the word as a whole is nearest to it.
inline std::uint32_t pack_pair(float upper, float lower) {
  constexpr std::uint32_t sign = 0x80000000u, largest = 0x7f7fu;
  const auto clamp = [](std::uint32_t x, std::uint32_t low, std::uint32_t high) {
    return x < low ? low : x > high ? high : x;
  };
  const auto a = std::bit_cast<std::uint32_t>(upper), b = std::bit_cast<std::uint32_t>(lower);
  const std::uint32_t b_size = b & ~sign, a_size = a & ~sign;
  const std::uint32_t low =
      (b & sign) >> 16 | clamp((b_size + 0x7fffu + (b_size >> 16 & 1u)) >> 16, 0, largest);
  // Not less than 2^-60 beside a lower number: it would be a denormal one, which processors multiply slowly.
  const std::uint32_t least = low == 0 ? 0u : (127u - 60u) << 7;
  const std::uint32_t rounded = a_size + 0x8000u < low ? 0u : (a_size + 0x8000u - low) >> 16;
  return (a & sign) | clamp(rounded, least, largest) << 16 | low;
}

// y = activation(W x + b) with W [Out, In]. Packed: the bias, padded to vectors, then the weights.
// Wide layers: blocks of up to 64 outputs, each [inputs][outputs of the block]; outputs are padded to 16,
// bf16 packs two inputs (even: upper) in a word. Narrow layers: per four inputs and four outputs 16 numbers,
// [outputs][inputs], padded to fours.
template <Index In, Index Out, Activation A, Storage S>
struct PolicyLayer {
  static constexpr Index in = In;
  static constexpr Index out = Out;
  static constexpr Activation activation = A;
  static constexpr bool narrow = Out <= 12;
  static constexpr bool paired = !narrow && S == Storage::bf16;
  static constexpr Index block = 64;
  static constexpr Index padded_out = (Out + 15) / 16 * 16;
  static constexpr Index quads = (In + 3) / 4;    // narrow: of inputs
  static constexpr Index groups = (Out + 3) / 4;  // narrow: of four outputs
  static constexpr Index weight_rows = paired ? (In + 1) / 2 : In;
  static constexpr Index packed_size = padded_out + (narrow ? quads * groups * 16 : weight_rows * padded_out);

  // Of a wide layer's block that begins at output `first`.
  static constexpr Index block_width(Index first) {
    return padded_out - first < block ? padded_out - first : block;
  }
  static constexpr Index block_offset(Index first) { return padded_out + first * weight_rows; }

  // Where the weight from input k to output j is, for bf16 its word.
  static constexpr Index offset(Index j, Index k) {
    if (narrow) {
      return padded_out + (k / 4 * groups + j / 4) * 16 + j % 4 * 4 + k % 4;
    }
    const Index first = j / block * block;
    return block_offset(first) + (paired ? k / 2 : k) * block_width(first) + (j - first);
  }

  // `packed` [packed_size] holds zeros before.
  static void pack(const float* weight, const float* bias, float* packed) {
    for (Index j = 0; j < Out; ++j) {
      const float* row = weight + j * In;
      packed[j] = bias[j];
      for (Index k = 0; k < In; k += paired ? 2 : 1) {
        if constexpr (paired) {
          packed[offset(j, k)] = std::bit_cast<float>(pack_pair(row[k], k + 1 < In ? row[k + 1] : 0.0f));
        } else {
          packed[offset(j, k)] = row[k];
        }
      }
    }
  }

  static void reference(const float* packed, const float* x, float* y) {
    for (Index first = 0; first < Out; first += block) {
      const Index count = Out - first < block ? Out - first : block;
      float sums[block];
      for (Index j = 0; j < count; ++j) {
        sums[j] = packed[first + j];
      }
      for (Index k = 0; k < In; ++k) {
        const float* row = packed + offset(first, k);
        for (Index j = 0; j < count; ++j) {
          float weight = narrow ? packed[offset(j, k)] : row[j];
          if constexpr (paired) {
            weight = std::bit_cast<float>(std::bit_cast<std::uint32_t>(weight) << (k % 2 == 0 ? 0 : 16));
          }
          sums[j] += weight * x[k];
        }
      }
      for (Index j = 0; j < count; ++j) {
        y[first + j] = activate(A, sums[j]);
      }
    }
  }
};

// The layers of a network (models/mlp_network.hpp) and where they lie in a policy's packed weights.
template <class Network, Storage S>
struct PolicyPlan {
  static constexpr Index observation_size = Network::observation_size;
  static constexpr Index action_size = Network::action_size;
  static constexpr Index hidden_count = Network::hidden_count;

  // Whether the first two layers run together, a part of the units at a time, forwards and backwards in turn:
  // what one call reads last the next reads first, while it is in the first-level cache. For layers that do
  // not fit in there.
  static constexpr bool alternates = [] {
    const Index units = Network::hidden_sizes[0], next = Network::hidden_sizes[hidden_count > 1 ? 1 : 0];
    return hidden_count > 1 && S == Storage::fp32 && units % 64 == 0 && next % 64 == 0 &&
           units * (observation_size + next) > 10'000 && units / 64 * next <= 16'384;  // kept on the stack
  }();

  template <Index At>
  using Hidden = PolicyLayer<At == 0 ? observation_size
                                     : Network::hidden_sizes[static_cast<std::size_t>(At == 0 ? 0 : At - 1)],
                             Network::hidden_sizes[At], Network::hidden_activations[At], S>;
  template <Activation A>
  using Head = PolicyLayer<Network::last_hidden, action_size, A, S>;
  using LinearHead = Head<Activation::identity>;

  // Of hidden layer At; hidden_count: the mean head, and behind it the log_std head.
  template <Index At>
  static constexpr Index offset() {
    if constexpr (At == 0) {
      return 0;
    } else {
      return offset<At - 1>() + Hidden<At - 1>::packed_size;
    }
  }
  static constexpr Index mean_offset = offset<hidden_count>();
  static constexpr Index log_std_offset = mean_offset + LinearHead::packed_size;
  static constexpr Index packed_size = log_std_offset + (Network::has_log_std ? LinearHead::packed_size : 0);

  // Floats a row of hidden units takes in scratch memory.
  static constexpr Index row_size = [] {
    Index widest = 0;
    for (const Index units : Network::hidden_sizes) {
      widest = units > widest ? units : widest;
    }
    return (widest + 15) / 16 * 16;
  }();
  // Observations that go through the layers together: some 16 kB of hidden units, and a few rows at least.
  static constexpr Index rows_at_once = row_size <= 128 ? 36 : row_size <= 256 ? 18 : 12;

  // `weights` in the network's flat order; `packed` [packed_size] holds zeros before.
  template <Index At = 0>
  static void pack(const float* weights, float* packed) {
    if constexpr (At < hidden_count) {
      using Layer = Hidden<At>;
      Layer::pack(weights, weights + Layer::in * Layer::out, packed);
      pack<At + 1>(weights + (Layer::in + 1) * Layer::out, packed + Layer::packed_size);
    } else {
      constexpr Index size = LinearHead::in * LinearHead::out;
      LinearHead::pack(weights, weights + size, packed);
      if constexpr (Network::has_log_std) {
        weights += size + LinearHead::out;
        LinearHead::pack(weights, weights + size, packed + LinearHead::packed_size);
      }
    }
  }
};

namespace reference {

// The last hidden layer, in y or spare.
template <class Plan, Index At = 0>
const float* policy_hidden(const float* packed, const float* x, float* y, float* spare) {
  Plan::template Hidden<At>::reference(packed + Plan::template offset<At>(), x, y);
  if constexpr (At + 1 < Plan::hidden_count) {
    return policy_hidden<Plan, At + 1>(packed, y, spare, y);
  } else {
    return y;
  }
}

// See policy.inl.
template <class Plan, Activation Squash>
void policy_act(const float* packed, const float* x, float* mean, float* log_std) {
  float scratch[2 * Plan::row_size];
  const float* units = policy_hidden<Plan>(packed, x, scratch, scratch + Plan::row_size);
  Plan::template Head<Squash>::reference(packed + Plan::mean_offset, units, mean);
  if (log_std != nullptr) {
    Plan::LinearHead::reference(packed + Plan::log_std_offset, units, log_std);
  }
}

template <class Plan, Activation Squash>
void policy_act_rows(const float* packed, const float* x, Index rows, float* mean) {
  for (Index i = 0; i < rows; ++i) {
    policy_act<Plan, Squash>(packed, x + i * Plan::observation_size, mean + i * Plan::action_size, nullptr);
  }
}

}  // namespace reference
}  // namespace kernels
MAA_NAMESPACE_END
