// Random streams: known Philox answers, moments, independence of streams, and exact positions.
#include <doctest/doctest.h>

#include <maa/core/rng.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

namespace {

using namespace maa;

TEST_CASE("the generator is Philox4x32-10: its published answer for a zero counter and key") {
  // Random123's known-answer test vector: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
  Rng rng(0, 0);
  CHECK(rng.next_u64() == 0x6627e8d5e169c58dull);
  CHECK(rng.state() == Rng::State{0, 0, 1});
}

TEST_CASE("all four words of the published answers") {
  // Random123's kat_vectors: a fork's state is a whole block, of the stream with some bits turned.
  const auto block = [](std::uint64_t seed, std::uint64_t stream, std::uint64_t position) {
    return Rng(seed, stream ^ 0x9e3779b97f4a7c15ull).fork(position).state();
  };
  CHECK(block(0, 0, 0) == Rng::State{0x6627e8d5e169c58d, 0xbc57ac4c9b00dbd8, 0});
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  CHECK(block(ones, ones, ones) == Rng::State{0x408f276d41c83b0e, 0xa20bc7c66d5451fd, 0});
  CHECK(block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
        Rng::State{0xd16cfe0994fdcceb, 0x5001e42024126ea1, 0});
}

TEST_CASE("the upper half of a product, by which a number below another is drawn") {
  // below(count) of the first draw, 0x6627e8d5e169c58d, by long division elsewhere.
  for (const auto& [count, expected] :
       {std::pair<std::int64_t, std::int64_t>{10, 3},
        {1'000'003, 399'047},
        {(std::int64_t{1} << 62) + 12'345, 1'840'277'030'316'967'073},
        {std::numeric_limits<std::int64_t>::max(), 3'680'554'060'633'924'294}}) {
    CHECK(Rng(0, 0).below(static_cast<Index>(count)) == expected);
  }
}

template <class T>
void check_normals() {
  Rng rng(3, 4);
  std::vector<T> values(400'001);
  rng.fill_normal(std::span(values), 2.0);
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  int beyond = 0;
  for (const T value : values) {
    const double z = static_cast<double>(value) / 2;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    beyond += std::abs(z) > 3 ? 1 : 0;
  }
  const auto count = static_cast<double>(values.size());
  // Tolerances are about five standard errors.
  CHECK(std::abs(sum / count) < 0.008);
  CHECK(std::abs(squares / count - 1) < 0.012);
  CHECK(std::abs(fourth / count - 3) < 0.08);
  CHECK(std::abs(beyond / count - 0.0026998) < 0.0005);
  double neighbours = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    neighbours += static_cast<double>(values[i - 1]) * static_cast<double>(values[i]) / 4;
  }
  CHECK(std::abs(neighbours / count) < 0.008);
}

TEST_CASE("normals have the moments, tails and independence of normals") {
  SUBCASE("float") {
    check_normals<float>();
  }
  SUBCASE("double") {
    check_normals<double>();
  }
}

TEST_CASE("a saved state goes on with the same numbers; forks differ and do not advance") {
  Rng rng(11);
  rng.next_u64();
  Rng resumed(rng.state());
  CHECK(rng.next_u64() == resumed.next_u64());
  const auto before = rng.state();
  std::set<std::uint64_t> seen;
  for (std::uint64_t id = 0; id < 1000; ++id) {
    seen.insert(rng.fork(id).next_u64());
  }
  CHECK(seen.size() == 1000);
  CHECK(rng.state() == before);
}

TEST_CASE("below is uniform, shuffle permutes") {
  Rng rng(5);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) {
    ++counts[static_cast<std::size_t>(rng.below(7))];
  }
  for (const int count : counts) {
    CHECK(std::abs(count - 10'000) < 500);
  }
  std::array<int, 20> order{};
  for (int i = 0; i < 20; ++i) {
    order[static_cast<std::size_t>(i)] = i;
  }
  auto sorted = order;
  rng.shuffle(std::span<int>(order));
  CHECK(order != sorted);
  std::sort(order.begin(), order.end());
  CHECK(order == sorted);
}

}  // namespace
