// Losses and the optimizer of the CUDA backend against the CPU's in double.
#include "cuda_device.hpp"
#include "ops_helpers.hpp"

#include <maa/backend/cuda/losses.hpp>
#include <maa/backend/cuda/optimizer.hpp>

#include <algorithm>

using namespace ops;
using namespace maa;

namespace {

std::vector<double> in_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// A matrix on the device whose rows lie `gap` numbers apart, and the same numbers on the host, dense.
struct Strided {
  Index rows, cols, gap;
  std::vector<double> dense;
  DeviceMatrix device;

  Strided(const cuda::Backend& backend, Index rows_, Index cols_, Index gap_, std::vector<float> values)
      : rows(rows_), cols(cols_), gap(gap_), dense(in_double(values)), device(backend, rows, cols + gap) {
    DeviceMatrix compact(backend, rows, cols, values);
    copy_matrix(backend, compact.view(), view());
  }
  cuda::Out view() { return device.view().col_range(0, cols); }
  MatrixView<double> host() { return matrix(dense, rows, cols); }
  // What the device has, dense; gaps must be as they were.
  std::vector<float> found() const {
    const auto all = device.values();
    std::vector<float> result;
    for (Index i = 0; i < rows; ++i) {
      const auto row = all.begin() + i * (cols + gap);
      result.insert(result.end(), row, row + cols);
      CHECK(std::all_of(row + cols, row + cols + gap, [](float value) { return value == 0; }));
    }
    return result;
  }
};

// Relative to the largest number, for gradients of means over many.
double relative(const std::vector<float>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(double(found[i]) - expected[i]);
    worst = test::larger(worst, error);
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

// loss(backend, of, gradients) is the host's on the device, and the same without gradients; `of` gives a
// side's matrices.
template <class Loss>
void check_loss(const cuda::Backend& backend, double epsilon, const Loss& loss) {
  const auto on_host = [](Strided& of, bool wanted = true) {
    return wanted ? of.host() : MatrixView<double>();
  };
  const auto on_device = [](Strided& of, bool wanted = true) { return wanted ? of.view() : cuda::Out(); };
  const double expected = loss(cpu::Backend(1), on_host, true);
  const auto found = loss(backend, on_device, true), alone = loss(backend, on_device, false);
  CHECK(read(backend, found) == doctest::Approx(expected).epsilon(epsilon));
  CHECK(read(backend, alone) == read(backend, found));
}

constexpr std::array<Index, 2> shapes[] = {{1, 1}, {3, 7}, {5, 33}, {19, 300}, {70, 130}};

}  // namespace

TEST_CASE("cuda: mean squared error") {
  const auto backend = test_backend();
  const auto session = backend.session();
  for (const auto& [rows, cols] : shapes) {
    const Index size = rows * cols;
    Strided prediction(backend, rows, cols, 2, random<float>(size, 1));
    Strided target(backend, rows, cols, 0, random<float>(size, 2));
    Strided gradient(backend, rows, cols, 1, poisoned<float>(size));
    check_loss(backend, 1e-7, [&](const auto& on, const auto& of, bool gradients) {
      return mse_loss(on, of(prediction), of(target), of(gradient, gradients));
    });
    CHECK(relative(gradient.found(), gradient.dense) < 1e-6);
    const auto loss = mse_loss(backend, prediction.view(), target.view(), cuda::Out());
    const auto twice = sum(backend, loss, loss);  // before anything is read
    CHECK(read(backend, twice) == 2 * read(backend, loss));
  }
}

TEST_CASE("cuda: pseudo-Huber") {
  const auto backend = test_backend();
  const auto session = backend.session();
  for (const double width : {0.05, 3.0}) {
    for (const auto& [rows, cols] : shapes) {
      const Index size = rows * cols;
      Strided prediction(backend, rows, cols, 2, random<float>(size, 1));
      Strided target(backend, rows, cols, 0, random<float>(size, 2));
      Strided gradient(backend, rows, cols, 1, poisoned<float>(size));
      check_loss(backend, 1e-7, [&](const auto& on, const auto& of, bool gradients) {
        return huber_loss(on, width, of(prediction), of(target), of(gradient, gradients));
      });
      CHECK(relative(gradient.found(), gradient.dense) < 1e-6);
    }
  }
  CHECK_THROWS_AS(huber_loss(backend, 0, cuda::In(), cuda::In(), cuda::Out()), maa::Error);
}

TEST_CASE("cuda: InfoNCE") {
  const auto backend = test_backend();
  const auto session = backend.session();
  for (const auto& [rows, cols] : shapes) {
    const Index size = rows * cols;
    auto numbers = random<float>(size, 1), weights = random<float>(size, 2);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] *= 8;
      weights[i] = i % 3 == 0 ? 0 : std::abs(weights[i]) / static_cast<float>(cols);
    }
    Strided logits(backend, rows, cols, 3, numbers), targets(backend, rows, cols, 1, weights);
    Strided gradient(backend, rows, cols, 2, poisoned<float>(size));
    check_loss(backend, 1e-9, [&](const auto& on, const auto& of, bool gradients) {
      return info_nce_loss(on, of(logits), of(targets), of(gradient, gradients));
    });
    if (size > 1) {
      CHECK(relative(gradient.found(), gradient.dense) < 1e-6);
    }
  }
}

