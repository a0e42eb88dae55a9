// Linear layers and convolutions of the CUDA backend against the CPU's in double.
#include "cuda_both.hpp"
#include "larger.hpp"

#include <maa/backend/cuda/conv1d.hpp>

#include <bit>
#include <utility>

using namespace ops;
using maa::ConvShape;
using maa::Precision;
namespace cpu = maa::cpu;
namespace cuda = maa::cuda;

namespace {

// Only the order of summation differs.
constexpr double same = 2e-6;

float rounded(float value) {
  auto bits = std::bit_cast<std::uint32_t>(value);
  bits += 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}
std::vector<float> rounded(std::vector<float> values) {
  for (auto& value : values) {
    value = rounded(value);
  }
  return values;
}

// A matrix within a wider one on both sides, whose other columns must stay.
struct Strided {
  Strided(const cuda::Backend& backend, Index rows_, Index cols_, std::uint64_t seed)
      : rows(rows_),
        cols(cols_),
        before(numbers(rows * (cols + 5), seed)),
        device(backend, rows, cols + 5, before) {
    host = widened(before);
  }
  cuda::Out on_device() { return device.view().col_range(2, cols); }
  MatrixView<double> on_host() { return MatrixView<double>(host.data(), rows, cols + 5).col_range(2, cols); }
  double error() const { return difference(device.values(), host); }

  Index rows, cols;
  std::vector<float> before;
  DeviceMatrix device;
  std::vector<double> host;
};

struct LinearSize {
  Index rows, in, out;
};
constexpr LinearSize linear_sizes[] = {{1, 1, 1}, {3, 5, 4}, {33, 17, 9}, {130, 3, 70}, {2000, 2, 3},
                                       {0, 3, 2}, {4, 0, 3}, {4, 3, 0},   {65, 40, 31}};

}  // namespace

TEST_CASE(
    "cuda linear: forward and gradients equal the CPU's, on strided views and with rows of a wider weight") {
  const auto device = test_backend();
  const Backend host(1);
  double worst = 0;
  for (const auto& of : linear_sizes) {
    const Index rows = of.rows, in = of.in, out = of.out;
    CAPTURE(rows);
    CAPTURE(in);
    CAPTURE(out);
    Strided x(device, rows, in, 1), y(device, rows, out, 2), dx(device, rows, in, 3),
        weight(device, out, in, 4);
    const auto bias = numbers(out, 5), sums = numbers(out, 6), dw = numbers(out * in, 7);
    DeviceMatrix device_bias(device, 1, out, bias), device_sums(device, 1, out, sums),
        device_dw(device, out, in, dw);
    auto host_bias = widened(bias), host_sums = widened(sums), host_dw = widened(dw);
    const auto check = [&](double error) {
      CHECK(error < same);
      worst = std::max(worst, error);
    };

    for (const bool with_bias : {true, false}) {
      const auto w = weight.on_device();
      cuda::linear_forward(device, x.on_device(), w.data, w.stride, with_bias ? device_bias.data() : nullptr,
                           y.on_device());
      const auto hw = weight.on_host();
      cpu::linear_forward<double>(host, x.on_host(), hw.data, hw.stride,
                                  with_bias ? host_bias.data() : nullptr, y.on_host());
      check(y.error());
    }
    const auto plain = numbers(out * in, 8);
    DeviceMatrix device_plain(device, out, in, plain);
    auto host_plain = widened(plain);
    cuda::linear_forward(device, x.on_device(), device_plain.data(), device_bias.data(), y.on_device());
    cpu::linear_forward<double>(host, x.on_host(), host_plain.data(), host_bias.data(), y.on_host());
    check(y.error());

    Strided dy(device, rows, out, 9);
    cuda::linear_backward_input(device, dy.on_device(), device_plain.data(), dx.on_device());
    cpu::linear_backward_input<double>(host, dy.on_host(), host_plain.data(), dx.on_host());
    check(dx.error());
    for (const bool with_bias : {true, false}) {
      cuda::linear_backward_weight(device, dy.on_device(), x.on_device(), device_dw.data(),
                                   with_bias ? device_sums.data() : nullptr);
      cpu::linear_backward_weight<double>(host, dy.on_host(), x.on_host(), host_dw.data(),
                                          with_bias ? host_sums.data() : nullptr);
      check(difference(device_dw.values(), host_dw) / std::sqrt(static_cast<double>(rows + 1)));
      check(difference(device_sums.values(), host_sums) / std::sqrt(static_cast<double>(rows + 1)));
    }
  }
  MESSAGE("largest error ", worst);
}

