// Counter-based random numbers: a stream is (seed, stream id, position), so it can be sought, saved in 24
// bytes and drawn in any order by any number of threads.
#pragma once

#include <maa/core/config.hpp>

#include <array>
#include <cmath>
#include <numbers>
#include <span>

MAA_NAMESPACE_BEGIN

// Philox4x32-10 (Salmon et al., SC 2011). Each 128-bit counter value gives one block of four 32-bit words;
// every draw consumes one block, so a position is a number of draws and random access is free.
class Rng {
 public:
  // All of it.
  struct State {
    std::uint64_t seed = 0;      // the key of its blocks
    std::uint64_t stream = 0;    // half of their counter
    std::uint64_t position = 0;  // draws so far
    bool operator==(const State&) const = default;
  };

  Rng() = default;
  // A stream's start, or one that was left; and where it is.
  explicit Rng(std::uint64_t seed, std::uint64_t stream = 0) noexcept : state_{seed, stream, 0} {}
  explicit Rng(const State& state) noexcept : state_(state) {}
  const State& state() const noexcept { return state_; }

  // An independent generator for sub-task `id`; drawing from it does not advance this one.
  Rng fork(std::uint64_t id) const noexcept {
    const auto words = block_at(state_.seed, state_.stream ^ 0x9e3779b97f4a7c15ull, id);
    return Rng((std::uint64_t{words[0]} << 32) | words[1], (std::uint64_t{words[2]} << 32) | words[3]);
  }

  // Leaves out what `blocks` draws would have used.
  void skip(std::uint64_t blocks) noexcept { state_.position += blocks; }

  std::uint64_t next_u64() noexcept {
    const auto words = next_block();
    return (std::uint64_t{words[0]} << 32) | words[1];
  }
  // In [0, 1), a multiple of 2^-53.
  double uniform() noexcept { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }
  double uniform(double low, double high) noexcept { return low + (high - low) * uniform(); }
  // In [0, count); count > 0. Multiply-shift: the bias is below count / 2^64.
  Index below(Index count) noexcept {
    return static_cast<Index>(high_product(next_u64(), static_cast<std::uint64_t>(count)));
  }
  // Standard normal by Box-Muller.
  double normal() noexcept {
    double pair[2];
    normal_pair(next_block(), pair);
    return pair[0];
  }
  // Fills with standard normals times `scale`: two per block in double; four in float, from 32 bits each (no
  // value beyond 6.7 deviations then), as training draws them by the million.
  template <class T>
  void fill_normal(std::span<T> values, double scale = 1.0) noexcept {
    constexpr std::size_t per_block = sizeof(T) == 4 ? 4 : 2;
    for (std::size_t i = 0; i < values.size(); i += per_block) {
      T normals[per_block];
      const auto words = next_block();
      if constexpr (per_block == 4) {
        normal_pair(words[0], words[1], normals);
        normal_pair(words[2], words[3], normals + 2);
      } else {
        normal_pair(words, normals);
      }
      for (std::size_t j = 0; j < per_block && i + j < values.size(); ++j) {
        values[i + j] = static_cast<T>(scale) * normals[j];
      }
    }
  }
  template <class T>
  void fill_uniform(std::span<T> values, double low, double high) noexcept {
    for (auto& value : values) {
      value = static_cast<T>(uniform(low, high));
    }
  }
  // Fisher-Yates.
  template <class T>
  void shuffle(std::span<T> values) noexcept {
    for (auto i = static_cast<Index>(values.size()) - 1; i > 0; --i) {
      const auto j = below(i + 1);
      const T kept = values[static_cast<std::size_t>(i)];
      values[static_cast<std::size_t>(i)] = values[static_cast<std::size_t>(j)];
      values[static_cast<std::size_t>(j)] = kept;
    }
  }

 private:
  using Block = std::array<std::uint32_t, 4>;

  static std::uint32_t low(std::uint64_t v) noexcept { return static_cast<std::uint32_t>(v); }
  static std::uint32_t high(std::uint64_t v) noexcept { return static_cast<std::uint32_t>(v >> 32); }
  // The upper 64 of a product's 128 bits, also where no integer has so many.
  static std::uint64_t high_product(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t a0 = low(a), a1 = high(a), b0 = low(b), b1 = high(b);
    const std::uint64_t middle = a1 * b0 + high(a0 * b0);
    return a1 * b1 + high(middle) + high(a0 * b1 + low(middle));
  }
  static Block block_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t position) noexcept;
  Block next_block() noexcept { return block_at(state_.seed, state_.stream, state_.position++); }
  static void normal_pair(const Block& words, double* pair) noexcept {
    const auto unit = [](std::uint32_t a, std::uint32_t b) {
      return static_cast<double>(((std::uint64_t{a} << 32) | b) >> 11) * 0x1p-53;
    };
    const double radius = std::sqrt(-2.0 * std::log1p(-unit(words[0], words[1])));
    const double angle = 2.0 * std::numbers::pi * unit(words[2], words[3]);
    pair[0] = radius * std::cos(angle);
    pair[1] = radius * std::sin(angle);
  }
  static void normal_pair(std::uint32_t a, std::uint32_t b, float* pair) noexcept {
    const float radius = std::sqrt(-2.0f * std::log((static_cast<float>(a) + 0.5f) * 0x1p-32f));
    const float angle = 2.0f * std::numbers::pi_v<float> * (static_cast<float>(b) * 0x1p-32f);
    pair[0] = radius * std::cos(angle);
    pair[1] = radius * std::sin(angle);
  }

  State state_;
};

#if MAA_BODIES

MAA_INLINE Rng::Block Rng::block_at(std::uint64_t seed, std::uint64_t stream,
                                    std::uint64_t position) noexcept {
  std::uint32_t w0 = low(position), w1 = high(position), w2 = low(stream), w3 = high(stream);
  std::uint32_t key0 = low(seed), key1 = high(seed);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xd2511f53u} * w0, b = std::uint64_t{0xcd9e8d57u} * w2;
    w0 = high(b) ^ w1 ^ key0;
    w1 = low(b);
    w2 = high(a) ^ w3 ^ key1;
    w3 = low(a);
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return {w0, w1, w2, w3};
}

#endif

MAA_NAMESPACE_END