TEST_CASE("cuda: InfoNCE stays finite for large and masked logits, wherever the largest is") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const float masked = -std::numeric_limits<float>::infinity();
  {
    DeviceMatrix logits(backend, 2, 3, {3e4f, -3e4f, masked, masked, 5, 5});
    DeviceMatrix targets(backend, 2, 3, {1, 0, 0, 0, 0.5, 0.5}), gradient(backend, 2, 3, poisoned<float>(6));
    const auto loss = info_nce_loss(backend, logits.view(), targets.view(), gradient.view());
    CHECK(read(backend, loss) == doctest::Approx(std::log(2.0) / 2));
    CHECK(difference(gradient.values(), std::vector<float>(6)) < 1e-15);
  }
  for (const Index where : {0, 15, 16, 255, 256, 300, 599}) {
    std::vector<float> numbers(600, -1e4f), hot(600);
    numbers[static_cast<std::size_t>(where)] = 1e4f;
    hot[static_cast<std::size_t>(where)] = 1;
    DeviceMatrix logits(backend, 1, 600, numbers), targets(backend, 1, 600, hot);
    CHECK(read(backend, info_nce_loss(backend, logits.view(), targets.view(), cuda::Out())) == 0);
  }
}

TEST_CASE("cuda: Gaussian negative log-likelihood") {
  const auto backend = test_backend();
  const auto session = backend.session();
  for (const auto& [rows, cols] : shapes) {
    const Index size = rows * cols;
    auto deviations = random<float>(size, 2);
    if (size > 4) {
      deviations[1] = 2.5f, deviations[2] = -21, deviations[3] = 2;
    }
    Strided mean(backend, rows, cols, 1, random<float>(size, 1)), log_std(backend, rows, cols, 2, deviations);
    auto numbers = random<float>(size, 3);
    if (size > 4) {
      numbers[2] = static_cast<float>(mean.dense[2]);  // else the smallest deviation makes all of the loss
    }
    Strided value(backend, rows, cols, 0, numbers);
    Strided dmean(backend, rows, cols, 3, poisoned<float>(size)),
        dlog_std(backend, rows, cols, 1, poisoned<float>(size));
    check_loss(backend, 1e-9, [&](const auto& on, const auto& of, bool gradients) {
      return gaussian_nll_loss(on, of(mean), of(log_std), of(value), of(dmean, gradients),
                               of(dlog_std, gradients));
    });
    CHECK(relative(dmean.found(), dmean.dense) < 1e-6);
    CHECK(relative(dlog_std.found(), dlog_std.dense) < 1e-6);
    if (size > 4) {
      const auto found = dlog_std.found();
      CHECK(found[1] == 0);
      CHECK(found[2] == 0);
      CHECK(found[3] != 0);
    }
  }
}

