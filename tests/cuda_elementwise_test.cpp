// Elementwise ops, FiLM, pooling and embedding of the CUDA backend against the CPU's.
#include "cuda_device.hpp"
#include "ops_helpers.hpp"

#include <maa/backend/cuda/elementwise.hpp>
#include <maa/backend/cuda/film.hpp>

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

TEST_CASE("cuda: add") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const auto x = random<float>(333, 1);
  auto y = random<float>(333, 2);
  DeviceMatrix dev_x(backend, 1, 333, x), dev_y(backend, 1, 333, y);
  add(backend, dev_x.view().span(), dev_y.view().span());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] += x[i];
  }
  CHECK(dev_y.values() == y);
  add(backend, cuda::InSpan(), cuda::OutSpan());
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
  check_error("add: expected 3 elements, found 4", [&] { add(backend, x, y); });
}

TEST_CASE("cuda: FiLM") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : {std::array<Index, 3>{3, 2, 5}, {1, 1, 1}, {4, 7, 33}, {0, 2, 3}}) {
    const Index batch = shape[0], length = shape[1], channels = shape[2];
    const Index wide = 2 * channels + 3;  // rows of scales and biases are strided
    auto x = random<float>(batch * length * channels, 1), dy = random<float>(batch * length * channels, 2);
    auto film = random<float>(batch * wide, 3);
    auto y = poisoned<float>(std::ssize(x)), dx = y, dfilm = poisoned<float>(std::ssize(film));
    const auto film_of = [&](auto view) { return view.col_range(1, 2 * channels); };
    const auto as = [&](std::vector<float>& values) { return sequence(values, batch, length, channels); };
    cpu::film_forward<float>(host, as(x), film_of(matrix(film, batch, wide)), as(y));
    cpu::film_backward<float>(host, as(x), film_of(matrix(film, batch, wide)), as(dy), as(dx),
                              film_of(matrix(dfilm, batch, wide)));

    DeviceMatrix dev_x(backend, batch * length, channels, x), dev_dy(backend, batch * length, channels, dy);
    DeviceMatrix dev_film(backend, batch, wide, film),
        dev_dfilm(backend, batch, wide, poisoned<float>(std::ssize(film)));
    DeviceMatrix dev_dx(backend, batch * length, channels, poisoned<float>(std::ssize(x)));
    film_backward(backend, dev_x.sequence(length), film_of(dev_film.view()), dev_dy.sequence(length),
                  dev_dx.sequence(length), film_of(dev_dfilm.view()));
    film_backward(backend, dev_x.sequence(length), film_of(dev_film.view()), dev_dy.sequence(length),
                  dev_dy.sequence(length), film_of(dev_dfilm.view()));
    film_forward(backend, dev_x.sequence(length), film_of(dev_film.view()), dev_x.sequence(length));
    CHECK(difference(dev_x.values(), y) < 1e-6);
    CHECK(difference(dev_dx.values(), dx) < 1e-6);
    CHECK(dev_dy.values() == dev_dx.values());
    const auto found = dev_dfilm.values();
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (std::isnan(dfilm[i])) {
        CHECK(std::isnan(found[i]));  // not touched
      } else {
        CHECK(std::abs(found[i] - dfilm[i]) < 1e-5f);
      }
    }
  }
}

TEST_CASE("cuda: FiLM checks shapes") {
  const auto backend = test_backend();
  const auto session = backend.session();
  DeviceMatrix x(backend, 4, 3), film(backend, 2, 6), other(backend, 2, 5);
  const auto s = x.sequence(2);
  check_error("film_forward: y: expected [2, 2, 3], found [4, 1, 3]",
              [&] { film_forward(backend, s, film.view(), x.sequence(1)); });
  check_error("film_forward: scale_bias: expected [2, 6], found [2, 5]",
              [&] { film_forward(backend, s, other.view(), s); });
  check_error("film_backward: dscale_bias: expected [2, 6], found [2, 5]",
              [&] { film_backward(backend, s, film.view(), s, s, other.view()); });
}
