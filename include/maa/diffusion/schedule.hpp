// The forward process of a diffusion model, and what a network may be trained to predict.
//
//     x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) epsilon,    epsilon ~ N(0, I),    t = 0 .. steps - 1
//
// (Ho et al., NeurIPS 2020). Samples are rows of a matrix [batch, features]; every row has its own timestep.
#pragma once

#include <maa/core/function_ref.hpp>
#include <maa/core/options.hpp>
#include <maa/core/workspace.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <vector>

MAA_NAMESPACE_BEGIN

// v = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x0 (Salimans and Ho, ICLR 2022).
enum class PredictionType { epsilon, sample, v_prediction };
constexpr std::array<std::string_view, 3> names_of(PredictionType) {
  return {"epsilon", "sample", "v_prediction"};
}

// Which timesteps n inference steps visit, out of T:
// leading: 0, k, 2k .. with k = floor(T/n); trailing: T - 1 downwards by T/n;
// linspace: n values evenly from T - 1 to 0 (one step: T - 1).
enum class TimestepSpacing { leading, trailing, linspace };
constexpr std::array<std::string_view, 3> names_of(TimestepSpacing) {
  return {"leading", "trailing", "linspace"};
}

// alpha_bar follows cos^2((t/T + .008) / 1.008 * pi/2), each beta at most .999 (Nichol and Dhariwal, ICML
// 2021; "squaredcos_cap_v2" elsewhere).
struct DiffusionOptions {
  Index steps = 100;  // T
  PredictionType prediction_type = PredictionType::epsilon;  // what the network gives
  double clip_range = 1;  // samplers clip the estimate of x0 to [-clip_range, clip_range]; 0: not at all

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("steps", between(1, 10'000), self.steps);
    visit("prediction_type", self.prediction_type);
    visit("clip_range", not_negative(), self.clip_range);
  }
};

// The linear maps from a noisy sample x and the network's prediction p at one timestep:
// x0 = x0_x * x + x0_prediction * p and epsilon = epsilon_x * x + epsilon_prediction * p.
// x0_prediction is also the derivative of the estimate of x0 (before clipping) with respect to the
// prediction.
struct PredictionMap {
  double x0_x = 0;
  double x0_prediction = 0;
  double epsilon_x = 0;
  double epsilon_prediction = 0;
};

// Immutable after construction. Throws Error for options out of range.
class DiffusionSchedule {
 public:
  explicit DiffusionSchedule(const DiffusionOptions& options = {});

  // As it was made, and T.
  const DiffusionOptions& options() const noexcept { return options_; }
  Index steps() const noexcept { return options_.steps; }

  // The share of signal variance left at timestep t, falling with t; t = -1 stands for the finished sample.
  double alpha_bar(Index t) const {
    require(t >= -1 && t < steps(), "diffusion schedule: expected a timestep from 0 to ", steps() - 1,
            " (or -1, finished), found ", t);
    return t < 0 ? 1.0 : alpha_bar_[static_cast<std::size_t>(t)];
  }

  // The timesteps that `count` inference steps visit, falling; 1 <= count <= steps(), not necessarily a
  // divisor.
  std::vector<Index> timesteps(Index count, TimestepSpacing spacing) const;

  // Where samplers and training clip estimates of x0: infinity if they do not.
  double limit() const { return options_.clip_range > 0 ? options_.clip_range : unlimited; }

  // noisy = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon, all [B, D], timesteps [B]. noisy may be x0 or
  // epsilon.
  template <class Backend, class T>
  void add_noise(const Backend& backend, MatrixView<const std::type_identity_t<T>> x0,
                 MatrixView<const std::type_identity_t<T>> epsilon, std::span<const Index> timesteps,
                 MatrixView<T> noisy) const {
    check_batch(x0, epsilon, timesteps, noisy, "add_noise");
    combine(backend, timesteps, x0, epsilon, unlimited, noisy, [&](Index t) { return scales(t); });
  }