TEST_CASE("cuda linear: wrong shapes") {
  const auto device = test_backend();
  DeviceMatrix x(device, 3, 4), y(device, 2, 5), w(device, 5, 4);
  check_error("linear_forward: y: expected [3, 5], found [2, 5]",
              [&] { cuda::linear_forward(device, x.view(), w.data(), nullptr, y.view()); });
  check_error("linear_backward_input: dx: expected [2, 4], found [3, 4]",
              [&] { cuda::linear_backward_input(device, y.view(), w.data(), x.view()); });
  check_error("linear_backward_weight: x: expected [2, 4], found [3, 4]",
              [&] { cuda::linear_backward_weight(device, y.view(), x.view(), w.data(), nullptr); });
}

TEST_CASE("cuda linear: tensor floats round factors, where they are wanted") {
  const auto device = test_backend({.tf32 = true});
  const auto exact = test_backend({.tf32 = false});
  const float factor = 1.0f + 0x1p-12f;  // rounds to 1
  const auto product = [&](const cuda::Backend& backend) {
    DeviceMatrix x(backend, 1, 1, {factor}), w(backend, 1, 1, {1.0f}), y(backend, 1, 1);
    cuda::linear_forward(backend, x.view(), w.data(), nullptr, y.view());
    return y.values()[0];
  };
  CHECK(product(device) == 1.0f);
  CHECK(product(exact) == factor);
}

TEST_CASE("cuda linear: packed weights in bfloat16 are rounded to nearest even, once") {
  const auto device = test_backend();
  const Backend host(1);
  for (const auto& of : linear_sizes) {
    const Index rows = of.rows, in = of.in, out = of.out;
    CAPTURE(rows);
    CAPTURE(in);
    CAPTURE(out);
    const Index before = 3;  // other weights in front
    const auto weights = numbers(before + out * in, 11), x = numbers(rows * in, 12), bias = numbers(out, 13);
    DeviceMatrix device_weights(device, 1, before + out * in, weights), device_x(device, rows, in, x),
        device_bias(device, 1, out, bias), y(device, rows, out);
    const auto packed = device.packed(device_weights.view().span(), Precision::bf16);
    auto rounded_w = widened(rounded(weights)), rounded_x = widened(rounded(x)), host_bias = widened(bias);
    auto expected = poisoned(rows * out);
    cpu::linear_forward<double>(host, matrix(rounded_x, rows, in), rounded_w.data() + before,
                                host_bias.data(), matrix(expected, rows, out));
    for (int time = 0; time < 2; ++time) {
      cuda::linear_forward(packed, device_x.view(), device_weights.data() + before, device_bias.data(),
                           y.view());
      CHECK(difference(y.values(), expected) < same);
    }
    // Other weights are not rounded, nor are these for a backend that has not packed them.
    auto w = widened(weights), exact_x = widened(x);
    cpu::linear_forward<double>(host, matrix(exact_x, rows, in), w.data() + before, host_bias.data(),
                                matrix(expected, rows, out));
    DeviceMatrix others(device, 1, before + out * in, weights);
    cuda::linear_forward(packed, device_x.view(), others.data() + before, device_bias.data(), y.view());
    CHECK(difference(y.values(), expected) < same);
    cuda::linear_forward(device, device_x.view(), device_weights.data() + before, device_bias.data(),
                         y.view());
    CHECK(difference(y.values(), expected) < same);
  }
}

namespace {

// Fails once, when asked to.
class FailingDevice : public maa::testing::EmulatedDevice {
 public:
  explicit FailingDevice(bool& fails) : fails_(fails) {}
  void run(std::span<const cuda::Command> commands) override {
    maa::require(!std::exchange(fails_, false), "the device failed");
    EmulatedDevice::run(commands);
  }

 private:
  bool& fails_;
};

}  // namespace

TEST_CASE("cuda: what is kept of packed weights is made again if making it fails") {
  bool fails = false;
  const cuda::Backend device(std::make_unique<FailingDevice>(fails), {.tf32 = false});
  constexpr Index batch = 256, size = 2;
  DeviceMatrix weight(device, 3, size * size, std::vector<float>(12, 1.0f));
  DeviceMatrix x(device, batch * 2, size, std::vector<float>(batch * 2 * size, 1.0f)),
      y(device, batch * 2, size);
  device.context().flush();
  for (const auto precision : {Precision::bf16, Precision::fp32}) {
    const auto packed = device.packed(weight.view().span(), precision);
    const auto forward = [&] {
      cuda::conv1d_forward(packed, {3, 1, 1, 0}, x.sequence(2), weight.data(), nullptr, y.sequence(2));
    };
    const int steps = precision == Precision::bf16 ? 2 : 1;  // rounding and differences, or these alone
    for (int step = 0; step < steps; ++step) {
      fails = true;
      check_error("the device failed", forward);
      CHECK_FALSE(fails);
    }
    forward();
    CHECK(y.values() == std::vector<float>(batch * 2 * size, 4.0f));
  }
}