TEST_CASE("cuda: losses check shapes") {
  const auto backend = test_backend();
  const auto session = backend.session();
  DeviceMatrix a(backend, 2, 3), b(backend, 3, 2);
  const cuda::Out none;
  check_error("mse_loss: target: expected [2, 3], found [3, 2]",
              [&] { mse_loss(backend, a.view(), b.view(), none); });
  check_error("mse_loss: expected at least one element, found none",
              [&] { mse_loss(backend, none, none, none); });
  check_error("mse_loss: dprediction: expected [2, 3], found [3, 2]",
              [&] { mse_loss(backend, a.view(), a.view(), b.view()); });
  check_error("info_nce_loss: targets: expected [2, 3], found [3, 2]",
              [&] { info_nce_loss(backend, a.view(), b.view(), none); });
  check_error("info_nce_loss: expected at least one element, found none",
              [&] { info_nce_loss(backend, none, none, none); });
  check_error("gaussian_nll_loss: value: expected [2, 3], found [3, 2]",
              [&] { gaussian_nll_loss(backend, a.view(), a.view(), b.view(), none, none); });
  check_error("gaussian_nll_loss: dlog_std: expected [2, 3], found [3, 2]",
              [&] { gaussian_nll_loss(backend, a.view(), a.view(), a.view(), none, b.view()); });
}

TEST_CASE("cuda: sum of squares") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const Index size : {0, 1, 4095, 4096, 4097, 30000}) {
    const auto values = random<float>(size, 1);
    DeviceMatrix device(backend, 1, size, values);
    const double expected = cpu::sum_of_squares<const float>(host, values);
    CHECK(read(backend, sum_of_squares(backend, device.view().span())) ==
          doctest::Approx(expected).epsilon(1e-13));
  }
  DeviceMatrix large(backend, 1, 2, {3e30f, 4e30f});  // beyond float's range
  CHECK(read(backend, sum_of_squares(backend, large.view().span())) == doctest::Approx(25e60).epsilon(1e-6));
}

namespace {

struct Arrays {
  std::vector<std::vector<float>> start;
  std::vector<std::vector<double>> exact;
  std::vector<DeviceMatrix> device;  // weights, gradients, m, v, ema

  Arrays(const cuda::Backend& backend, Index size) {
    for (std::uint64_t i = 0; i < 5; ++i) {
      start.push_back(random<float>(size, i + 1));
      if (i == 3) {  // variances are not negative
        for (auto& value : start.back()) {
          value *= value;
        }
      }
      exact.push_back(in_double(start.back()));
      device.emplace_back(backend, 1, size, start.back());
    }
  }
  cuda::OutSpan span(std::size_t i) { return device[i].view().span(); }
  double error() const {
    double worst = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      worst = test::larger(worst, difference(device[i].values(), exact[i]));
    }
    return worst;
  }
  bool unchanged() const {
    bool all = true;
    for (std::size_t i = 0; i < 5; ++i) {
      all = all && device[i].values() == start[i];
    }
    return all;
  }
};

cuda::Scalar constant(const cuda::Backend& backend, float root) {
  DeviceMatrix value(backend, 1, 1, {root});
  return sum_of_squares(backend, value.view().span());
}

}  // namespace