  // What the network is trained to predict for the same arguments: epsilon, x0 or v. `target` may be x0 or
  // epsilon.
  template <class Backend, class T>
  void target(const Backend& backend, MatrixView<const std::type_identity_t<T>> x0,
              MatrixView<const std::type_identity_t<T>> epsilon, std::span<const Index> timesteps,
              MatrixView<T> target) const {
    check_batch(x0, epsilon, timesteps, target, "target");
    combine(backend, timesteps, x0, epsilon, unlimited, target, [&](Index t) -> Scales {
      const auto [signal, noise] = scales(t);
      switch (options_.prediction_type) {
        case PredictionType::sample:
          return {1, 0};
        case PredictionType::v_prediction:
          return {-noise, signal};
        case PredictionType::epsilon:
          break;
      }
      return {0, 1};
    });
  }

  // How (x, prediction) at timestep t >= 0 give x0 and epsilon.
  PredictionMap prediction_map(Index t) const;

  // Estimates of x0 (not clipped) and epsilon from noisy samples x and the network's predictions, all [B, D].
  template <class Backend, class T>
  void clean_and_noise(const Backend& backend, MatrixView<const std::type_identity_t<T>> x,
                       MatrixView<const std::type_identity_t<T>> prediction, std::span<const Index> timesteps,
                       MatrixView<T> x0, MatrixView<T> epsilon) const {
    check_batch(x, prediction, timesteps, x0, "clean_and_noise");
    require_shape(epsilon, x0.rows, x0.cols, "clean_and_noise: epsilon");
    combine(backend, timesteps, x, prediction, unlimited, x0, [&](Index t) { return x0_scales(t); });
    combine(backend, timesteps, x, prediction, unlimited, epsilon, [&](Index t) -> Scales {
      const auto map = prediction_map(t);
      return {map.epsilon_x, map.epsilon_prediction};
    });
  }
  // The estimate of x0 as samplers use it, clipped, and its backward: d, the gradient for the estimate
  // `clean`, becomes that for the prediction, in place.
  template <class Backend, class T>
  void clean_estimate(const Backend& backend, MatrixView<const std::type_identity_t<T>> x,
                      MatrixView<const std::type_identity_t<T>> prediction, std::span<const Index> timesteps,
                      MatrixView<T> clean) const {
    check_batch(x, prediction, timesteps, clean, "clean_estimate");
    combine(backend, timesteps, x, prediction, limit(), clean, [&](Index t) { return x0_scales(t); });
  }
  template <class Backend, class T>
  void clean_estimate_backward(const Backend& backend, MatrixView<const std::type_identity_t<T>> clean,
                               std::span<const Index> timesteps, MatrixView<T> d) const {
    check_batch(clean, clean, timesteps, d, "clean_estimate_backward");
    const Workspace::Scope scope(thread_scratch());
    const auto factors = thread_scratch().span<double>(d.rows);
    std::ranges::transform(timesteps, factors.begin(),
                           [&](Index t) { return prediction_map(t).x0_prediction; });
    scale_rows_inside(backend, clean, limit(), factors, d);
  }

 private:
  static constexpr double unlimited = std::numeric_limits<double>::infinity();

  struct Scales {
    double signal;
    double noise;
  };

  double beta_at(Index t) const;

  Index timestep_at(Index i, Index count, TimestepSpacing spacing) const;

  Scales scales(Index t) const;

  // All checks before the first write, so that a failed call leaves the output as it was.
  template <class T>
  void check_batch(MatrixView<const T> a, MatrixView<const T> b, std::span<const Index> timesteps,
                   MatrixView<T> out, const char* what) const {
    require_shape(a, out.rows, out.cols, what);
    require_shape(b, out.rows, out.cols, what);
    require(static_cast<Index>(timesteps.size()) == out.rows, what, ": expected ", out.rows,
            " timesteps, found ", timesteps.size());
    for (const Index t : timesteps) {
      scales(t);
    }
  }

