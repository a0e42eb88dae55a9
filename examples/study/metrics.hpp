// What success means: figures from the outcomes of policies in scenes.
#pragma once

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include <maa/core/error.hpp>

namespace maa::examples::study {

// Of one policy: for each of its scenes, the step whose action led to success, or -1. All policies of a task
// have the same number of scenes.
using Episodes = std::vector<Index>;
using PolicyEpisodes = std::vector<Episodes>;  // of the policies of one task
using Outcome = std::vector<PolicyEpisodes>;   // of all tasks; no policies where a method does not apply

inline Index solved(const Episodes& episodes) {
  return std::ranges::count_if(episodes, [](Index step) { return step >= 0; });
}

// Whether the same network succeeds in all of its scenes: the paper's "qualified", taken jointly.
inline bool qualified(const Episodes& episodes) {
  return solved(episodes) == static_cast<Index>(episodes.size());
}

inline double share_solved(const Episodes& episodes) {
  return static_cast<double>(solved(episodes)) / static_cast<double>(episodes.size());
}

inline double qualified_rate(const PolicyEpisodes& policies) {
  return static_cast<double>(std::ranges::count_if(policies, qualified)) /
         static_cast<double>(policies.size());
}

inline double mean_success(const PolicyEpisodes& policies) {
  double sum = 0;
  for (const auto& episodes : policies) {
    sum += share_solved(episodes);
  }
  return sum / static_cast<double>(policies.size());
}

// Mean success in `reported` scenes of the `count` policies that solve most of the `selection` scenes (the
// first of equals). Different scenes on the two sides give an honest figure; the same ones give the paper's.
inline double top_success(const PolicyEpisodes& selection, const PolicyEpisodes& reported, Index count) {
  require(selection.size() == reported.size() && !reported.empty(),
          "top success: expected the same policies on both sides, found ", selection.size(), " and ",
          reported.size());
  std::vector<std::size_t> order(selection.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return share_solved(selection[a]) > share_solved(selection[b]);
  });
  order.resize(std::min(order.size(), static_cast<std::size_t>(count)));
  PolicyEpisodes best;
  for (const auto i : order) {
    best.push_back(reported[i]);
  }
  return mean_success(best);
}

// The "qualified" rate as the paper's script prints it: the successes of each scene are sorted over policies
// by themselves, and a rank counts if it is a success in every scene - though the scenes of a rank may belong
// to different networks. That is the least number of successes of any scene. Biased upwards; for comparison
// only.
inline double rank_wise_rate(const PolicyEpisodes& policies) {
  const auto scenes = policies.front().size();
  Index least = static_cast<Index>(policies.size());
  for (std::size_t scene = 0; scene < scenes; ++scene) {
    least = std::min<Index>(least, std::ranges::count_if(policies, [&](const Episodes& episodes) {
                              return episodes[scene] >= 0;
                            }));
  }
  return static_cast<double>(least) / static_cast<double>(policies.size());
}

// Mean number of steps to success, over the episodes that succeed; none if none does.
inline std::optional<double> steps_to_success(const PolicyEpisodes& policies) {
  double sum = 0;
  Index count = 0;
  for (const auto& episodes : policies) {
    for (const Index step : episodes) {
      sum += step >= 0 ? static_cast<double>(step + 1) : 0;
      count += step >= 0 ? 1 : 0;
    }
  }
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

}  // namespace maa::examples::study