TEST_CASE("cuda: rounding to bfloat16 of ties, large numbers and those that are not finite") {
  const auto device = test_backend();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values{
      1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, -1.0f - 0x1p-8f, 0x1.ffp127f, infinity, -infinity, 0.0f,
      -0.0f,          0x1p-133f,          0x1.8p-134f};
  const auto count = static_cast<Index>(values.size());
  DeviceMatrix w(device, count, 1, values), x(device, 1, 1, {1.0f}), y(device, 1, count);
  const auto packed = device.packed(w.view().span(), Precision::bf16);
  cuda::linear_forward(packed, x.view(), w.data(), nullptr, y.view());
  const auto found = y.values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(values[i]);
    CHECK(found[i] == rounded(values[i]));
  }
  CHECK(found[0] == 1.0f);
  CHECK(found[1] == 1.0f + 0x1p-6f);
  for (const auto bits : {0x7fc00000u, 0x7f800001u, 0xffffffffu}) {
    DeviceMatrix nan(device, 1, 1, {std::bit_cast<float>(bits)}), result(device, 1, 1);
    const auto packed_nan = device.packed(nan.view().span(), Precision::bf16);
    cuda::linear_forward(packed_nan, x.view(), nan.data(), nullptr, result.view());
    CHECK(std::isnan(result.values()[0]));
  }
}

namespace {

constexpr Index in = 5, out = 4;

struct ConvOps {
  bool transposed;
  Index (ConvShape::*output_length)(Index) const;
  // On either backend.
  template <class On, class Sequence, class Number>
  void forward(const On& on, ConvShape shape, Sequence x, Number* w, Number* b, Sequence y) const {
    transposed ? conv_transpose1d_forward(on, shape, x, w, b, y) : conv1d_forward(on, shape, x, w, b, y);
  }
  template <class On, class Sequence, class Number>
  void backward_input(const On& on, ConvShape shape, Sequence dy, Number* w, Sequence dx) const {
    transposed ? conv_transpose1d_backward_input(on, shape, dy, w, dx)
               : conv1d_backward_input(on, shape, dy, w, dx);
  }
  template <class On, class Sequence, class Number>
  void backward_weight(const On& on, ConvShape shape, Sequence dy, Sequence x, Number* dw, Number* db) const {
    transposed ? conv_transpose1d_backward_weight(on, shape, dy, x, dw, db)
               : conv1d_backward_weight(on, shape, dy, x, dw, db);
  }
};
const ConvOps all_ops[] = {{false, &ConvShape::output_length}, {true, &ConvShape::transposed_output_length}};

// What the ops give on the device, for float inputs of a shape, and what the CPU's give in double.
class ConvCase {
 public:
  ConvCase(const ConvOps& ops, ConvShape shape, Index batch, Index length)
      : ops_(ops),
        shape_(shape),
        batch_(batch),
        length_(length),
        y_length_((shape.*ops.output_length)(length)),
        x(numbers(batch * length * in, 1)),
        dy(numbers(batch * y_length_ * out, 2)),
        weight(numbers(shape.kernel * in * out, 3)),
        bias(numbers(out, 4)) {}

