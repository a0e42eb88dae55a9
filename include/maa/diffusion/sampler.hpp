// From noise to samples: DDIM and ancestral DDPM steps, classifier-free guidance and the sampling loop, for
// any denoiser, on any backend.
#pragma once

#include <maa/backend/sampler_coefficients.hpp>
#include <maa/core/function_ref.hpp>
#include <maa/core/rng.hpp>
#include <maa/core/workspace.hpp>
#include <maa/diffusion/schedule.hpp>

#include <functional>

MAA_NAMESPACE_BEGIN

// ddim: Song et al., ICLR 2021; ddpm: ancestral sampling with the posterior's variance, Ho et al., NeurIPS
// 2020.
enum class SamplerKind { ddim, ddpm };
constexpr std::array<std::string_view, 2> names_of(SamplerKind) {
  return {"ddim", "ddpm"};
}

// The sampler, its steps and their spacing.
struct SamplingOptions {
  SamplerKind sampler = SamplerKind::ddim;
  Index steps = 10;
  TimestepSpacing spacing = TimestepSpacing::leading;
  double eta = 0;  // ddim only, in [0, 1]: share of ddpm's noise

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("sampler", self.sampler);
    visit("steps", between(1, 10'000), self.steps);
    visit("spacing", self.spacing);
    visit("eta", share(), self.eta);
  }
};

// Error, with `where` before it, if the options are out of their limits or visit more timesteps than there
// are.
void check_sampling(const SamplingOptions& sampling, const DiffusionOptions& diffusion,
                    std::string_view where);

// Writes the network's prediction [B, D] for noisy samples x [B, D] at timesteps [B].
template <class T>
using DenoiseFunction =
    FunctionRef<void(MatrixView<const T> x, std::span<const Index> timesteps, MatrixView<T> prediction)>;

// Called after each step with the number of finished steps and of all steps; returning false stops sampling.
using SamplingProgress = std::function<bool(Index finished, Index steps)>;

namespace detail {

// Variance of q(x_previous | x_t, x0), the posterior of the forward process.
inline double posterior_variance(double alpha_bar, double alpha_bar_previous) {
  return (1 - alpha_bar_previous) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_previous);
}

}  // namespace detail

// The coefficients with which sampler_step takes x from timestep t to `previous` (-1: finished). eta counts
// for ddim only. epsilon is derived from the unclipped estimate of x0, while the step uses the clipped one.
// ddpm is a draw from q(x_previous | x_t, x0), whose last step adds no noise.
SamplerCoefficients reverse_step(const DiffusionSchedule& schedule, SamplerKind sampler, double eta, Index t,
                                 Index previous);

// Classifier-free guidance (Ho and Salimans, 2022): a denoiser that predicts unconditional + scale *
// (conditional - unconditional). It holds the two denoisers by value; `scratch` [B, D] and the backend must
// outlive it.
template <class Backend, class T, class Conditional, class Unconditional>
auto guided_denoiser(const Backend& backend, Conditional conditional, Unconditional unconditional,
                     double scale, MatrixView<T> scratch) {
  return
      [&backend, conditional = std::move(conditional), unconditional = std::move(unconditional), scale,
       scratch](MatrixView<const T> x, std::span<const Index> timesteps, MatrixView<T> prediction) mutable {
        conditional(x, timesteps, prediction);
        unconditional(x, timesteps, scratch);
        guide(backend, scratch, scale, prediction);
      };
}

// Generators of samples first .. first + count - 1: sample i draws from its own stream of `rng`, so its
// values do not depend on how samples are batched.
std::vector<Rng> sample_streams(const Rng& rng, Index first, Index count);

