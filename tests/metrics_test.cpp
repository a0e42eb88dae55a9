// The figures of a study's results against cases worked out by hand, and the error of the paper's script.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <maa/core/rng.hpp>

#include "flag_visitor.hpp"
#include "metrics.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa::examples::study;
using doctest::Approx;
using maa::Index;
using maa::Rng;

// Four policies in three scenes.
const PolicyEpisodes four = {{5, -1, 0}, {3, 4, 5}, {-1, -1, -1}, {-1, 7, 2}};

// Policies that each solve each scene with probability p, independently.
PolicyEpisodes independent(Rng& rng, Index policies, Index scenes, double p) {
  PolicyEpisodes result(static_cast<std::size_t>(policies));
  for (auto& episodes : result) {
    for (Index scene = 0; scene < scenes; ++scene) {
      episodes.push_back(rng.uniform() < p ? rng.below(500) : -1);
    }
  }
  return result;
}

// What the paper's script does, step by step: each scene's successes sorted by themselves, then rank by rank.
double paper_script(const PolicyEpisodes& policies) {
  const std::size_t scenes = policies.front().size();
  std::vector<std::vector<int>> columns(scenes);
  for (std::size_t scene = 0; scene < scenes; ++scene) {
    for (const auto& episodes : policies) {
      columns[scene].push_back(episodes[scene] >= 0 ? 1 : 0);
    }
    std::ranges::sort(columns[scene], std::greater());
  }
  double ranks = 0;
  for (std::size_t rank = 0; rank < policies.size(); ++rank) {
    ranks += std::ranges::all_of(columns, [&](const auto& column) { return column[rank] == 1; }) ? 1 : 0;
  }
  return ranks / static_cast<double>(policies.size());
}

struct Numbers {
  std::uint64_t seed = 3;
  double rate = 1;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("seed", self.seed);
    visit("rate", maa::positive(), self.rate);
  }
};

TEST_CASE("flags: numbers that the described option does not have are refused, negative seeds among them") {
  const auto parses = [](const char* argument) {
    Numbers numbers;
    CLI::App app;
    add_flags_of(app, numbers, std::vector<Flag>{{"--seed", "seed", ""}, {"--rate", "rate", ""}});
    try {
      app.parse(argument);
      return true;
    } catch (const CLI::ParseError&) {
      return false;
    }
  };
  for (const auto* argument : {"--seed 0", "--seed 18446744073709551615", "--rate 0.5", ""}) {
    CHECK(parses(argument));
  }
  for (const auto* argument : {"--seed -1", "--seed=-5", "--seed 1.5", "--seed x", "--seed 1e300", "--rate 0",
                               "--rate nan", "--rate -1", "--rate 1e300"}) {
    CAPTURE(argument);
    CHECK_FALSE(parses(argument));
  }
}

}  // namespace

TEST_CASE("metrics: joint rate, mean success and steps to success of four policies") {
  CHECK(solved(four[0]) == 2);
  CHECK(solved(four[2]) == 0);
  CHECK(share_solved(four[3]) == Approx(2.0 / 3));
  CHECK(!qualified(four[0]));
  CHECK(qualified(four[1]));
  CHECK(!qualified(four[2]));
  CHECK(qualified(Episodes{0, 0, 0}));  // success in the very first step counts
  CHECK(qualified_rate(four) == Approx(1.0 / 4));
  CHECK(mean_success(four) == Approx((2.0 + 3 + 0 + 2) / 12));
  // Steps 5, 0, 3, 4, 5, 7 and 2 are the 6th, 1st, 4th, 5th, 6th, 8th and 3rd.
  CHECK(steps_to_success(four).value() == Approx(33.0 / 7));
  CHECK(!steps_to_success({{-1, -1}, {-1, -1}}));
  CHECK(qualified_rate({{-1, -1}, {-1, -1}}) == 0);
  CHECK(qualified_rate({{9, 9}, {1, 1}}) == 1);
  CHECK(mean_success({{9, 9}, {1, 1}}) == 1);
}