  // `packed` makes the backend for the weights. Poison must be overwritten.
  template <class Packed>
  double forward_error(const cuda::Backend& backend, bool with_bias, const Packed& packed) {
    DeviceMatrix dx(backend, batch_ * length_, in, x), dw(backend, 1, Index(weight.size()), weight),
        db(backend, 1, out, bias),
        y(backend, batch_ * y_length_, out, poisoned<float>(batch_ * y_length_ * out));
    auto hx = widened(x), hw = widened(weight), hb = widened(bias);
    auto expected = poisoned(batch_ * y_length_ * out);
    ops_.forward(packed(dw), shape_, x_of(dx), dw.data(), with_bias ? db.data() : nullptr, y_of(y));
    ops_.forward(Backend(1), shape_, sequence(hx, batch_, length_, in), hw.data(),
                 with_bias ? hb.data() : nullptr, sequence(expected, batch_, y_length_, out));
    return difference(y.values(), expected);
  }
  template <class Packed>
  double backward_input_error(const cuda::Backend& backend, const Packed& packed) {
    DeviceMatrix ddy(backend, batch_ * y_length_, out, dy), dw(backend, 1, Index(weight.size()), weight),
        dx(backend, batch_ * length_, in, poisoned<float>(batch_ * length_ * in));
    auto hdy = widened(dy), hw = widened(weight), expected = poisoned(batch_ * length_ * in);
    ops_.backward_input(packed(dw), shape_, y_of(ddy), dw.data(), x_of(dx));
    ops_.backward_input(Backend(1), shape_, sequence(hdy, batch_, y_length_, out), hw.data(),
                        sequence(expected, batch_, length_, in));
    return difference(dx.values(), expected);
  }
  double backward_weight_error(const cuda::Backend& backend, bool with_bias) {
    DeviceMatrix dx(backend, batch_ * length_, in, x), ddy(backend, batch_ * y_length_, out, dy),
        dw(backend, 1, Index(weight.size()), weight), db(backend, 1, out, bias);
    auto hx = widened(x), hdy = widened(dy), hw = widened(weight), hb = widened(bias);
    ops_.backward_weight(backend, shape_, y_of(ddy), x_of(dx), dw.data(), with_bias ? db.data() : nullptr);
    ops_.backward_weight(Backend(1), shape_, sequence(hdy, batch_, y_length_, out),
                         sequence(hx, batch_, length_, in), hw.data(), with_bias ? hb.data() : nullptr);
    return test::larger(difference(dw.values(), hw), difference(db.values(), hb)) /
           std::sqrt(static_cast<double>(batch_ * length_ + 1));
  }

 private:
  cuda::OutSeq x_of(DeviceMatrix& m) const { return {m.data(), batch_, length_, in}; }
  cuda::OutSeq y_of(DeviceMatrix& m) const { return {m.data(), batch_, y_length_, out}; }

  const ConvOps& ops_;
  ConvShape shape_;
  Index batch_, length_, y_length_;

 public:
  std::vector<float> x, dy, weight, bias;
};

}  // namespace

TEST_CASE("cuda convolutions equal the CPU's for all shapes") {
  const auto device = test_backend();
  const auto as_is = [&](DeviceMatrix&) { return device; };
  double worst = 0;
  int count = 0, middle_taps = 0;
  for (const auto& ops : all_ops) {
    for (Index kernel = 1; kernel <= 4; ++kernel) {
      for (Index stride = 1; stride <= 3; ++stride) {
        for (Index padding = 0; padding <= 3; ++padding) {
          for (Index output_padding = 0; output_padding < (ops.transposed ? stride : 1); ++output_padding) {
            for (const Index length : {1, 2, 5}) {
              const ConvShape shape{kernel, stride, padding, output_padding};
              if ((shape.*ops.output_length)(length) == 0) {
                continue;
              }
              CAPTURE(ops.transposed);
              CAPTURE(kernel);
              CAPTURE(stride);
              CAPTURE(padding);
              CAPTURE(output_padding);
              CAPTURE(length);
              ConvCase c(ops, shape, 3, length);
              for (const double error :
                   {c.forward_error(device, true, as_is), c.forward_error(device, false, as_is),
                    c.backward_input_error(device, as_is), c.backward_weight_error(device, true),
                    c.backward_weight_error(device, false)}) {
                CHECK(error < same);
                worst = std::max(worst, error);
              }
              ++count;
              middle_taps += stride == 1 && (shape.*ops.output_length)(length) == length && kernel > 1;
            }
          }
        }
      }
    }
  }
  CHECK(count > 200);
  CHECK(middle_taps == 6);
  MESSAGE("largest error ", worst);
}

TEST_CASE(
    "cuda convolutions of two positions: four products, or three for packed weights and large batches") {
  const auto device = test_backend();
  const ConvShape shape{3, 1, 1, 0};
  const auto as_is = [&](DeviceMatrix&) { return device; };
  const auto packed = [&](DeviceMatrix& weight) { return device.packed(weight.view().span()); };
  double worst = 0;
  for (const auto& ops : all_ops) {
    for (const Index batch : {0, 1, 255, 256, 301}) {
      CAPTURE(ops.transposed);
      CAPTURE(batch);
      ConvCase c(ops, shape, batch, 2);
      for (const double error :
           {c.forward_error(device, true, as_is), c.forward_error(device, true, packed),
            c.forward_error(device, false, packed), c.backward_input_error(device, as_is),
            c.backward_input_error(device, packed), c.backward_weight_error(device, true)}) {
        CHECK(error < same);
        worst = std::max(worst, error);
      }
    }
  }
  MESSAGE("largest error ", worst);
}