// Draws samples: x [B, D] (written only) starts as noise from `streams` [B] and is denoised in options.steps
// steps, each to the next timestep that the spacing visits. Returns false if `progress` (may be empty)
// stopped it; x then holds the samples of the last finished step. Throws Error for bad options before
// anything is written.
template <class Backend, class T>
bool draw_samples(const Backend& backend, const DiffusionSchedule& schedule, const SamplingOptions& options,
                  std::span<Rng> streams, MatrixView<T> x, std::type_identity_t<DenoiseFunction<T>> denoise,
                  WorkspaceOf<Backend>& workspace, const SamplingProgress& progress = {}) {
  const auto visited = schedule.timesteps(options.steps, options.spacing);
  require(static_cast<Index>(streams.size()) == x.rows, "draw_samples: expected ", x.rows,
          " random streams, found ", streams.size());
  std::vector<SamplerCoefficients> steps;
  for (std::size_t k = 0; k < visited.size(); ++k) {
    const Index previous = k + 1 < visited.size() ? visited[k + 1] : -1;
    steps.push_back(reverse_step(schedule, options.sampler, options.eta, visited[k], previous));
  }
  const auto scope = workspace.scope();
  const auto prediction = workspace.template matrix<T>(x.rows, x.cols);
  const auto noise = workspace.template matrix<T>(x.rows, x.cols);
  std::vector<Index> timesteps(static_cast<std::size_t>(x.rows));
  fill_normal(backend, streams, x);
  for (std::size_t k = 0; k < visited.size(); ++k) {
    std::fill(timesteps.begin(), timesteps.end(), visited[k]);
    denoise(MatrixView<const T>(x), std::span<const Index>(timesteps), prediction);
    if (steps[k].noise > 0) {
      fill_normal(backend, streams, noise);
    }
    sampler_step(backend, steps[k], prediction, noise, x);
    if (progress && !progress(static_cast<Index>(k) + 1, options.steps)) {
      return false;
    }
  }
  return true;
}

#if MAA_BODIES

MAA_COLD MAA_INLINE void check_sampling(const SamplingOptions& sampling, const DiffusionOptions& diffusion,
                                        std::string_view where) {
  check_fields(sampling, where, "sampling.");
  require(sampling.steps <= diffusion.steps, where, ": expected sampling.steps from 1 to ", diffusion.steps,
          ", the timesteps of the diffusion (diffusion.steps), found ", sampling.steps);
}

MAA_INLINE SamplerCoefficients reverse_step(const DiffusionSchedule& schedule, SamplerKind sampler,
                                            double eta, Index t, Index previous) {
  require(previous < t, "sampler: expected a timestep before ", t, ", found ", previous);
  const double now = schedule.alpha_bar(t);
  const double next = schedule.alpha_bar(previous);
  const double variance = detail::posterior_variance(now, next);
  const auto map = schedule.prediction_map(t);
  SamplerCoefficients c{map.x0_x, map.x0_prediction, map.epsilon_x, map.epsilon_prediction, schedule.limit()};
  if (sampler == SamplerKind::ddpm) {
    const double alpha = now / next;
    c.clean = std::sqrt(next) * (1 - alpha) / (1 - now);
    c.current = std::sqrt(alpha) * (1 - next) / (1 - now);
    c.noise = std::sqrt(variance);
    return c;
  }
  require(eta >= 0 && eta <= 1, "sampler: expected eta from 0 to 1, found ", eta);
  const double added = eta * eta * variance;
  c.clean = std::sqrt(next);
  c.direction = std::sqrt(std::max(0.0, 1 - next - added));
  c.noise = std::sqrt(added);
  return c;
}

MAA_INLINE std::vector<Rng> sample_streams(const Rng& rng, Index first, Index count) {
  require(first >= 0 && count >= 0, "sample streams: expected no negative numbers, found ", first, " and ",
          count);
  std::vector<Rng> streams;
  streams.reserve(static_cast<std::size_t>(count));
  for (Index i = first; i < first + count; ++i) {
    streams.push_back(rng.fork(static_cast<std::uint64_t>(i)));
  }
  return streams;
}

#endif

MAA_NAMESPACE_END
