// Confidence intervals of success rates.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <maa/core/error.hpp>
#include <maa/core/rng.hpp>

namespace maa::examples {

struct Interval {
  double low = 0;
  double high = 1;
};

// 95 % Wilson score interval of a rate (Wilson, 1927).
inline Interval wilson_interval(Index successes, Index trials) {
  maa::require(trials > 0 && successes >= 0 && successes <= trials, "Wilson interval: expected 0 to ", trials,
               " successes of at least one trial, found ", successes);
  constexpr double z = 1.959963984540054;
  const auto n = static_cast<double>(trials);
  const double rate = static_cast<double>(successes) / n;
  const double centre = (rate + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(rate * (1 - rate) / n + z * z / (4 * n * n));
  return {successes == 0 ? 0.0 : centre - half, successes == trials ? 1.0 : centre + half};
}

// 95 % percentile bootstrap of the mean over groups of each group's mean; samples are redrawn within their
// group. The same seed gives the same interval. Where the samples of every group are alike it is a point.
inline Interval bootstrap_interval(const std::vector<std::vector<double>>& groups, std::uint64_t seed,
                                   Index resamples = 4000) {
  maa::require(!groups.empty() && std::ranges::none_of(groups, [](const auto& g) { return g.empty(); }),
               "bootstrap: expected groups of samples, found none or an empty one");
  maa::Rng rng(seed);
  std::vector<double> means(static_cast<std::size_t>(resamples));
  for (double& mean : means) {
    for (const auto& group : groups) {
      double sum = 0;
      for (std::size_t i = 0; i < group.size(); ++i) {
        sum += group[static_cast<std::size_t>(rng.below(static_cast<Index>(group.size())))];
      }
      mean += sum / static_cast<double>(group.size() * groups.size());
    }
  }
  std::ranges::sort(means);
  const auto quantile = [&](double q) {
    return means[static_cast<std::size_t>(std::lround(q * static_cast<double>(resamples - 1)))];
  };
  return {quantile(0.025), quantile(0.975)};
}

}  // namespace maa::examples