TEST_CASE("metrics: the best policies of selection scenes, in other scenes and in the same") {
  // Solved of three selection scenes: 2, 1, 3, 1. Of two reported ones: 0, 2, 1, 0.
  const PolicyEpisodes selection = {{1, 1, -1}, {-1, 1, -1}, {1, 1, 1}, {1, -1, -1}};
  const PolicyEpisodes reported = {{-1, -1}, {4, 4}, {-1, 4}, {-1, -1}};
  CHECK(top_success(selection, reported, 1) == Approx(1.0 / 2));
  CHECK(top_success(selection, reported, 2) == Approx(1.0 / 4));  // policies 2 and 0
  CHECK(top_success(selection, reported, 3) == Approx(1.0 / 2));  // and 1, the first of equals
  CHECK(top_success(selection, reported, 4) == Approx(3.0 / 8));
  CHECK(top_success(selection, reported, 10) == Approx(3.0 / 8));
  CHECK(top_success(reported, reported, 1) == 1);
  CHECK(top_success(reported, reported, 2) == Approx(3.0 / 4));
  CHECK(top_success(selection, selection, 2) == Approx(5.0 / 6));
  CHECK(test::has(test::error_of([&] { top_success(selection, {{1}}, 1); }), "found 4 and 1"));
  CHECK(test::has(test::error_of([&] { top_success({}, {}, 1); }), "found 0 and 0"));
}

TEST_CASE("metrics: selecting on the reported scenes makes equal policies look better, other scenes do not") {
  Rng rng(5);
  double same = 0, other = 0;
  constexpr int repeats = 200;
  for (int i = 0; i < repeats; ++i) {
    const auto selection = independent(rng, 100, 5, 0.5);
    const auto reported = independent(rng, 100, 5, 0.5);
    same += top_success(reported, reported, 5) / repeats;
    other += top_success(selection, reported, 5) / repeats;
  }
  CHECK(same > 0.9);
  CHECK(other == Approx(0.5).epsilon(0.05));
}

TEST_CASE("metrics: the rank-wise figure calls networks qualified that are not") {
  // Scenes solved by 2, 2 and 3 of the four policies.
  CHECK(rank_wise_rate(four) == Approx(2.0 / 4));
  CHECK(qualified_rate(four) == Approx(1.0 / 4));
  // Each of five networks fails one scene of its own: none is qualified, and four ranks of five are
  // "qualified".
  const PolicyEpisodes none_qualified = {
      {-1, 1, 1, 1, 1}, {1, -1, 1, 1, 1}, {1, 1, -1, 1, 1}, {1, 1, 1, -1, 1}, {1, 1, 1, 1, -1}};
  CHECK(rank_wise_rate(none_qualified) == Approx(4.0 / 5));
  CHECK(qualified_rate(none_qualified) == 0);
  // Right where a network solves all or nothing, and with one scene.
  CHECK(rank_wise_rate({{1, 1}, {-1, -1}, {2, 2}}) == Approx(2.0 / 3));
  CHECK(rank_wise_rate({{-1}, {0}, {-1}, {3}}) == Approx(1.0 / 2));
  CHECK(rank_wise_rate({{-1, 1}, {-1, 1}}) == 0);
}

TEST_CASE("metrics: rank-wise and joint rate of independent scenes") {
  // The example of the spec: p = .4 and 5 scenes print .34 where the joint rate is .4^5 = .01.
  Rng rng(11);
  double rank_wise = 0, joint = 0;
  constexpr int repeats = 400;
  for (int i = 0; i < repeats; ++i) {
    const auto policies = independent(rng, 100, 5, 0.4);
    CHECK(rank_wise_rate(policies) == Approx(paper_script(policies)));
    CHECK(rank_wise_rate(policies) >= qualified_rate(policies));
    rank_wise += rank_wise_rate(policies) / repeats;
    joint += qualified_rate(policies) / repeats;
  }
  CHECK(rank_wise > 0.33);
  CHECK(rank_wise < 0.36);
  CHECK(joint > 0.007);
  CHECK(joint < 0.013);
}