  Scales x0_scales(Index t) const {
    const auto map = prediction_map(t);
    return {map.x0_x, map.x0_prediction};
  }
  // Row i of out = a x + b y, limited, with {a, b} = of(timesteps[i]).
  template <class Backend, class T>
  static void combine(const Backend& backend, std::span<const Index> timesteps, MatrixView<const T> x,
                      MatrixView<const T> y, double limit, MatrixView<T> out, FunctionRef<Scales(Index)> of) {
    const Workspace::Scope scope(thread_scratch());
    const auto a = thread_scratch().span<double>(out.rows);
    const auto b = thread_scratch().span<double>(out.rows);
    for (std::size_t i = 0; i < timesteps.size(); ++i) {
      const Scales scales = of(timesteps[i]);
      a[i] = scales.signal;
      b[i] = scales.noise;
    }
    combine_rows(backend, a, x, b, y, limit, out);
  }

  DiffusionOptions options_;
  std::vector<double> alpha_bar_;
};

#if MAA_BODIES

MAA_INLINE DiffusionSchedule::DiffusionSchedule(const DiffusionOptions& options) : options_(options) {
  check_fields(options, "diffusion schedule");
  double product = 1;
  alpha_bar_.reserve(static_cast<std::size_t>(options.steps));
  for (Index t = 0; t < options.steps; ++t) {
    product *= 1 - beta_at(t);
    alpha_bar_.push_back(product);
  }
}

MAA_INLINE std::vector<Index> DiffusionSchedule::timesteps(Index count, TimestepSpacing spacing) const {
  require(count >= 1 && count <= steps(), "diffusion schedule: expected from 1 to ", steps(),
          " inference steps, found ", count);
  std::vector<Index> visited(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    visited[static_cast<std::size_t>(i)] = timestep_at(i, count, spacing);
  }
  return visited;
}

MAA_INLINE PredictionMap DiffusionSchedule::prediction_map(Index t) const {
  const auto [signal, noise] = scales(t);
  switch (options_.prediction_type) {
    case PredictionType::sample:
      return {0, 1, 1 / noise, -signal / noise};
    case PredictionType::v_prediction:
      return {signal, -noise, noise, signal};
    case PredictionType::epsilon:
      break;
  }
  return {1 / signal, -noise / signal, 0, 1};
}

MAA_INLINE double DiffusionSchedule::beta_at(Index t) const {
  const auto count = static_cast<double>(options_.steps);
  const auto step = static_cast<double>(t);
  const auto squared_cosine = [](double u) {
    const double cosine = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
    return cosine * cosine;
  };
  return std::min(0.999, 1 - squared_cosine((step + 1) / count) / squared_cosine(step / count));
}

MAA_INLINE Index DiffusionSchedule::timestep_at(Index i, Index count, TimestepSpacing spacing) const {
  const auto total = static_cast<double>(steps());
  const auto last = static_cast<double>(count - 1);
  switch (spacing) {
    case TimestepSpacing::trailing:
      return static_cast<Index>(
                 std::nearbyint(total - static_cast<double>(i) * (total / static_cast<double>(count)))) -
             1;
    case TimestepSpacing::linspace:
      if (count == 1) {
        return steps() - 1;
      }
      return static_cast<Index>(std::nearbyint(static_cast<double>(count - 1 - i) * ((total - 1) / last)));
    case TimestepSpacing::leading:
      break;
  }
  return (count - 1 - i) * (steps() / count);
}

MAA_INLINE DiffusionSchedule::Scales DiffusionSchedule::scales(Index t) const {
  require(t >= 0 && t < steps(), "diffusion schedule: expected a timestep from 0 to ", steps() - 1,
          ", found ", t);
  const double kept = alpha_bar(t);
  return {std::sqrt(kept), std::sqrt(1 - kept)};
}

#endif

MAA_NAMESPACE_END
