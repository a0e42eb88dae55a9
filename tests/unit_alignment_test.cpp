// Hidden units in one order: the assignment against all permutations, and policies whose units were permuted.
#include <doctest/doctest.h>

#include <maa/data/unit_alignment.hpp>
#include <maa/models/policy.hpp>

#include <numeric>

namespace {

using namespace maa;

TEST_CASE("the assignment is the best of all permutations") {
  Rng rng(1);
  for (Index n = 1; n <= 6; ++n) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      Buffer<double> gain(n * n);
      for (double& number : gain) {
        number = repeat % 2 == 0 ? rng.normal() : static_cast<double>(rng.below(3));  // also with ties
      }
      const auto found = best_assignment({gain.data(), n, n});
      const auto sum = [&](const std::vector<Index>& columns) {
        double result = 0;
        for (Index i = 0; i < n; ++i) {
          result += gain[i * n + columns[static_cast<std::size_t>(i)]];
        }
        return result;
      };
      std::vector<Index> columns(static_cast<std::size_t>(n));
      std::iota(columns.begin(), columns.end(), 0);
      CHECK(std::ranges::is_permutation(found, columns));
      double best = sum(columns);
      while (std::ranges::next_permutation(columns).found) {
        best = std::max(best, sum(columns));
      }
      CHECK(sum(found) == doctest::Approx(best));
    }
  }
  const Buffer<double> wide(6);
  CHECK_THROWS_WITH_AS(best_assignment({wide.data(), 2, 3}), doctest::Contains("found [2, 3]"), Error);
}

using Network = MlpNetwork<3, 2, HiddenLayers<Hidden<8, Activation::relu>, Hidden<5, Activation::tanh>>>;
using Policy = MlpPolicy<Network>;

TEST_CASE("a policy whose units were permuted gets its order back, and acts as it did") {
  const auto layout = Network::layout();
  const auto original = Policy::untrained(3);
  // Rows of the first layer by any permutation, and the columns that read them: what align_units() undoes.
  Buffer<float> weights{original.weights()};
  const std::array<Index, 8> order{3, 0, 7, 1, 2, 6, 5, 4};
  const auto& first = layout.hidden[0];
  const auto& second = layout.hidden[1];
  for (Index unit = 0; unit < first.out; ++unit) {
    const Index from = order[static_cast<std::size_t>(unit)];
    for (Index k = 0; k < first.in; ++k) {
      weights[first.weight_offset + unit * first.in + k] =
          original.weights()[static_cast<std::size_t>(first.weight_offset + from * first.in + k)];
    }
    weights[first.bias_offset + unit] =
        original.weights()[static_cast<std::size_t>(first.bias_offset + from)];
    for (Index j = 0; j < second.out; ++j) {
      weights[second.weight_offset + j * second.in + unit] =
          original.weights()[static_cast<std::size_t>(second.weight_offset + j * second.in + from)];
    }
  }
  CHECK_FALSE(std::ranges::equal(weights, original.weights()));
  align_units(layout, original.weights(), weights.span());
  CHECK(std::ranges::equal(weights, original.weights()));

  // Another policy keeps what it does and gets nearer.
  const auto other = Policy::untrained(4);
  Buffer<float> aligned{other.weights()};
  align_units(layout, original.weights(), aligned.span());
  const auto distance = [&](std::span<const float> policy) {
    return std::inner_product(policy.begin(), policy.end(), original.weights().begin(), 0.0, std::plus(),
                              [](float a, float b) { return static_cast<double>((a - b) * (a - b)); });
  };
  CHECK(distance(aligned.span()) < distance(other.weights()));
  const std::array observation{.3f, -.8f, .5f};
  std::array<float, 2> was, is;
  other.act(observation, was);
  Policy(aligned.span()).act(observation, is);
  for (std::size_t i = 0; i < was.size(); ++i) {
    CHECK(is[i] == doctest::Approx(was[i]).epsilon(1e-5));
  }
  CHECK_THROWS_WITH_AS(align_units(layout, original.weights().first(5), aligned.span()),
                       doctest::Contains("found 5"), Error);
}

}  // namespace