TEST_CASE("cuda convolutions: how many commands a pass takes") {
  const auto device = test_backend();
  const ConvShape shape{3, 1, 1, 0};
  const auto commands = [&](const cuda::Backend& backend, DeviceMatrix& weight, Index batch) {
    DeviceMatrix x(device, batch * 2, in), y(device, batch * 2, out), bias(device, 1, out);
    const auto run = [&] {
      cuda::conv1d_forward(backend, shape, {x.data(), batch, 2, in}, weight.data(), bias.data(),
                           {y.data(), batch, 2, out});
    };
    run();
    device.context().flush();
    run();
    const Index count = device.context().pending();
    run();  // nothing is formed anew, which would not wait
    CHECK(device.context().pending() == 2 * count);
    device.context().flush();
    return count;
  };
  DeviceMatrix weight(device, 3, in * out);
  const auto plain = device.packed(weight.view().span());
  const auto bf16 = device.packed(weight.view().span(), Precision::bf16);
  CHECK(commands(device, weight, 300) == 3);  // the two of the middle tap are one
  CHECK(commands(plain, weight, 255) == 3);
  CHECK(commands(plain, weight, 256) == 5);  // a sum, a copy
  CHECK(commands(bf16, weight, 255) == 4);   // x is rounded once
  CHECK(commands(bf16, weight, 256) == 7);   // the sum and two roundings, a copy
}

TEST_CASE("cuda convolutions in bfloat16: the CPU's of rounded numbers") {
  const auto device = test_backend();
  const auto bf16 = [&](DeviceMatrix& weight) {
    return device.packed(weight.view().span(), Precision::bf16);
  };
  double worst = 0;
  for (const auto& ops : all_ops) {
    struct Sizes {
      ConvShape shape;
      Index length, batch;
    };
    for (const auto& of : {Sizes{{3, 1, 1, 0}, 2, 3}, Sizes{{3, 2, 1, 0}, 5, 3}, Sizes{{4, 2, 1, 0}, 3, 300},
                           Sizes{{3, 1, 1, 0}, 2, 300}}) {
      const ConvShape shape = of.shape;
      const Index length = of.length, batch = of.batch;
      CAPTURE(ops.transposed);
      CAPTURE(shape.stride);
      CAPTURE(batch);
      ConvCase c(ops, shape, batch, length);
      const bool three = batch >= 256 && shape.stride == 1;
      if (three) {
        // Sums and differences are rounded too: exact for small whole numbers.
        for (auto* values : {&c.x, &c.dy, &c.weight, &c.bias}) {
          for (auto& value : *values) {
            value = std::round(value * 16);
          }
        }
      } else {
        c.x = rounded(c.x), c.dy = rounded(c.dy), c.weight = rounded(c.weight);
      }
      for (const double error : {c.forward_error(device, true, bf16), c.backward_input_error(device, bf16)}) {
        CHECK(error < same);
        worst = std::max(worst, error);
      }
    }
    // Factors that are not rounded yet: the error of rounding shows, and no more.
    ConvCase c(ops, {3, 1, 1, 0}, 300, 2);
    const double error = c.forward_error(device, true, bf16);
    CHECK(error > 1e-4);
    CHECK(error < 0.2);
  }
  MESSAGE("largest error ", worst);
}

TEST_CASE("cuda convolutions: wrong shapes") {
  const auto device = test_backend();
  DeviceMatrix x(device, 6, in), y(device, 6, out), w(device, 3, in * out);
  const ConvShape shape{3, 1, 0, 0};
  check_error("conv1d_forward: expected an output of batch 2 and length 1",
              [&] { cuda::conv1d_forward(device, shape, x.sequence(3), w.data(), nullptr, y.sequence(3)); });
  check_error("conv_transpose1d_backward_input: expected an output of batch 2 and length 5", [&] {
    cuda::conv_transpose1d_backward_input(device, shape, y.sequence(3), w.data(), x.sequence(3));
  });
  check_error("conv1d_backward_weight: expected kernel and stride of at least 1", [&] {
    cuda::conv1d_backward_weight(device, {0, 1, 0, 0}, y.sequence(3), x.sequence(3), w.data(), nullptr);
  });
}
