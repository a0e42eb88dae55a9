// Normalisation of the CUDA backend against the CPU's in double.
#include "cuda_device.hpp"
#include "ops_helpers.hpp"

#include <maa/backend/cuda/norm.hpp>

#include <algorithm>

using namespace ops;
using namespace maa;

namespace {

constexpr double epsilon = 1e-5;

std::vector<double> in_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// Rows of `cols` numbers, with `gap` others between them, in host memory twice and in device memory.
struct Numbers {
  std::vector<float> values;
  std::vector<double> exact;
  DeviceMatrix device;
  Index rows, cols, width;

  Numbers(const cuda::Backend& backend, Index rows_, Index cols_, std::uint64_t seed, Index gap = 0)
      : values(random<float>(rows_ * (cols_ + gap), seed)),
        exact(in_double(values)),
        device(backend, rows_, cols_ + gap, values),
        rows(rows_),
        cols(cols_),
        width(cols_ + gap) {}

  MatrixView<double> host_view() { return matrix(exact, rows, width).col_range(0, cols); }
  cuda::Out view() { return device.view().col_range(0, cols); }
  SequenceView<double> host_sequence(Index length) { return sequence(exact, rows / length, length, cols); }
  cuda::OutSeq sequence_view(Index length) { return device.sequence(length); }
  // The largest difference, relative to the numbers' size where that is above 1. The gaps must be equal.
  double error() const { return difference(device.values(), exact); }
};

struct Shape {
  Index batch, length, groups, group_size;
};
constexpr Shape shapes[] = {{3, 2, 4, 5},  {1, 1, 1, 1},    {2, 3, 1, 70},  {5, 1, 8, 3},
                            {70, 2, 2, 3}, {1100, 1, 2, 9}, {2, 2, 2, 300}, {0, 2, 2, 3}};

double* as_null(double* data, bool wanted) {
  return wanted ? data : nullptr;
}
cuda::Real* as_null(cuda::Real* data, bool wanted) {
  return wanted ? data : nullptr;
}

}  // namespace

TEST_CASE("cuda: group norm, Mish, FiLM and residual") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  double worst = 0;
  for (const auto& shape : shapes) {
    const Index batch = shape.batch, length = shape.length, groups = shape.groups;
    const Index channels = groups * shape.group_size;
    for (const int options : {0, 1, 2, 4, 7}) {
      CAPTURE(batch);
      CAPTURE(length);
      CAPTURE(channels);
      CAPTURE(options);
      const bool affine = (options & 1) != 0, film = (options & 2) != 0, residual = (options & 4) != 0;
      Numbers x(backend, batch * length, channels, 1), gain(backend, 1, channels, 2),
          bias(backend, 1, channels, 3);
      Numbers scale_bias(backend, batch, 2 * channels, 4, 3), added(backend, batch * length, channels, 5, 2);
      Numbers y(backend, batch * length, channels, 6, 1), statistics(backend, batch, 2 * groups, 7);
      Numbers dy(backend, batch * length, channels, 8, 4), dx(backend, batch * length, channels, 9);
      Numbers dscale_bias(backend, batch, 2 * channels, 10, 1);
      Numbers dgain(backend, 1, channels, 11), dbias(backend, 1, channels, 12),
          dx_sums(backend, 1, channels, 13);
      const bool wants_dgain = options != 1, wants_dbias = options != 2, wants_dx_sums = options != 4;

      cpu::norm_mish_forward<double>(
          host, groups, epsilon, x.host_sequence(length), as_null(gain.exact.data(), affine),
          as_null(bias.exact.data(), affine), film ? scale_bias.host_view() : MatrixView<double>(),
          residual ? added.host_view() : MatrixView<double>(), y.host_view(), statistics.host_view());
      cpu::norm_mish_backward<double>(
          host, groups, x.host_sequence(length), statistics.host_view(), as_null(gain.exact.data(), affine),
          as_null(bias.exact.data(), affine), film ? scale_bias.host_view() : MatrixView<double>(),
          dy.host_view(), dx.host_sequence(length), film ? dscale_bias.host_view() : MatrixView<double>(),
          as_null(dgain.exact.data(), wants_dgain), as_null(dbias.exact.data(), wants_dbias),
          as_null(dx_sums.exact.data(), wants_dx_sums));

      norm_mish_forward(backend, groups, epsilon, x.sequence_view(length),
                        as_null(gain.device.data(), affine), as_null(bias.device.data(), affine),
                        film ? scale_bias.view() : cuda::Out(), residual ? added.view() : cuda::Out(),
                        y.view(), statistics.view());
      norm_mish_backward(backend, groups, x.sequence_view(length), statistics.view(),
                         as_null(gain.device.data(), affine), as_null(bias.device.data(), affine),
                         film ? scale_bias.view() : cuda::Out(), dy.view(), dx.sequence_view(length),
                         film ? dscale_bias.view() : cuda::Out(), as_null(dgain.device.data(), wants_dgain),
                         as_null(dbias.device.data(), wants_dbias),
                         as_null(dx_sums.device.data(), wants_dx_sums));
      // Groups of one number: the deviation is 0, its reciprocal 1 / sqrt(epsilon).
      for (const auto* found : {&y, &dx, &dscale_bias, &dgain, &dbias}) {
        CHECK(found->error() < 1e-5);
        worst = std::max(worst, found->error());
      }
      CHECK(statistics.error() < 1e-6);
      CHECK(dx_sums.error() < 1e-4);  // of numbers that cancel
    }
  }
  MESSAGE("worst error ", worst);
}

