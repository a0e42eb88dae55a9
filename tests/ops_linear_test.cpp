// Gradients of the linear layer and of the activations.
#include "ops_helpers.hpp"

using namespace ops;
using maa::Activation;
namespace cpu = maa::cpu;

TEST_CASE("linear gradients") {
  const Backend backend(1);
  struct Shape {
    Index rows, in, out;
  };
  for (const auto& shape : {Shape{1, 1, 1}, Shape{3, 5, 4}, Shape{7, 18, 33}, Shape{20, 3, 9}}) {
    const Index rows = shape.rows, in = shape.in, out = shape.out;
    CAPTURE(rows);
    for (const bool with_bias : {true, false}) {
      auto x = random(rows * in, 1);
      auto weight = random(out * in, 2);
      auto bias = random(out, 3);
      auto dy = random(rows * out, 4);
      auto y = poisoned(rows * out);
      const auto forward = [&] {
        cpu::linear_forward(backend, matrix(x, rows, in), weight.data(), with_bias ? bias.data() : nullptr,
                            matrix(y, rows, out));
        return dot(y, dy);
      };
      forward();
      double expected = with_bias ? bias[0] : 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(in); ++i) {
        expected += weight[i] * x[i];
      }
      CHECK(y[0] == doctest::Approx(expected));
      auto dx = poisoned(rows * in);
      std::vector<double> dweight(weight.size(), 10.0);
      std::vector<double> dbias(bias.size(), 10.0);
      cpu::linear_backward_input(backend, matrix(dy, rows, out), weight.data(), matrix(dx, rows, in));
      cpu::linear_backward_weight(backend, matrix(dy, rows, out), matrix(x, rows, in), dweight.data(),
                                  with_bias ? dbias.data() : nullptr);
      for (auto* gradient : {&dweight, &dbias}) {  // they accumulate
        for (auto& value : *gradient) {
          value -= 10;
        }
      }
      check_gradient("x", x, dx, forward);
      check_gradient("weight", weight, dweight, forward);
      check_gradient("bias", bias, dbias, [&] { return forward(); });
    }
  }
}

TEST_CASE("activation gradients away from kinks") {
  const Backend backend(1);
  constexpr const char* names[] = {"identity", "relu", "elu", "gelu", "mish", "tanh"};
  for (int i = 0; i < 6; ++i) {
    const auto activation = static_cast<Activation>(i);
    const std::string name = names[i];
    CAPTURE(name);
    auto x = random(203, 1);
    for (auto& value : x) {
      value *= 3;
      if (std::abs(value) < 1e-3) {  // relu has no derivative at 0, and elu no second one
        value = 1e-3;
      }
    }
    auto dy = random(203, 2);
    auto y = poisoned(203);
    const auto forward = [&] {
      cpu::activation_forward(backend, activation, x, std::span<double>(y));
      return dot(y, dy);
    };
    auto dx = poisoned(203);
    cpu::activation_backward(backend, activation, x, dy, std::span<double>(dx));
    check_gradient(name, x, dx, forward);

    auto in_place = dy;
    cpu::activation_backward(backend, activation, x, in_place, std::span<double>(in_place));
    CHECK(in_place == dx);
    forward();
    in_place = x;
    cpu::activation_forward(backend, activation, in_place, std::span<double>(in_place));
    CHECK(in_place == y);
  }
}

TEST_CASE("activations at known points") {
  const Backend backend(1);
  const std::vector<double> x{-1.5, 0, 2};
  const auto values = [&](Activation activation) {
    auto y = poisoned(3);
    cpu::activation_forward(backend, activation, x, std::span<double>(y));
    return y;
  };
  const auto mish = [](double v) { return v * std::tanh(std::log1p(std::exp(v))); };
  const auto gelu = [](double v) { return v * 0.5 * (1 + std::erf(v / std::sqrt(2.0))); };
  CHECK(values(Activation::identity) == x);
  CHECK(values(Activation::relu) == std::vector<double>{0, 0, 2});
  CHECK(difference(values(Activation::elu), std::vector<double>{std::exp(-1.5) - 1, 0, 2}) < 1e-14);
  CHECK(difference(values(Activation::gelu), std::vector<double>{gelu(-1.5), 0, gelu(2)}) < 1e-14);
  CHECK(difference(values(Activation::mish), std::vector<double>{mish(-1.5), 0, mish(2)}) < 1e-14);
  CHECK(difference(values(Activation::tanh), std::vector<double>{std::tanh(-1.5), 0, std::tanh(2)}) < 1e-14);
}

TEST_CASE("linear and activations do not depend on the number of threads") {
  const Index rows = 130;
  const Index in = 200;
  const Index out = 150;
  check_threads([&](const Backend& backend) {
    auto x = random<float>(rows * in, 1);
    const auto weight = random<float>(out * in, 2);
    const auto bias = random<float>(out, 3);
    auto y = poisoned<float>(rows * out);
    auto dy = poisoned<float>(rows * out);
    auto dx = poisoned<float>(rows * in);
    std::vector<float> dweight(weight.size());
    std::vector<float> dbias(bias.size());
    cpu::linear_forward(backend, matrix(x, rows, in), weight.data(), bias.data(), matrix(y, rows, out));
    cpu::activation_forward(backend, Activation::mish, y, std::span<float>(dy));
    cpu::activation_backward(backend, Activation::gelu, y, dy, std::span<float>(dy));
    cpu::linear_backward_input(backend, matrix(dy, rows, out), weight.data(), matrix(dx, rows, in));
    cpu::linear_backward_weight(backend, matrix(dy, rows, out), matrix(x, rows, in), dweight.data(),
                                dbias.data());
    return joined({y, dy, dx, dweight, dbias});
  });
}

TEST_CASE("linear and activation errors name the op") {
  const Backend backend(1);
  std::vector<float> a(12), b(12), w(100);
  check_error("linear_forward",
              [&] { cpu::linear_forward(backend, matrix(a, 3, 4), w.data(), nullptr, matrix(b, 4, 3)); });
  check_error("linear_backward_input",
              [&] { cpu::linear_backward_input(backend, matrix(a, 3, 4), w.data(), matrix(b, 4, 3)); });
  check_error("linear_backward_weight", [&] {
    cpu::linear_backward_weight(backend, matrix(a, 3, 4), matrix(b, 4, 3), w.data(), nullptr);
  });
  check_error("activation_forward",
              [&] { cpu::activation_forward(backend, Activation::relu, a, std::span<float>(w)); });
  check_error("activation_backward",
              [&] { cpu::activation_backward(backend, Activation::relu, a, w, std::span<float>(b)); });
}