TEST_CASE("cuda: AdamW steps with clipping and averages") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  const Index size = 1000;
  for (const double clip_norm : {0.0, 0.5, 1e6}) {
    for (const double ema_decay : {-1.0, 0.9}) {
      CAPTURE(clip_norm);
      CAPTURE(ema_decay);
      Arrays arrays(backend, size);
      for (const Index step : {1, 2, 1000}) {
        AdamWStep s;
        s.step = step;
        s.learning_rate = 1e-2 / static_cast<double>(step);
        s.weight_decay = 0.1;
        s.gradient_scale = step == 2 ? 0.25 : 1;
        s.ema_decay = ema_decay;
        auto exact = s;
        const double norm = std::sqrt(cpu::sum_of_squares<double>(host, arrays.exact[1]));
        if (clip_norm > 0 && norm > clip_norm) {
          exact.gradient_scale *= clip_norm / norm;
        }
        auto& e = arrays.exact;
        cpu::adamw<double>(host, exact, e[0], e[1], e[2], e[3], e[4]);
        const auto squares = sum_of_squares(backend, arrays.span(1));
        adamw_if_finite(backend, s, clip_norm, constant(backend, 2), squares, arrays.span(0), arrays.span(1),
                        arrays.span(2), arrays.span(3), ema_decay < 0 ? cuda::OutSpan() : arrays.span(4));
        CHECK(arrays.error() < 2e-6);
      }
      CHECK(!arrays.unchanged());
    }
  }
}

TEST_CASE("cuda: a step is not taken if loss or gradients are not finite") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [loss, squares] :
       {std::array<float, 2>{inf, 1}, {nan, 1}, {1, inf}, {1, nan}, {nan, nan}, {1, 1}}) {
    for (const double clip_norm : {0.0, 1.0}) {
      Arrays arrays(backend, 37);
      AdamWStep step;
      step.ema_decay = 0.5;
      adamw_if_finite(backend, step, clip_norm, constant(backend, loss), constant(backend, squares),
                      arrays.span(0), arrays.span(1), arrays.span(2), arrays.span(3), arrays.span(4));
      CHECK(arrays.unchanged() == !(loss == 1 && squares == 1));
    }
  }
}

TEST_CASE("cuda: AdamW checks sizes and the step") {
  const auto backend = test_backend();
  const auto session = backend.session();
  Arrays arrays(backend, 4);
  const auto all = arrays.span(0);
  const auto loss = constant(backend, 1);
  AdamWStep step;
  check_error("adamw: expected 4 gradients, moments and averages, found 3, 4, 4 and 0", [&] {
    adamw_if_finite(backend, step, 0, loss, loss, all, arrays.span(1).first(3), all, all, cuda::OutSpan());
  });
  step.ema_decay = 0.9;
  check_error("adamw: expected 4 gradients, moments and averages, found 4, 4, 4 and 0", [&] {
    adamw_if_finite(backend, step, 0, loss, loss, all, arrays.span(1), all, all, cuda::OutSpan());
  });
  step.step = 0;
  check_error("adamw: expected a step from 1 on, found 0",
              [&] { adamw_if_finite(backend, step, 0, loss, loss, all, arrays.span(1), all, all, all); });
}

TEST_CASE("cuda: optimizer steps with other rates are one graph") {
  const auto backend = test_backend();
  const auto session = backend.session();
  Arrays arrays(backend, 100);
  const auto run = [&](Index k) {
    AdamWStep step;
    step.step = k;
    step.learning_rate = 1e-3 * static_cast<double>(k);
    for (int i = 0; i < 3; ++i) {  // lists that are shorter than 8 commands are not recorded
      const auto squares = sum_of_squares(backend, arrays.span(1));
      adamw_if_finite(backend, step, 1, squares, squares, arrays.span(0), arrays.span(1), arrays.span(2),
                      arrays.span(3), cuda::OutSpan());
    }
    return read(backend, sum_of_squares(backend, arrays.span(0)));
  };
  double before = run(1);
  for (Index k = 2; k < 6; ++k) {
    const double after = run(k);
    CHECK(after != before);
    before = after;
  }
  CHECK(backend.context().graph_launches() >= 3);
}
