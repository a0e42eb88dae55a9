#include "ops_helpers.hpp"

#include <numbers>

using namespace ops;
namespace cpu = maa::cpu;

TEST_CASE("mean squared error") {
  const Backend backend(1);
  for (const Index cols : {1, 16, 41}) {
    auto prediction = random(3 * cols, 1);
    auto target = random(3 * cols, 2);
    double expected = 0;
    for (std::size_t i = 0; i < target.size(); ++i) {
      expected += (prediction[i] - target[i]) * (prediction[i] - target[i]) / double(target.size());
    }
    auto gradient = poisoned(3 * cols);
    const double loss = cpu::mse_loss(backend, matrix(prediction, 3, cols), matrix(target, 3, cols),
                                      matrix(gradient, 3, cols));
    CHECK(loss == doctest::Approx(expected).epsilon(1e-13));
    check_gradient("prediction", prediction, gradient, [&] {
      return cpu::mse_loss(backend, matrix(prediction, 3, cols), matrix(target, 3, cols),
                           MatrixView<double>());
    });
  }
}

TEST_CASE("pseudo-Huber: quadratic below its width, linear above") {
  const Backend backend(1);
  for (const double width : {0.01, 0.5, 100.0}) {
    auto prediction = random(3 * 17, 1);
    auto target = random(3 * 17, 2);
    double expected = 0;
    for (std::size_t i = 0; i < target.size(); ++i) {
      const double d = prediction[i] - target[i];
      expected += 2 * width * (std::sqrt(d * d + width * width) - width) / double(target.size());
    }
    auto gradient = poisoned(3 * 17);
    const auto loss = [&](MatrixView<double> into) {
      return cpu::huber_loss(backend, width, matrix(prediction, 3, 17), matrix(target, 3, 17), into);
    };
    CHECK(loss(matrix(gradient, 3, 17)) == doctest::Approx(expected).epsilon(1e-9));
    check_gradient("prediction", prediction, gradient, [&] { return loss(MatrixView<double>()); });
    if (width == 100.0) {
      CHECK(expected == doctest::Approx(cpu::mse_loss(backend, matrix(prediction, 3, 17),
                                                      matrix(target, 3, 17), MatrixView<double>()))
                            .epsilon(1e-3));
    }
  }
  auto any = random(4, 1);
  check_error("huber_loss: expected a positive width, found 0", [&] {
    cpu::huber_loss(backend, 0, matrix(any, 2, 2), matrix(any, 2, 2), MatrixView<double>());
  });
}

TEST_CASE("InfoNCE with hard and soft targets") {
  const Backend backend(1);
  const Index n = 6;
  auto logits = random(n * n, 1);
  for (const bool hard : {true, false}) {
    std::vector<double> targets(n * n, hard ? 0.0 : 0.4 / n);
    for (Index i = 0; i < n; ++i) {
      targets[static_cast<std::size_t>(i * n + i)] +=
          hard ? 1 : 0.5;  // soft: rows of sum 0.9 are allowed too
    }
    double expected = 0;
    for (std::size_t i = 0; i < n; ++i) {
      double partition = 0;
      for (std::size_t j = 0; j < n; ++j) {
        partition += std::exp(logits[i * n + j]);
      }
      for (std::size_t j = 0; j < n; ++j) {
        expected -= targets[i * n + j] * std::log(std::exp(logits[i * n + j]) / partition) / n;
      }
    }
    auto gradient = poisoned(n * n);
    const double loss =
        cpu::info_nce_loss(backend, matrix(logits, n, n), matrix(targets, n, n), matrix(gradient, n, n));
    CHECK(loss == doctest::Approx(expected).epsilon(1e-13));
    check_gradient("logits", logits, gradient, [&] {
      return cpu::info_nce_loss(backend, matrix(logits, n, n), matrix(targets, n, n), MatrixView<double>());
    });
  }
}

TEST_CASE("InfoNCE stays finite for large and masked logits") {
  const Backend backend(1);
  const float masked = -std::numeric_limits<float>::infinity();
  std::vector<float> logits{3e4f, -3e4f, masked, masked, 5, 5};
  std::vector<float> targets{1, 0, 0, 0, 0.5, 0.5};
  auto gradient = poisoned<float>(6);
  const double loss =
      cpu::info_nce_loss(backend, matrix(logits, 2, 3), matrix(targets, 2, 3), matrix(gradient, 2, 3));
  CHECK(loss == doctest::Approx(std::log(2.0) / 2));
  CHECK(difference(gradient, std::vector<float>(6)) < 1e-15);
}

