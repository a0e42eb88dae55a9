// Properties of the diffusion schedule and the samplers, without a model.
#include <doctest/doctest.h>
#include <maa/backend/cpu.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/diffusion/schedule.hpp>

#include "errors.hpp"
#include "larger.hpp"

#include <array>
#include <numeric>
#include <string>

namespace {

using maa::DiffusionOptions;
using maa::DiffusionSchedule;
using maa::Index;
using maa::MatrixView;
using maa::PredictionType;
using maa::SamplerKind;
using maa::SamplingOptions;
using maa::TimestepSpacing;
using test::check_error;
using test::error_of;

const maa::cpu::Backend backend(1);
maa::Workspace workspace;

constexpr std::array prediction_types = {PredictionType::epsilon, PredictionType::sample,
                                         PredictionType::v_prediction};

DiffusionSchedule schedule_with(PredictionType type, bool clip = true) {
  DiffusionOptions options;
  options.prediction_type = type;
  options.clip_range = clip ? 1 : 0;
  return DiffusionSchedule(options);
}

// A matrix that owns its numbers.
template <class T>
struct Matrix {
  Index rows, cols;
  maa::Buffer<T> values;

  Matrix(Index rows_, Index cols_) : rows(rows_), cols(cols_), values(rows * cols) {}
  Matrix(Index rows_, Index cols_, std::uint64_t seed) : Matrix(rows_, cols_) {
    maa::Rng(seed).fill_normal(values.span(), 0.3);
  }
  MatrixView<T> view() { return {values.data(), rows, cols}; }
  MatrixView<const T> view() const { return {values.data(), rows, cols}; }
  operator MatrixView<const T>() const { return view(); }
};

template <class T>
double largest_difference(const Matrix<T>& a, const Matrix<T>& b) {
  double largest = 0;
  for (Index i = 0; i < a.values.size(); ++i) {
    largest =
        test::larger(largest, std::abs(static_cast<double>(a.values[i]) - static_cast<double>(b.values[i])));
  }
  return largest;
}

// Predicts as a network would that knows the clean samples.
template <class T>
auto perfect_denoiser(const DiffusionSchedule& schedule, const Matrix<T>& clean) {
  return [&](MatrixView<const T> x, std::span<const Index> timesteps, MatrixView<T> prediction) {
    for (Index i = 0; i < x.rows; ++i) {
      const double kept = schedule.alpha_bar(timesteps[static_cast<std::size_t>(i)]);
      for (Index j = 0; j < x.cols; ++j) {
        const double x0 = clean.view()(i, j);
        const double epsilon = (x(i, j) - std::sqrt(kept) * x0) / std::sqrt(1 - kept);
        const double v = std::sqrt(kept) * epsilon - std::sqrt(1 - kept) * x0;
        const auto type = schedule.options().prediction_type;
        prediction(i, j) = static_cast<T>(type == PredictionType::epsilon  ? epsilon
                                          : type == PredictionType::sample ? x0
                                                                           : v);
      }
    }
  };
}

}  // namespace

TEST_CASE("timesteps of each spacing, also for counts that do not divide the steps") {
  const DiffusionSchedule schedule;
  using Steps = std::vector<Index>;
  CHECK(schedule.timesteps(10, TimestepSpacing::leading) == Steps{90, 80, 70, 60, 50, 40, 30, 20, 10, 0});
  CHECK(schedule.timesteps(7, TimestepSpacing::leading) == Steps{84, 70, 56, 42, 28, 14, 0});
  CHECK(schedule.timesteps(10, TimestepSpacing::trailing) == Steps{99, 89, 79, 69, 59, 49, 39, 29, 19, 9});
  CHECK(schedule.timesteps(7, TimestepSpacing::trailing) == Steps{99, 85, 70, 56, 42, 28, 13});
  CHECK(schedule.timesteps(10, TimestepSpacing::linspace) == Steps{99, 88, 77, 66, 55, 44, 33, 22, 11, 0});
  CHECK(schedule.timesteps(5, TimestepSpacing::linspace) == Steps{99, 74, 50, 25, 0});
  CHECK(schedule.timesteps(1, TimestepSpacing::linspace) == Steps{99});
  CHECK(schedule.timesteps(1, TimestepSpacing::trailing) == Steps{99});

  for (const auto spacing :
       {TimestepSpacing::leading, TimestepSpacing::trailing, TimestepSpacing::linspace}) {
    for (Index count = 1; count <= 100; ++count) {
      const auto visited = schedule.timesteps(count, spacing);
      CHECK(static_cast<Index>(visited.size()) == count);
      CHECK(std::is_sorted(visited.rbegin(), visited.rend(), std::less_equal<>{}));  // strictly falling
      CHECK(visited.front() < 100);
      CHECK(visited.back() >= 0);
    }
  }
}

