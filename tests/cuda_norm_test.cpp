// Normalisation of the CUDA backend against the CPU's in double.
#include "cuda_both.hpp"

#include <maa/backend/cuda/norm.hpp>

#include <algorithm>

using namespace ops;
using namespace maa;

namespace {

constexpr double epsilon = 1e-5;

struct Shape {
  Index batch, length, groups, group_size;
};
constexpr Shape shapes[] = {{3, 2, 4, 5},  {1, 1, 1, 1},    {2, 3, 1, 70},  {5, 1, 8, 3},
                            {70, 2, 2, 3}, {1100, 1, 2, 9}, {2, 2, 2, 300}, {0, 2, 2, 3}};

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
      Both x(backend, batch * length, channels, 1), gain(backend, 1, channels, 2),
          bias(backend, 1, channels, 3);
      Both scale_bias(backend, batch, 2 * channels, 4, 3), added(backend, batch * length, channels, 5, 2);
      Both y(backend, batch * length, channels, 6, 1), statistics(backend, batch, 2 * groups, 7);
      Both dy(backend, batch * length, channels, 8, 4), dx(backend, batch * length, channels, 9);
      Both dscale_bias(backend, batch, 2 * channels, 10, 1);
      Both dgain(backend, 1, channels, 11), dbias(backend, 1, channels, 12),
          dx_sums(backend, 1, channels, 13);
      const bool wants_dgain = options != 1, wants_dbias = options != 2, wants_dx_sums = options != 4;

      on_both(backend, [&](const auto& on, const auto& of) {
        const auto sequence = [&](Both& both) { return of.sequence(both, batch, length, channels); };
        norm_mish_forward(on, groups, epsilon, sequence(x), of.data(gain, affine), of.data(bias, affine),
                          of.matrix(scale_bias, film), of.matrix(added, residual), of.matrix(y),
                          of.matrix(statistics));
        norm_mish_backward(on, groups, sequence(x), of.matrix(statistics), of.data(gain, affine),
                           of.data(bias, affine), of.matrix(scale_bias, film), of.matrix(dy), sequence(dx),
                           of.matrix(dscale_bias, film), of.data(dgain, wants_dgain),
                           of.data(dbias, wants_dbias), of.data(dx_sums, wants_dx_sums));
      });
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
  const auto sequence = [&](std::uint64_t seed) {
    return DeviceMatrix(backend, batch * length, channels, numbers(batch * length * channels, seed));
  };
  DeviceMatrix x = sequence(1), residual = sequence(2), y = sequence(3), dy = sequence(5), dx = sequence(6);
  DeviceMatrix statistics(backend, batch, 2 * groups);
  const auto forward = [&](cuda::Out to) {
    norm_mish_forward(backend, groups, epsilon, x.sequence(length), nullptr, nullptr, cuda::In(),
                      residual.view(), to, statistics.view());
  };
  const auto backward = [&](cuda::OutSeq to, DeviceMatrix& sums) {
    norm_mish_backward(backend, groups, x.sequence(length), statistics.view(), nullptr, nullptr, cuda::In(),
                       dy.view(), to, cuda::Out(), sums.data(), nullptr, nullptr);
  };
  const auto before = numbers(channels, 7);
  DeviceMatrix apart(backend, 1, channels, before), within(backend, 1, channels, before);
  forward(y.view());
  backward(dx.sequence(length), apart);
  backward(dy.sequence(length), within);
  CHECK(dy.values() == dx.values());
  CHECK(within.values() == apart.values());
  CHECK(apart.values() != before);
  DeviceMatrix kept = sequence(2);
  forward(residual.view());
  CHECK(residual.values() == y.values());
  copy_matrix(backend, kept.view(), residual.view());
  forward(x.view());
  CHECK(x.values() == y.values());
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
      Both gain(backend, 1, channels, 2), bias(backend, 1, channels, 3);
      Both dgain(backend, 1, channels, 8), dbias(backend, 1, channels, 9);
      Both row_x(backend, rows, channels, 11, 3), row_y(backend, rows, channels, 12, 1);
      Both row_statistics(backend, rows, 2, 13, 2), row_dy(backend, rows, channels, 14, 5);
      Both row_dx(backend, rows, channels, 15, 2);
      on_both(backend, [&](const auto& on, const auto& of) {
        layer_norm_forward(on, epsilon, of.matrix(row_x), of.data(gain, all), of.data(bias, all),
                           of.matrix(row_y), of.matrix(row_statistics));
        layer_norm_backward(on, of.matrix(row_x), of.matrix(row_statistics), of.data(gain, all),
                            of.matrix(row_dy), of.matrix(row_dx, all), of.data(dgain, all), of.data(dbias));
      });
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
  auto exact = widened(x);
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