TEST_CASE("Gaussian negative log-likelihood") {
  const Backend backend(1);
  const Index rows = 4;
  const Index cols = 5;
  auto mean = random(rows * cols, 1);
  auto log_std = random(rows * cols, 2);
  const auto value = random(rows * cols, 3);
  const MatrixView<const double> values(value.data(), rows, cols);
  double expected = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    log_std[i] = 0.5 * log_std[i];
    const double deviation = std::exp(log_std[i]);
    const double z = (value[i] - mean[i]) / deviation;
    expected -= std::log(std::exp(-0.5 * z * z) / (deviation * std::sqrt(2 * std::numbers::pi))) /
                double(mean.size());
  }
  auto dmean = poisoned(rows * cols);
  auto dlog_std = poisoned(rows * cols);
  const double loss = cpu::gaussian_nll_loss(backend, matrix(mean, rows, cols), matrix(log_std, rows, cols),
                                             values, matrix(dmean, rows, cols), matrix(dlog_std, rows, cols));
  CHECK(loss == doctest::Approx(expected).epsilon(1e-13));
  const auto function = [&] {
    return cpu::gaussian_nll_loss(backend, matrix(mean, rows, cols), matrix(log_std, rows, cols), values,
                                  MatrixView<double>(), MatrixView<double>());
  };
  check_gradient("mean", mean, dmean, function);
  check_gradient("log_std", log_std, dlog_std, function);
}

TEST_CASE("Gaussian negative log-likelihood clamps log_std to [-20, 2]") {
  const Backend backend(1);
  std::vector<double> mean{0, 0}, value{1, 0}, log_std{5, -30};
  auto dmean = poisoned(2);
  auto dlog_std = poisoned(2);
  const auto loss = [&] {
    return cpu::gaussian_nll_loss(backend, matrix(mean, 1, 2), matrix(log_std, 1, 2), matrix(value, 1, 2),
                                  matrix(dmean, 1, 2), matrix(dlog_std, 1, 2));
  };
  const double outside = loss();
  CHECK(dlog_std == std::vector<double>{0, 0});
  CHECK(dmean[0] == doctest::Approx(-std::exp(-4.0) / 2));
  log_std = {2, -20};
  CHECK(loss() == outside);
  CHECK(dlog_std[1] == doctest::Approx(0.5));  // the ends belong to the range
}

TEST_CASE("losses do not depend on the number of threads") {
  const Index rows = 700;
  const Index cols = 97;
  check_threads([&](const Backend& backend) {
    auto a = random<float>(rows * cols, 1);
    auto b = random<float>(rows * cols, 2);
    auto c = random<float>(rows * cols, 3);
    auto da = poisoned<float>(rows * cols);
    auto db = poisoned<float>(rows * cols);
    std::vector<float> all;
    // All bits of a double loss.
    const auto keep = [&](double loss) {
      all.push_back(static_cast<float>(loss));
      all.push_back(static_cast<float>((loss - double(static_cast<float>(loss))) * 0x1p30));
    };
    keep(cpu::mse_loss(backend, matrix(a, rows, cols), matrix(b, rows, cols), matrix(da, rows, cols)));
    all.insert(all.end(), da.begin(), da.end());
    keep(cpu::info_nce_loss(backend, matrix(a, rows, cols), matrix(b, rows, cols), matrix(da, rows, cols)));
    all.insert(all.end(), da.begin(), da.end());
    keep(cpu::gaussian_nll_loss(backend, matrix(a, rows, cols), matrix(b, rows, cols), matrix(c, rows, cols),
                                matrix(da, rows, cols), matrix(db, rows, cols)));
    all.insert(all.end(), da.begin(), da.end());
    all.insert(all.end(), db.begin(), db.end());
    return all;
  });
}

TEST_CASE("loss errors name the op") {
  const Backend backend(1);
  std::vector<float> a(12), b(12);
  check_error("mse_loss: target",
              [&] { cpu::mse_loss(backend, matrix(a, 3, 4), matrix(b, 4, 3), MatrixView<float>()); });
  check_error("mse_loss: dprediction",
              [&] { cpu::mse_loss(backend, matrix(a, 3, 4), matrix(a, 3, 4), matrix(b, 4, 3)); });
  check_error("mse_loss: expected at least one element",
              [&] { cpu::mse_loss(backend, MatrixView<float>(), MatrixView<float>(), MatrixView<float>()); });
  check_error("info_nce_loss: targets",
              [&] { cpu::info_nce_loss(backend, matrix(a, 3, 4), matrix(b, 4, 3), MatrixView<float>()); });
  check_error("gaussian_nll_loss: value", [&] {
    cpu::gaussian_nll_loss(backend, matrix(a, 3, 4), matrix(a, 3, 4), matrix(b, 4, 3), MatrixView<float>(),
                           MatrixView<float>());
  });
}