TEST_CASE("alpha_bar follows its definition") {
  const DiffusionSchedule cosine;
  const auto curve = [](double u) {
    return std::pow(std::cos((u + 0.008) / 1.008 * std::acos(-1.0) / 2), 2);
  };
  // The product of ratios telescopes as long as no beta is capped.
  for (Index t = 0; t < 99; ++t) {
    CHECK(cosine.alpha_bar(t) ==
          doctest::Approx(curve(static_cast<double>(t + 1) / 100) / curve(0)).epsilon(1e-12));
  }
  CHECK(cosine.alpha_bar(99) == doctest::Approx(cosine.alpha_bar(98) * 0.001).epsilon(1e-12));  // capped
  CHECK(cosine.alpha_bar(90) == doctest::Approx(0.0195).epsilon(0.01));
  CHECK(cosine.alpha_bar(-1) == 1.0);
}

TEST_CASE_TEMPLATE("targets of every type lead back to the clean sample and the noise", T, float, double) {
  const double tolerance = std::is_same_v<T, float> ? 2e-4 : 1e-9;
  const Matrix<T> x0(5, 7, 1), epsilon(5, 7, 2);
  const std::vector<Index> timesteps = {0, 3, 50, 90, 97};
  for (const auto type : prediction_types) {
    const auto schedule = schedule_with(type);
    Matrix<T> noisy(5, 7), target(5, 7), x0_again(5, 7), epsilon_again(5, 7);
    schedule.add_noise(backend, x0, epsilon, timesteps, noisy.view());
    schedule.target(backend, x0, epsilon, timesteps, target.view());
    schedule.clean_and_noise(backend, noisy, target, timesteps, x0_again.view(), epsilon_again.view());
    CHECK(largest_difference(x0, x0_again) < tolerance);
    CHECK(largest_difference(epsilon, epsilon_again) < tolerance);
    // Written over its own input.
    auto in_place = x0;
    schedule.add_noise(backend, in_place, epsilon, timesteps, in_place.view());
    CHECK(largest_difference(in_place, noisy) == 0);
  }
}

TEST_CASE("x0_prediction is the derivative of the estimate of x0") {
  const std::vector<Index> timesteps = {40};
  for (const auto type : prediction_types) {
    const auto schedule = schedule_with(type);
    const Matrix<double> x(1, 1, 3);
    Matrix<double> prediction(1, 1, 4), low(1, 1), high(1, 1), unused(1, 1);
    const double step = 1e-3, start = prediction.values[0];
    prediction.values[0] = start - step;
    schedule.clean_and_noise(backend, x, prediction, timesteps, low.view(), unused.view());
    prediction.values[0] = start + step;
    schedule.clean_and_noise(backend, x, prediction, timesteps, high.view(), unused.view());
    CHECK(schedule.prediction_map(40).x0_prediction ==
          doctest::Approx((high.values[0] - low.values[0]) / (2 * step)).epsilon(1e-9));
  }
}

TEST_CASE_TEMPLATE("a perfect denoiser recovers the clean samples in any number of steps", T, float, double) {
  const double tolerance = std::is_same_v<T, float> ? 5e-4 : 1e-9;
  Matrix<T> clean(4, 6, 5);
  maa::Rng(5).fill_uniform(clean.values.span(), -0.9, 0.9);  // within the clipping range
  for (const auto type : prediction_types) {
    const auto schedule = schedule_with(type);
    for (const auto sampler : {SamplerKind::ddim, SamplerKind::ddpm}) {
      for (const Index steps : {1, 7, 10, 100}) {
        for (const double eta : {0.0, 0.5}) {
          for (const auto spacing : {TimestepSpacing::leading, TimestepSpacing::linspace}) {
            Matrix<T> x(4, 6);
            auto streams = maa::sample_streams(maa::Rng(7), 0, 4);
            const SamplingOptions options{sampler, steps, spacing, eta};
            CHECK(maa::draw_samples(backend, schedule, options, streams, x.view(),
                                    perfect_denoiser(schedule, clean), workspace));
            CHECK(largest_difference(x, clean) < tolerance);
          }
        }
      }
    }
  }
}

