// Products of packed weights: the same as of plain ones, and in bfloat16 as of rounded ones.
#include "ops_helpers.hpp"

#include <bit>
#include <thread>

using namespace ops;
using maa::ConvShape;
using maa::Precision;
namespace cpu = maa::cpu;

namespace {

// To the nearest number with 8 significant bits, ties to even.
float to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}
std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

std::vector<float> linear(const Backend& backend, Index rows, Index in, Index out, std::vector<float>& x,
                          const std::vector<float>& weight, const std::vector<float>& bias) {
  auto y = poisoned<float>(rows * out);
  cpu::linear_forward(backend, MatrixView<float>(x.data(), rows, in), weight.data(), bias.data(),
                      MatrixView<float>(y.data(), rows, out));
  return y;
}

TEST_CASE("packed weights of any size multiply as plain ones, in bfloat16 as rounded ones") {
  for (const Index rows : {1, 2, 7, 16, 33, 127}) {
    for (const Index out : {1, 16, 17, 33, 130}) {
      for (const Index in : {1, 31, 39, 256, 257, 600}) {
        CAPTURE(rows);
        CAPTURE(out);
        CAPTURE(in);
        auto x = random<float>(rows * in, 1);
        const auto weight = random<float>(out * in, 2), bias = random<float>(out, 3);
        auto rounded = weight;
        std::ranges::transform(rounded, rounded.begin(), to_bf16);
        auto rounded_x = x;
        std::ranges::transform(rounded_x, rounded_x.begin(), to_bf16);
        for (const auto precision : {Precision::fp32, Precision::bf16_weights, Precision::bf16}) {
          const Backend plain(1);
          const Backend backend = plain.packed(weight, precision);
          // Scalar kernels stay in fp32; without a bfloat16 unit rows do.
          const bool rounds = precision != Precision::fp32 && backend.has_packed_weights();
          const bool rounds_rows = backend.bf16_kernels() != nullptr;
          std::vector<double> expected(static_cast<std::size_t>(rows * out));
          for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < out; ++j) {
              double sum = bias[static_cast<std::size_t>(j)];
              for (Index k = 0; k < in; ++k) {
                sum += double((rounds ? rounded : weight)[static_cast<std::size_t>(j * in + k)]) *
                       double((rounds_rows ? rounded_x : x)[static_cast<std::size_t>(i * in + k)]);
              }
              expected[static_cast<std::size_t>(i * out + j)] = sum;
            }
          }
          const auto y = linear(backend, rows, in, out, x, weight, bias);
          CHECK(difference(y, expected) < 1e-4);
          // A row alone has the bits it has among others.
          const auto first = linear(backend, 1, in, out, x, weight, bias);
          if (backend.has_packed_weights()) {
            CHECK(std::memcmp(first.data(), y.data(), first.size() * sizeof(float)) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("packed convolutions and their adjoints, on two positions and others") {
  const Index in = 70, out = 45;
  for (const auto shape : {ConvShape{3, 1, 1}, ConvShape{2, 2, 1}, ConvShape{5, 1, 2}, ConvShape{1, 1, 0}}) {
    for (const Index length : {1, 2, 5}) {
      for (const Index batch : {1, 7, 60}) {
        CAPTURE(shape.kernel);
        CAPTURE(length);
        CAPTURE(batch);
        const Index to = shape.output_length(length);
        const auto weight = random<float>(shape.kernel * in * out, 1);
        const auto run = [&]<class T>(T, const Backend& backend, const T* w) {
          const auto draw = [](Index size, std::uint64_t seed) {
            const auto values = random<float>(size, seed);
            return std::vector<T>(values.begin(), values.end());
          };
          auto x = draw(batch * length * in, 2), dy = draw(batch * to * out, 3);
          auto y = poisoned<T>(batch * to * out), dx = poisoned<T>(batch * length * in);
          const T* no_bias = nullptr;
          cpu::conv1d_forward(backend, shape, sequence(x, batch, length, in), w, no_bias,
                              sequence(y, batch, to, out));
          cpu::conv1d_backward_input(backend, shape, sequence(dy, batch, to, out), w,
                                     sequence(dx, batch, length, in));
          return joined({y, dx});
        };
        const auto exact = widened(weight);
        const auto found = run(float(), Backend(2).packed(weight), weight.data());
        CHECK(difference(found, run(double(), Backend(1), exact.data())) < 5e-5);
      }
    }
  }
}

TEST_CASE("packed products give the same bits for any number of threads") {
  const Index rows = 130, in = 515, out = 300;
  auto x = random<float>(rows * in, 1);
  const auto weight = random<float>(out * in, 2), bias = random<float>(out, 3);
  for (const auto precision : {Precision::fp32, Precision::bf16_weights, Precision::bf16}) {
    check_threads([&](const Backend& backend) {
      return linear(backend.packed(weight, precision), rows, in, out, x, weight, bias);
    });
  }
}

TEST_CASE(
    "weights that were not packed are used as they are, and several threads may share a packed backend") {
  const Index rows = 20, in = 64, out = 70;
  auto x = random<float>(rows * in, 1);
  const auto weight = random<float>(out * in, 2), other = random<float>(out * in, 3),
             bias = random<float>(out, 4);
  const Backend plain(2);
  const Backend backend = plain.packed(weight, Precision::bf16_weights);
  CHECK(linear(backend, rows, in, out, x, other, bias) == linear(plain, rows, in, out, x, other, bias));
  const auto expected = linear(plain.packed(weight, Precision::bf16_weights), rows, in, out, x, weight, bias);
  std::vector<std::vector<float>> found(4);
  std::vector<std::thread> threads;
  for (auto& y : found) {
    threads.emplace_back([&] { y = linear(backend, rows, in, out, x, weight, bias); });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& y : found) {
    CHECK(y == expected);
  }
}

}  // namespace
