// Elementwise ops of the CUDA backend against the CPU's.
#include "cuda_device.hpp"
#include "ops_helpers.hpp"

#include <maa/backend/cuda/elementwise.hpp>

#include <algorithm>

using namespace ops;
using namespace maa;

namespace {

constexpr Activation activations[] = {Activation::identity, Activation::relu, Activation::elu,
                                      Activation::gelu,     Activation::mish, Activation::tanh};

std::vector<double> in_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("cuda: activations and their slopes") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const Index count : {1, 7, 600}) {
    auto x = random<float>(count, 1);
    for (auto& value : x) {
      value *= 4;
    }
    x[0] = 0;
    const auto dy = random<float>(count, 2);
    for (const auto activation : activations) {
      CAPTURE(static_cast<int>(activation));
      std::vector<double> y(x.size()), dx(x.size());
      cpu::activation_forward<double>(host, activation, in_double(x), y);
      cpu::activation_backward<double>(host, activation, in_double(x), in_double(dy), dx);

      DeviceMatrix dev_x(backend, 1, count, x), dev_dy(backend, 1, count, dy);
      DeviceMatrix dev_y(backend, 1, count, poisoned<float>(count)),
          dev_dx(backend, 1, count, poisoned<float>(count));
      activation_forward(backend, activation, dev_x.view().span(), dev_y.view().span());
      activation_backward(backend, activation, dev_x.view().span(), dev_dy.view().span(),
                          dev_dx.view().span());
      CHECK(difference(dev_y.values(), y) < 1e-6);
      CHECK(difference(dev_dx.values(), dx) < 1e-6);
      // In place.
      activation_backward(backend, activation, dev_x.view().span(), dev_dy.view().span(),
                          dev_dy.view().span());
      activation_forward(backend, activation, dev_x.view().span(), dev_x.view().span());
      CHECK(dev_dy.values() == dev_dx.values());
      CHECK(dev_x.values() == dev_y.values());
    }
  }
}

TEST_CASE("cuda: activations of values that are large, infinite or no number") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{
      1e30f, -1e30f, inf, -inf, -100, 100, 0, -0.0f, std::numeric_limits<float>::quiet_NaN()};
  const auto count = std::ssize(x);
  const std::vector<float> dy(x.size(), 1);
  for (const auto activation : activations) {
    CAPTURE(static_cast<int>(activation));
    DeviceMatrix dev_x(backend, 1, count, x), dev_dy(backend, 1, count, dy), dev_y(backend, 1, count);
    activation_forward(backend, activation, dev_x.view().span(), dev_y.view().span());
    activation_backward(backend, activation, dev_x.view().span(), dev_dy.view().span(), dev_dy.view().span());
    const auto y = dev_y.values(), dx = dev_dy.values();
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      CAPTURE(x[i]);
      const float expected = kernels::activate(activation, x[i]);
      CHECK((y[i] == expected || std::abs(y[i] - expected) <= 1e-6f * std::abs(expected)));
      CHECK(dx[i] == doctest::Approx(kernels::activation_slope(activation, x[i])).epsilon(1e-6));
    }
    CHECK(std::isnan(y.back()));
    // identity and relu have slopes that do not depend on x there.
    CHECK((activation == Activation::identity || activation == Activation::relu || std::isnan(dx.back())));
  }
}

TEST_CASE("cuda: elementwise ops check sizes") {
  const auto backend = test_backend();
  const auto session = backend.session();
  DeviceMatrix a(backend, 1, 4), b(backend, 1, 3);
  const auto x = a.view().span(), y = b.view().span();
  check_error("activation_forward: expected 4 outputs, found 3",
              [&] { activation_forward(backend, Activation::relu, x, y); });
  check_error("activation_backward: expected x, dy and dx of one size, found 4, 4 and 3",
              [&] { activation_backward(backend, Activation::relu, x, x, y); });
}