TEST_CASE("DDIM keeps a noisy sample on its path, and the noise follows the unclipped estimate") {
  const auto schedule = schedule_with(PredictionType::sample, false);
  const Matrix<double> x0(3, 4, 8), epsilon(3, 4, 9), no_noise(0, 0);
  Matrix<double> x(3, 4), expected(3, 4);
  schedule.add_noise(backend, x0, epsilon, std::vector<Index>(3, 70), x.view());
  schedule.add_noise(backend, x0, epsilon, std::vector<Index>(3, 20), expected.view());
  sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddim, 0.0, 70, 20), x0, no_noise,
               x.view());
  CHECK(largest_difference(x, expected) < 1e-12);

  // An estimate of 3, clipped to 1: the direction still comes from 3.
  const auto clipping = schedule_with(PredictionType::sample, true);
  Matrix<double> sample(1, 1), prediction(1, 1);
  sample.values[0] = 0.5;
  prediction.values[0] = 3;
  sampler_step(backend, maa::reverse_step(clipping, maa::SamplerKind::ddim, 0.0, 70, 20), prediction,
               no_noise, sample.view());
  const double now = clipping.alpha_bar(70), next = clipping.alpha_bar(20);
  const double direction = (0.5 - std::sqrt(now) * 3) / std::sqrt(1 - now);
  CHECK(sample.values[0] ==
        doctest::Approx(std::sqrt(next) + std::sqrt(1 - next) * direction).epsilon(1e-12));
}

TEST_CASE("DDIM with eta 1 is ancestral sampling") {
  for (const auto type : prediction_types) {
    const auto schedule = schedule_with(type, false);
    const Matrix<double> start(3, 4, 10), prediction(3, 4, 11), noise(3, 4, 12);
    for (const auto& [t, previous] : {std::pair<Index, Index>{80, 60}, {33, 32}, {10, -1}}) {
      auto ddim = start;
      auto ddpm = start;
      sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddim, 1.0, t, previous), prediction,
                   noise, ddim.view());
      sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddpm, 0, t, previous), prediction,
                   noise, ddpm.view());
      CHECK(largest_difference(ddim, ddpm) < 1e-9);
    }
    // The noise's scale is the posterior's: the difference that a unit of noise makes.
    Matrix<double> with(1, 1), without(1, 1), zero(1, 1), one(1, 1);
    one.values[0] = 1;
    sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddim, 1.0, 80, 60), zero, one,
                 with.view());
    sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddim, 1.0, 80, 60), zero, zero,
                 without.view());
    const double now = schedule.alpha_bar(80), next = schedule.alpha_bar(60);
    const double variance = (1 - next) / (1 - now) * (1 - now / next);
    CHECK(with.values[0] - without.values[0] == doctest::Approx(std::sqrt(variance)).epsilon(1e-12));
  }
}

TEST_CASE("one denoiser in three prediction types samples the same") {
  const Matrix<double> clean(2, 5, 13);
  std::vector<Matrix<double>> drawn;
  for (const auto type : prediction_types) {
    const auto schedule = schedule_with(type, false);
    Matrix<double> x(2, 5);
    auto streams = maa::sample_streams(maa::Rng(14), 0, 2);
    // Wrong on purpose, by an amount that depends on x: a perfect denoiser would hide the path.
    auto denoise = [&](MatrixView<const double> noisy, std::span<const Index> t,
                       MatrixView<double> prediction) {
      Matrix<double> x0(2, 5), epsilon(2, 5);
      for (Index i = 0; i < 2; ++i) {
        for (Index j = 0; j < 5; ++j) {
          const double kept = schedule.alpha_bar(t[0]);
          x0.view()(i, j) = clean.view()(i, j) + 0.1 * std::sin(noisy(i, j));
          epsilon.view()(i, j) = (noisy(i, j) - std::sqrt(kept) * x0.view()(i, j)) / std::sqrt(1 - kept);
        }
      }
      schedule.target(backend, x0, epsilon, t, prediction);
    };
    CHECK(maa::draw_samples(backend, schedule, {SamplerKind::ddim, 10, TimestepSpacing::trailing, 0.3},
                            streams, x.view(), denoise, workspace));
    drawn.push_back(std::move(x));
  }
  CHECK(largest_difference(drawn[0], drawn[1]) < 1e-9);
  CHECK(largest_difference(drawn[0], drawn[2]) < 1e-9);
}