TEST_CASE("cuda: normalisation in place") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const Index batch = 4, length = 3, groups = 2, channels = 10;
  const auto numbers = [&](Index rows, Index cols, std::uint64_t seed) {
    return Numbers(backend, rows, cols, seed);
  };
  Numbers x = numbers(batch * length, channels, 1), residual = numbers(batch * length, channels, 2);
  Numbers y = numbers(batch * length, channels, 3), statistics = numbers(batch, 2 * groups, 4);
  Numbers dy = numbers(batch * length, channels, 5), dx = numbers(batch * length, channels, 6);
  const auto forward = [&](cuda::Out to) {
    norm_mish_forward(backend, groups, epsilon, x.sequence_view(length), nullptr, nullptr, cuda::In(),
                      residual.view(), to, statistics.view());
  };
  const auto backward = [&](cuda::OutSeq to, Numbers& sums) {
    norm_mish_backward(backend, groups, x.sequence_view(length), statistics.view(), nullptr, nullptr,
                       cuda::In(), dy.view(), to, cuda::Out(), sums.device.data(), nullptr, nullptr);
  };
  Numbers apart = numbers(1, channels, 7), within = numbers(1, channels, 7);
  forward(y.view());
  backward(dx.sequence_view(length), apart);
  backward(dy.sequence_view(length), within);
  CHECK(dy.device.values() == dx.device.values());
  CHECK(within.device.values() == apart.device.values());
  CHECK(apart.device.values() != apart.values);
  Numbers kept = numbers(batch * length, channels, 2);
  forward(residual.view());
  CHECK(residual.device.values() == y.device.values());
  copy_matrix(backend, kept.view(), residual.view());
  forward(x.view());
  CHECK(x.device.values() == y.device.values());
}

