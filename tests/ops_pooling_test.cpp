// Pooling over positions: its definition, its gradient, ties, and bits for any number of threads.
#include "ops_helpers.hpp"

using namespace ops;
namespace cpu = maa::cpu;

namespace {

std::vector<std::int32_t> positions(Index size) {
  return std::vector<std::int32_t>(static_cast<std::size_t>(size), -7);
}

}  // namespace

TEST_CASE_TEMPLATE("mean and maximum over positions equal their definition", T, float, double) {
  const Backend backend(2);
  const Index batch = 3;
  for (const Index channels : {1, 16, 37}) {
    for (const Index length : {1, 2, 20}) {
      CAPTURE(channels);
      CAPTURE(length);
      auto x = random<T>(batch * length * channels, 1);
      auto y = poisoned<T>(batch * 2 * channels);
      auto argmax = positions(batch * channels);
      cpu::mean_max_pool_forward(backend, sequence(x, batch, length, channels),
                                 matrix(y, batch, 2 * channels), matrix(argmax, batch, channels));
      for (Index i = 0; i < batch; ++i) {
        for (Index c = 0; c < channels; ++c) {
          double sum = 0;
          Index best = 0;
          const auto value = [&](Index l) {
            return x[static_cast<std::size_t>((i * length + l) * channels + c)];
          };
          for (Index l = 0; l < length; ++l) {
            sum += static_cast<double>(value(l));
            best = value(l) > value(best) ? l : best;
          }
          const auto row = static_cast<std::size_t>(i * 2 * channels + c);
          CHECK(y[row] == doctest::Approx(sum / static_cast<double>(length)).epsilon(1e-5));
          CHECK(y[row + static_cast<std::size_t>(channels)] == value(best));
          CHECK(argmax[static_cast<std::size_t>(i * channels + c)] == best);
        }
      }
    }
  }
}

TEST_CASE("the gradient of pooling holds, and goes to the first of equal maxima") {
  const Backend backend(1);
  const Index batch = 3;
  for (const Index channels : {3, 16, 37}) {
    for (const Index length : {1, 5}) {
      auto x = random(batch * length * channels, 1);
      auto dy = random(batch * 2 * channels, 2);
      auto y = poisoned(batch * 2 * channels);
      auto argmax = positions(batch * channels);
      const auto forward = [&] {
        cpu::mean_max_pool_forward(backend, sequence(x, batch, length, channels),
                                   matrix(y, batch, 2 * channels), matrix(argmax, batch, channels));
        return dot(y, dy);
      };
      forward();
      const auto saved = argmax;
      auto dx = poisoned(batch * length * channels);
      cpu::mean_max_pool_backward(backend, matrix(dy, batch, 2 * channels),
                                  MatrixView<const std::int32_t>(saved.data(), batch, channels),
                                  sequence(dx, batch, length, channels));
      check_gradient("x", x, dx, forward);
    }
  }
  std::vector<double> equal{1, 3, 3, 2}, y(2), dx(4), dy{0, 1};
  auto argmax = positions(1);
  cpu::mean_max_pool_forward(backend, sequence(equal, 1, 4, 1), matrix(y, 1, 2), matrix(argmax, 1, 1));
  cpu::mean_max_pool_backward(backend, matrix(dy, 1, 2), matrix(argmax, 1, 1), sequence(dx, 1, 4, 1));
  CHECK(dx == std::vector<double>{0, 1, 0, 0});
}

TEST_CASE("pooling does not depend on the number of threads") {
  check_threads([](const Backend& backend) {
    const Index batch = 50;
    const Index length = 20;
    const Index channels = 260;
    auto x = random<float>(batch * length * channels, 1);
    auto dy = random<float>(batch * 2 * channels, 2);
    auto y = poisoned<float>(batch * 2 * channels);
    auto dx = poisoned<float>(batch * length * channels);
    auto argmax = positions(batch * channels);
    cpu::mean_max_pool_forward(backend, sequence(x, batch, length, channels), matrix(y, batch, 2 * channels),
                               matrix(argmax, batch, channels));
    cpu::mean_max_pool_backward(backend, matrix(dy, batch, 2 * channels), matrix(argmax, batch, channels),
                                sequence(dx, batch, length, channels));
    return joined({y, dx});
  });
}

TEST_CASE("pooling errors name the op") {
  const Backend backend(1);
  std::vector<float> x(24), y(16);
  auto argmax = positions(8);
  check_error("mean_max_pool_forward: expected at least one position", [&] {
    cpu::mean_max_pool_forward(backend, SequenceView<float>(x.data(), 2, 0, 4), matrix(y, 2, 8),
                               matrix(argmax, 2, 4));
  });
  check_error("mean_max_pool_forward: y", [&] {
    cpu::mean_max_pool_forward(backend, sequence(x, 2, 3, 4), matrix(y, 4, 4), matrix(argmax, 2, 4));
  });
  check_error("mean_max_pool_forward: argmax", [&] {
    cpu::mean_max_pool_forward(backend, sequence(x, 2, 3, 4), matrix(y, 2, 8), matrix(argmax, 4, 2));
  });
  check_error("mean_max_pool_backward: dy", [&] {
    cpu::mean_max_pool_backward(backend, matrix(y, 4, 4), matrix(argmax, 2, 4), sequence(x, 2, 3, 4));
  });
  check_error("mean_max_pool_backward: argmax", [&] {
    cpu::mean_max_pool_backward(backend, matrix(y, 2, 8), matrix(argmax, 4, 2), sequence(x, 2, 3, 4));
  });
}
