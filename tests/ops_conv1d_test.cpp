#include "ops_helpers.hpp"

using namespace ops;
using maa::ConvShape;
namespace cpu = maa::cpu;

namespace {

constexpr Index batch = 3;
constexpr Index in = 5;
constexpr Index out = 4;

struct Case {
  ConvShape shape;
  Index length;
};

// Kernel, stride, padding and length in all combinations that give an output; among them outputs that see
// padding only.
template <class Body>
void for_all_cases(bool transposed, const Body& body) {
  const auto output_length = transposed ? &ConvShape::transposed_output_length : &ConvShape::output_length;
  int count = 0;
  for (Index kernel = 1; kernel <= 4; ++kernel) {
    for (Index stride = 1; stride <= 3; ++stride) {
      for (Index padding = 0; padding <= 3; ++padding) {
        for (Index output_padding = 0; output_padding < (transposed ? stride : 1); ++output_padding) {
          for (const Index length : {1, 2, 5}) {
            const ConvShape shape{kernel, stride, padding, output_padding};
            if ((shape.*output_length)(length) > 0) {
              CAPTURE(kernel);
              CAPTURE(stride);
              CAPTURE(padding);
              CAPTURE(output_padding);
              CAPTURE(length);
              body(Case{shape, length});
              ++count;
            }
          }
        }
      }
    }
  }
  CHECK(count > 100);
}

// PyTorch's [a, b, taps] -> [taps, a, b].
std::vector<double> taps_first(const std::vector<double>& weight, Index a, Index b, Index taps) {
  std::vector<double> result(weight.size());
  for (Index i = 0; i < a * b; ++i) {
    for (Index k = 0; k < taps; ++k) {
      result[static_cast<std::size_t>(k * a * b + i)] = weight[static_cast<std::size_t>(i * taps + k)];
    }
  }
  return result;
}

// Cross-correlation over the zero-padded input, weight [out, in, kernel].
std::vector<double> naive_conv(const Case& c, const std::vector<double>& x, const std::vector<double>& weight,
                               const std::vector<double>& bias) {
  const auto [kernel, stride, padding, output_padding] = c.shape;
  const Index padded = c.length + 2 * padding;
  std::vector<double> y;
  for (Index n = 0; n < batch; ++n) {
    std::vector<double> wide(static_cast<std::size_t>(padded * in), 0.0);
    std::copy_n(x.begin() + n * c.length * in, c.length * in, wide.begin() + padding * in);
    for (Index start = 0; start + kernel <= padded; start += stride) {
      for (Index o = 0; o < out; ++o) {
        double sum = bias[static_cast<std::size_t>(o)];
        for (Index i = 0; i < in; ++i) {
          for (Index k = 0; k < kernel; ++k) {
            sum += weight[static_cast<std::size_t>((o * in + i) * kernel + k)] *
                   wide[static_cast<std::size_t>((start + k) * in + i)];
          }
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

// Every input position stamps the kernel on the output, whose ends are then cut off; weight [in, out,
// kernel].
std::vector<double> naive_transposed(const Case& c, const std::vector<double>& x,
                                     const std::vector<double>& weight, const std::vector<double>& bias) {
  const auto [kernel, stride, padding, output_padding] = c.shape;
  const Index uncut = (c.length - 1) * stride + kernel + output_padding;
  std::vector<double> y;
  for (Index n = 0; n < batch; ++n) {
    std::vector<double> wide(static_cast<std::size_t>(uncut * out), 0.0);
    for (Index l = 0; l < c.length; ++l) {
      for (Index k = 0; k < kernel; ++k) {
        for (Index i = 0; i < in; ++i) {
          for (Index o = 0; o < out; ++o) {
            wide[static_cast<std::size_t>((l * stride + k) * out + o)] +=
                weight[static_cast<std::size_t>((i * out + o) * kernel + k)] *
                x[static_cast<std::size_t>((n * c.length + l) * in + i)];
          }
        }
      }
    }
    for (Index position = padding; position < uncut - padding; ++position) {
      for (Index o = 0; o < out; ++o) {
        y.push_back(wide[static_cast<std::size_t>(position * out + o)] + bias[static_cast<std::size_t>(o)]);
      }
    }
  }
  return y;
}

// A convolution of a case with random numbers, or the transposed one.
struct Convolution {
  Case c;
  bool transposed;
  Index length = transposed ? c.shape.transposed_output_length(c.length) : c.shape.output_length(c.length);
  std::vector<double> weight = random(c.shape.kernel * out * in, 1), bias = random(out, 2);
  std::vector<double> x = random(batch * c.length * in, 3), dy = random(batch * length * out, 4);
  std::vector<double> y = poisoned(batch * length * out), dx = poisoned(batch * c.length * in);
  std::vector<double> dweight = std::vector<double>(weight.size()), dbias = std::vector<double>(bias.size());

  static auto input(std::vector<double>& of, Index length) { return sequence(of, batch, length, in); }
  static auto output(std::vector<double>& of, Index length) { return sequence(of, batch, length, out); }
  void forward(const Backend& backend, const std::vector<double>& w) {
    const auto op = transposed ? &cpu::conv_transpose1d_forward<double> : &cpu::conv1d_forward<double>;
    op(backend, c.shape, input(x, c.length), w.data(), bias.data(), output(y, length));
  }
  void backward(const Backend& backend) {
    const auto op =
        transposed ? &cpu::conv_transpose1d_backward_input<double> : &cpu::conv1d_backward_input<double>;
    op(backend, c.shape, output(dy, length), weight.data(), input(dx, c.length));
    const auto of_weight =
        transposed ? &cpu::conv_transpose1d_backward_weight<double> : &cpu::conv1d_backward_weight<double>;
    of_weight(backend, c.shape, output(dy, length), input(x, c.length), dweight.data(), dbias.data());
  }
};

}  // namespace

TEST_CASE("convolution and transposed convolution equal their definitions for all shapes") {
  const Backend backend(1);
  for (const bool transposed : {false, true}) {
    CAPTURE(transposed);
    for_all_cases(transposed, [&](const Case& c) {
      Convolution op{c, transposed};
      op.forward(backend, transposed ? taps_first(op.weight, in, out, c.shape.kernel)
                                     : taps_first(op.weight, out, in, c.shape.kernel));
      const auto expected = transposed ? naive_transposed(c, op.x, op.weight, op.bias)
                                       : naive_conv(c, op.x, op.weight, op.bias);
      CHECK(difference(op.y, expected) < 1e-13);
    });
  }
}

TEST_CASE("the shapes of the denoiser on two positions") {
  CHECK(ConvShape{3, 1, 1}.output_length(2) == 2);
  CHECK(ConvShape{2, 2, 1}.output_length(2) == 2);
  CHECK(ConvShape{2, 2, 1}.transposed_output_length(2) == 2);
  CHECK(ConvShape{5, 1, 0}.output_length(4) == 0);
  CHECK(ConvShape{2, 1, 3}.transposed_output_length(2) == 0);
}

TEST_CASE("positions that see only padding hold the bias, or zero without one") {
  const Backend backend(1);
  std::vector<double> x{5};
  const std::vector<double> weight{2};
  const double bias = 7;
  auto y = poisoned(5);
  cpu::conv1d_forward(backend, {1, 1, 2}, sequence(x, 1, 1, 1), weight.data(), &bias, sequence(y, 1, 5, 1));
  CHECK(y == std::vector<double>{7, 7, 17, 7, 7});
  cpu::conv1d_forward(backend, {1, 1, 2}, sequence(x, 1, 1, 1), weight.data(), nullptr, sequence(y, 1, 5, 1));
  CHECK(y == std::vector<double>{0, 0, 10, 0, 0});
}

TEST_CASE("gradients of convolution and transposed convolution for all shapes") {
  const Backend backend(1);
  for (const bool transposed : {false, true}) {
    CAPTURE(transposed);
    for_all_cases(transposed, [&](const Case& c) {
      Convolution op{c, transposed};
      const auto function = [&] {
        op.forward(backend, op.weight);
        return dot(op.y, op.dy);
      };
      op.backward(backend);
      check_gradient("x", op.x, op.dx, function);
      check_gradient("weight", op.weight, op.dweight, function);
      check_gradient("bias", op.bias, op.dbias, function);
    });
  }
}

TEST_CASE("the transposed convolution is the adjoint of the convolution") {
  const Backend backend(1);
  for (const Index length : {2, 3, 4, 7}) {
    for (auto shape : {ConvShape{3, 1, 1}, ConvShape{2, 2, 1}, ConvShape{4, 3, 1}}) {
      const Index narrow = shape.output_length(length);
      shape.output_padding =
          length - shape.transposed_output_length(narrow);  // of lengths with one output, this one
      REQUIRE(shape.transposed_output_length(narrow) == length);
      const auto weight = random(shape.kernel * out * in, 1);
      auto x = random(batch * length * in, 2);
      auto y = random(batch * narrow * out, 3);
      auto conv_x = poisoned(batch * narrow * out);
      auto adjoint_y = poisoned(batch * length * in);
      cpu::conv1d_forward(backend, shape, sequence(x, batch, length, in), weight.data(), nullptr,
                          sequence(conv_x, batch, narrow, out));
      cpu::conv_transpose1d_forward(backend, shape, sequence(y, batch, narrow, out), weight.data(), nullptr,
                                    sequence(adjoint_y, batch, length, in));
      CHECK(dot(conv_x, y) == doctest::Approx(dot(x, adjoint_y)).epsilon(1e-12));
    }
  }
}

TEST_CASE("convolution parameter gradients accumulate, and the bias gradient may be left out") {
  const Backend backend(1);
  const ConvShape shape{3, 1, 1};
  auto x = random(batch * 2 * in, 1);
  auto dy = random(batch * 2 * out, 2);
  const auto gradients = [&](double start, bool with_bias) {
    std::vector<double> dweight(3 * out * in, start);
    std::vector<double> dbias(out, start);
    cpu::conv1d_backward_weight(backend, shape, sequence(dy, batch, 2, out), sequence(x, batch, 2, in),
                                dweight.data(), with_bias ? dbias.data() : nullptr);
    return joined({dweight, dbias});
  };
  auto expected = gradients(0, true);
  for (auto& value : expected) {
    value += 10;
  }
  CHECK(difference(gradients(10, true), expected) < 1e-14);
  std::fill(expected.end() - out, expected.end(), 10.0);
  CHECK(difference(gradients(10, false), expected) < 1e-14);
}

TEST_CASE("float convolution agrees with double and does not depend on the number of threads") {
  const Index n = 70;
  const Index wide = 136;
  const Index narrow = 72;
  for (const auto shape : {ConvShape{3, 1, 1}, ConvShape{2, 2, 1}}) {
    const auto run = [&]<class T>(T, const Backend& backend) {
      // Drawn in float, so that both precisions see the same numbers.
      const auto draw = [](Index size, std::uint64_t seed) {
        const auto values = random<float>(size, seed);
        return std::vector<T>(values.begin(), values.end());
      };
      auto x = draw(n * 2 * wide, 1);
      auto dy = draw(n * 2 * narrow, 2);
      const auto weight = draw(shape.kernel * narrow * wide, 3);
      const auto bias = draw(narrow, 4);
      auto y = poisoned<T>(n * 2 * narrow);
      auto dx = poisoned<T>(n * 2 * wide);
      std::vector<T> dweight(weight.size());
      std::vector<T> dbias(bias.size());
      const auto from = sequence(x, n, 2, wide);
      const auto upstream = sequence(dy, n, 2, narrow);
      cpu::conv1d_forward(backend, shape, from, weight.data(), bias.data(), sequence(y, n, 2, narrow));
      cpu::conv1d_backward_input(backend, shape, upstream, weight.data(), sequence(dx, n, 2, wide));
      cpu::conv1d_backward_weight(backend, shape, upstream, from, dweight.data(), dbias.data());
      return joined({y, dx, dweight, dbias});
    };
    // Of numbers up to 60; three products in place of four round a little more.
    CHECK(difference(run(float(), Backend(1)), run(double(), Backend(1))) < 5e-5);
    check_threads([&](const Backend& backend) { return run(float(), backend); });
  }
}

TEST_CASE("convolution errors name the op") {
  const Backend backend(1);
  std::vector<float> x(24), y(24), w(100);
  const auto view = sequence(x, 2, 3, 4);
  check_error("conv1d_forward", [&] {
    cpu::conv1d_forward(backend, {3, 1, 1}, view, w.data(), nullptr, sequence(y, 3, 2, 4));
  });
  check_error("length 3", [&] {
    cpu::conv1d_forward(backend, {3, 1, 1}, view, w.data(), nullptr, sequence(y, 2, 4, 3));
  });
  check_error(
      "conv_transpose1d_forward: expected an output_padding from 0 to below the stride of 2, found 2", [&] {
        cpu::conv_transpose1d_forward(backend, {3, 2, 1, 2}, view, w.data(), nullptr, sequence(y, 2, 3, 4));
      });
  check_error("stride 0", [&] {
    cpu::conv1d_forward(backend, {3, 0, 1}, view, w.data(), nullptr, sequence(y, 2, 3, 4));
  });
  check_error("conv1d_backward_input", [&] {
    cpu::conv1d_backward_input(backend, {2, 1, 1}, view, w.data(), sequence(y, 2, 3, 4));
  });
  check_error("conv1d_backward_weight", [&] {
    cpu::conv1d_backward_weight(backend, {2, 1, 1}, view, sequence(y, 2, 3, 4), w.data(), nullptr);
  });
  check_error("conv_transpose1d_forward", [&] {
    cpu::conv_transpose1d_forward(backend, {3, 2, 1}, view, w.data(), nullptr, sequence(y, 2, 3, 4));
  });
  check_error("conv_transpose1d_backward_input", [&] {
    cpu::conv_transpose1d_backward_input(backend, {2, 2, 1}, view, w.data(), sequence(y, 2, 3, 4));
  });
  check_error("conv_transpose1d_backward_weight", [&] {
    cpu::conv_transpose1d_backward_weight(backend, {2, 2, 1}, view, sequence(y, 2, 3, 4), w.data(), nullptr);
  });
}