TEST_CASE("cuda: layer norm") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : shapes) {
    const Index rows = shape.batch * shape.length, channels = shape.groups * shape.group_size;
    for (const bool all : {true, false}) {  // gain, bias and their gradients, and dx
      CAPTURE(rows);
      CAPTURE(channels);
      CAPTURE(all);
      Numbers gain(backend, 1, channels, 2), bias(backend, 1, channels, 3);
      Numbers dgain(backend, 1, channels, 8), dbias(backend, 1, channels, 9);
      Numbers row_x(backend, rows, channels, 11, 3), row_y(backend, rows, channels, 12, 1);
      Numbers row_statistics(backend, rows, 2, 13, 2), row_dy(backend, rows, channels, 14, 5);
      Numbers row_dx(backend, rows, channels, 15, 2);
      cpu::layer_norm_forward<double>(host, epsilon, row_x.host_view(), as_null(gain.exact.data(), all),
                                      as_null(bias.exact.data(), all), row_y.host_view(),
                                      row_statistics.host_view());
      cpu::layer_norm_backward<double>(host, row_x.host_view(), row_statistics.host_view(),
                                       as_null(gain.exact.data(), all), row_dy.host_view(),
                                       all ? row_dx.host_view() : MatrixView<double>(),
                                       as_null(dgain.exact.data(), all), dbias.exact.data());
      layer_norm_forward(backend, epsilon, row_x.view(), as_null(gain.device.data(), all),
                         as_null(bias.device.data(), all), row_y.view(), row_statistics.view());
      layer_norm_backward(backend, row_x.view(), row_statistics.view(), as_null(gain.device.data(), all),
                          row_dy.view(), all ? row_dx.view() : cuda::Out(), as_null(dgain.device.data(), all),
                          dbias.device.data());
      for (const auto* found : {&row_y, &row_dx, &row_statistics, &dgain, &dbias}) {
        CHECK(found->error() < 1e-5);
      }
    }
  }
}

TEST_CASE("cuda: normalisation of numbers far from 0") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  const Index channels = 600;
  std::vector<float> x = random<float>(channels, 1);
  for (auto& value : x) {
    value = 1000 + value;
  }
  auto exact = in_double(x);
  std::vector<double> y(exact.size()), statistics(2);
  cpu::layer_norm_forward<double>(host, epsilon, matrix(exact, 1, channels), nullptr, nullptr,
                                  matrix(y, 1, channels), matrix(statistics, 1, 2));
  DeviceMatrix dev_x(backend, 1, channels, x), dev_y(backend, 1, channels), dev_statistics(backend, 1, 2);
  layer_norm_forward(backend, epsilon, dev_x.view(), nullptr, nullptr, dev_y.view(), dev_statistics.view());
  CHECK(difference(dev_statistics.values(), statistics) < 1e-6);
  CHECK(difference(dev_y.values(), y) < 1e-4);  // the mean is rounded to 3e-5 deviations
}

TEST_CASE("cuda: norms check shapes") {
  const auto backend = test_backend();
  const auto session = backend.session();
  DeviceMatrix x(backend, 4, 6), statistics(backend, 2, 4), film(backend, 2, 12), other(backend, 2, 5);
  const auto s = x.sequence(2);
  const cuda::In none;
  check_error("norm_mish_forward: residual: expected [4, 6], found [2, 5]", [&] {
    norm_mish_forward(backend, 2, epsilon, s, nullptr, nullptr, none, other.view(), x.view(),
                      statistics.view());
  });
  check_error("norm_mish_forward: scale_bias: expected [2, 12], found [2, 5]", [&] {
    norm_mish_forward(backend, 2, epsilon, s, nullptr, nullptr, other.view(), none, x.view(),
                      statistics.view());
  });
  check_error("norm_mish_backward: dscale_bias: expected [2, 12], found [0, 0]", [&] {
    norm_mish_backward(backend, 2, s, statistics.view(), nullptr, nullptr, film.view(), x.view(), s,
                       cuda::Out(), nullptr, nullptr, nullptr);
  });
  check_error("layer_norm_forward: statistics: expected [4, 2], found [2, 4]", [&] {
    layer_norm_forward(backend, epsilon, x.view(), nullptr, nullptr, x.view(), statistics.view());
  });
  check_error("layer_norm_backward: dx: expected [4, 6], found [2, 5]", [&] {
    layer_norm_backward(backend, x.view(), cuda::In(statistics.data(), 4, 2), nullptr, x.view(), other.view(),
                        nullptr, nullptr);
  });
}
