// Checks a hand-written gradient against central differences; for your own layers as for the library's.
#pragma once

#include <maa/core/error.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/rng.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

MAA_NAMESPACE_BEGIN

struct GradCheckOptions {
  // A coordinate x moves by h * max(1, |x|). Central differences err by about h^2 |f'''| / 6 from truncation
  // and by eps |f| / h from rounding (eps = 2^-52). Both are small near h = eps^(1/3) = 6.1e-6, the default:
  // below 4e-11 where f and its third derivative are of size 1.
  double step = 6.055454452393343e-06;
  // Gradients below floor * max(1, |f|) are compared at that scale: rounding, about 1e-10 * |f|, would make
  // up their relative error.
  double floor = 1e-3;
  // 0 checks every coordinate; n > 0 checks n of them, one drawn from each of n equal parts of the range.
  Index samples = 0;
  std::uint64_t seed = 1;
};

struct GradCheckResult {
  // Largest |analytic - numeric| / max(|analytic|, |numeric|, floor * max(1, |f|)); infinite if not finite.
  double worst_error = 0;
  Index index = -1;  // where it is
  double analytic = 0;
  double numeric = 0;
  Index checked = 0;  // coordinates
};

// Compares `gradient` with the differences of `function()`, a double that depends on `values`. `values`
// changes in between and is as before afterwards, also when the function throws.
template <class Function>
GradCheckResult grad_check(std::span<double> values, std::span<const double> gradient,
                           const Function& function, const GradCheckOptions& options = {}) {
  require(values.size() == gradient.size(), "grad_check: expected a gradient of ", values.size(),
          " numbers, found ", gradient.size());
  require(options.step > 0 && options.floor > 0 && options.samples >= 0,
          "grad_check: expected positive step and floor and 0 or more samples, found ", options.step, ", ",
          options.floor, " and ", options.samples);
  struct Restore {
    double& place;
    double value;
    ~Restore() { place = value; }
  };

  const auto size = static_cast<Index>(values.size());
  const Index count = options.samples == 0 ? size : std::min(options.samples, size);
  Rng rng(options.seed);
  GradCheckResult result;
  for (Index k = 0; k < count; ++k) {
    const Index first = k * size / count;
    const auto index = static_cast<std::size_t>(first + rng.below((k + 1) * size / count - first));
    const Restore restore{values[index], values[index]};
    const double x = restore.value;
    const double step = options.step * std::max(1.0, std::abs(x));
    const double above = x + step;
    const double below = x - step;
    values[index] = above;
    const double f_above = function();
    values[index] = below;
    const double f_below = function();
    const double numeric = (f_above - f_below) / (above - below);
    const double analytic = gradient[index];
    const double floor = options.floor * std::max(1.0, std::abs(f_above));
    double error = std::abs(analytic - numeric) / std::max({std::abs(analytic), std::abs(numeric), floor});
    if (!is_finite(error)) {
      error = std::numeric_limits<double>::infinity();
    }
    if (error > result.worst_error || result.index < 0) {
      result = {error, static_cast<Index>(index), analytic, numeric, result.checked};
    }
    ++result.checked;
  }
  return result;
}

MAA_NAMESPACE_END