TEST_CASE("a sample does not depend on its batch") {
  const auto schedule = schedule_with(PredictionType::sample);
  const auto denoise = [](MatrixView<const float> x, std::span<const Index> t, MatrixView<float> prediction) {
    for (Index i = 0; i < x.rows; ++i) {
      for (Index j = 0; j < x.cols; ++j) {
        prediction(i, j) = std::tanh(x(i, j) * static_cast<float>(t[static_cast<std::size_t>(i)] + 1));
      }
    }
  };
  for (const auto sampler : {SamplerKind::ddim, SamplerKind::ddpm}) {
    const SamplingOptions options{sampler, 9, TimestepSpacing::leading, 1.0};
    Matrix<float> all(6, 3), part(2, 3);
    auto all_streams = maa::sample_streams(maa::Rng(15), 0, 6);
    auto part_streams = maa::sample_streams(maa::Rng(15), 3, 2);
    maa::draw_samples(backend, schedule, options, all_streams, all.view(), denoise, workspace);
    maa::draw_samples(backend, schedule, options, part_streams, part.view(), denoise, workspace);
    for (Index j = 0; j < 3; ++j) {
      CHECK(part.view()(0, j) == all.view()(3, j));
      CHECK(part.view()(1, j) == all.view()(4, j));
      CHECK(all.view()(0, j) != all.view()(1, j));
    }
  }
}

TEST_CASE("guidance moves along the difference of the predictions, and progress can stop") {
  const auto constant = [](double value) {
    return [value](MatrixView<const double>, std::span<const Index>, MatrixView<double> prediction) {
      std::fill_n(prediction.data, prediction.size(), value);
    };
  };
  const auto schedule = schedule_with(PredictionType::sample);
  Matrix<double> prediction(2, 3);
  const Matrix<double> x(2, 3, 16);
  const std::vector<Index> timesteps(2, 5);
  for (const auto& [scale, expected] : {std::pair{0.0, 0.1}, {1.0, 0.4}, {3.0, 1.0}}) {
    Matrix<double> scratch(2, 3);
    auto guided = maa::guided_denoiser(backend, constant(0.4), constant(0.1), scale, scratch.view());
    guided(x, timesteps, prediction.view());
    CHECK(prediction.values[5] == doctest::Approx(expected));
  }

  Matrix<double> sample(1, 2);
  auto streams = maa::sample_streams(maa::Rng(17), 0, 1);
  std::vector<Index> seen;
  const bool finished = maa::draw_samples(backend, schedule, {}, streams, sample.view(), constant(0.25),
                                          workspace, [&](Index done, Index steps) {
                                            CHECK(steps == 10);
                                            seen.push_back(done);
                                            return done < 4;
                                          });
  CHECK_FALSE(finished);
  CHECK(seen == std::vector<Index>{1, 2, 3, 4});
}

TEST_CASE("bad arguments are refused by name and leave the output alone") {
  const auto check_options = [](const std::string& text, auto change) {
    DiffusionOptions options;
    change(options);
    check_error(text, [&] { DiffusionSchedule schedule(options); });
  };
  check_options("found 0", [](auto& o) { o.steps = 0; });
  check_options("clip_range", [](auto& o) { o.clip_range = -1; });

  const auto schedule = schedule_with(PredictionType::epsilon);
  check_error("found 101", [&] { schedule.timesteps(101, TimestepSpacing::leading); });
  CHECK(error_of([&] { schedule.timesteps(0, TimestepSpacing::trailing); }) != "no error");
  check_error("found 100", [&] { static_cast<void>(schedule.alpha_bar(100)); });

  const Matrix<float> x0(2, 3, 18), epsilon(2, 3, 19), narrow(2, 2, 20);
  Matrix<float> noisy(2, 3, 21);
  const auto before = noisy.values;
  const std::vector<Index> good = {1, 2}, late = {1, 100}, few = {1};
  check_error("found 100", [&] { schedule.add_noise(backend, x0, epsilon, late, noisy.view()); });
  check_error("expected 2 timesteps", [&] { schedule.add_noise(backend, x0, epsilon, few, noisy.view()); });
  check_error("[2, 2]", [&] { schedule.target(backend, x0, narrow, good, noisy.view()); });
  auto streams = maa::sample_streams(maa::Rng(22), 0, 1);
  const auto nothing = [](MatrixView<const float>, std::span<const Index>, MatrixView<float>) {};
  check_error("random streams",
              [&] { maa::draw_samples(backend, schedule, {}, streams, noisy.view(), nothing, workspace); });
  check_error("eta", [&] {
    auto both = maa::sample_streams(maa::Rng(22), 0, 2);
    maa::draw_samples(backend, schedule, {SamplerKind::ddim, 10, TimestepSpacing::leading, 1.5}, both,
                      noisy.view(), nothing, workspace);
  });
  check_error("before 5", [&] {
    sampler_step(backend, maa::reverse_step(schedule, maa::SamplerKind::ddpm, 0, 5, 9), x0, epsilon,
                 noisy.view());
  });
  for (Index i = 0; i < before.size(); ++i) {
    CHECK(noisy.values[i] == before[i]);
  }
}
