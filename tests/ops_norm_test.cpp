#include "ops_helpers.hpp"

using namespace ops;
namespace cpu = maa::cpu;

namespace {

constexpr double epsilon = 1e-5;

struct Shape {
  Index batch, length, channels, groups;
};

// Groups shorter and longer than the ops' inner loops, and sizes that do not divide them.
constexpr Shape shapes[] = {{3, 2, 24, 8}, {2, 1, 40, 1}, {2, 5, 63, 3}, {4, 3, 150, 2}, {1, 2, 8, 8}};

// Straight from the definition.
std::vector<double> naive_group_norm(const Shape& s, const std::vector<double>& x,
                                     const std::vector<double>& gain, const std::vector<double>& bias) {
  std::vector<double> y(x.size());
  const Index size = s.channels / s.groups;
  for (Index n = 0; n < s.batch; ++n) {
    for (Index g = 0; g < s.groups; ++g) {
      std::vector<std::size_t> members;
      for (Index l = 0; l < s.length; ++l) {
        for (Index c = g * size; c < (g + 1) * size; ++c) {
          members.push_back(static_cast<std::size_t>((n * s.length + l) * s.channels + c));
        }
      }
      double mean = 0;
      double variance = 0;
      for (const auto i : members) {
        mean += x[i] / double(members.size());
      }
      for (const auto i : members) {
        variance += (x[i] - mean) * (x[i] - mean) / double(members.size());
      }
      for (const auto i : members) {
        const auto c = i % static_cast<std::size_t>(s.channels);
        y[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * gain[c] + bias[c];
      }
    }
  }
  return y;
}

template <class Body>
void for_all_shapes(const Body& body) {
  for (const auto& s : shapes) {
    CAPTURE(s.channels);
    CAPTURE(s.groups);
    body(s);
  }
}

}  // namespace

TEST_CASE("group norm equals its definition") {
  const Backend backend(1);
  for_all_shapes([&](const Shape& s) {
    auto x = random(s.batch * s.length * s.channels, 1);
    const auto gain = random(s.channels, 2);
    const auto bias = random(s.channels, 3);
    auto y = poisoned(s.batch * s.length * s.channels);
    auto statistics = poisoned(s.batch * 2 * s.groups);
    const auto normalize = [&](const double* gain_data, const double* bias_data) {
      cpu::group_norm_forward(backend, s.groups, epsilon, sequence(x, s.batch, s.length, s.channels),
                              gain_data, bias_data, sequence(y, s.batch, s.length, s.channels),
                              matrix(statistics, s.batch, 2 * s.groups));
    };
    normalize(gain.data(), bias.data());
    CHECK(difference(y, naive_group_norm(s, x, gain, bias)) < 1e-13);
    const std::vector<double> ones(gain.size(), 1.0);
    const std::vector<double> zeros(gain.size(), 0.0);
    normalize(nullptr, bias.data());
    CHECK(difference(y, naive_group_norm(s, x, ones, bias)) < 1e-13);
    normalize(gain.data(), nullptr);
    CHECK(difference(y, naive_group_norm(s, x, gain, zeros)) < 1e-13);

    const auto expected = naive_group_norm(s, x, gain, bias);
    cpu::group_norm_forward(backend, s.groups, epsilon, sequence(x, s.batch, s.length, s.channels),
                            gain.data(), bias.data(), sequence(x, s.batch, s.length, s.channels),
                            matrix(statistics, s.batch, 2 * s.groups));
    CHECK(difference(x, expected) < 1e-13);  // in place
  });
}

TEST_CASE("group norm in float keeps its accuracy far from zero") {
  const Backend backend(1);
  auto x = random<float>(2 * 2 * 256, 1);
  for (auto& value : x) {
    value += 1000;
  }
  const Shape s{2, 2, 256, 8};
  const std::vector<double> ones(256, 1.0);
  const std::vector<double> zeros(256, 0.0);
  const auto expected = naive_group_norm(s, {x.begin(), x.end()}, ones, zeros);
  auto y = poisoned<float>(2 * 2 * 256);
  auto statistics = poisoned<float>(2 * 16);
  cpu::group_norm_forward(backend, 8, epsilon, sequence(x, 2, 2, 256), nullptr, nullptr,
                          sequence(y, 2, 2, 256), matrix(statistics, 2, 16));
  CHECK(difference(y, expected) < 5e-4);
}

TEST_CASE("group norm gradients") {
  const Backend backend(1);
  for_all_shapes([&](const Shape& s) {
    for (const bool affine : {true, false}) {
      auto x = random(s.batch * s.length * s.channels, 1);
      auto gain = random(s.channels, 2);
      auto bias = random(s.channels, 3);
      auto dy = random(s.batch * s.length * s.channels, 4);
      auto y = poisoned(s.batch * s.length * s.channels);
      auto statistics = poisoned(s.batch * 2 * s.groups);
      const auto view = [&](std::vector<double>& values) {
        return sequence(values, s.batch, s.length, s.channels);
      };
      const auto forward = [&] {
        cpu::group_norm_forward(backend, s.groups, epsilon, view(x), affine ? gain.data() : nullptr,
                                affine ? bias.data() : nullptr, view(y),
                                matrix(statistics, s.batch, 2 * s.groups));
        return dot(y, dy);
      };
      forward();
      auto dx = poisoned(s.batch * s.length * s.channels);
      std::vector<double> dgain(gain.size(), 0.0);
      std::vector<double> dbias(bias.size(), 0.0);
      cpu::group_norm_backward(backend, s.groups, view(x), matrix(statistics, s.batch, 2 * s.groups),
                               affine ? gain.data() : nullptr, view(dy), view(dx),
                               affine ? dgain.data() : nullptr, affine ? dbias.data() : nullptr);
      check_gradient("x", x, dx, forward);
      if (affine) {
        check_gradient("gain", gain, dgain, forward);
        check_gradient("bias", bias, dbias, forward);
      }
    }
  });
}

TEST_CASE("layer norm on strided rows equals its definition, with its gradients") {
  const Backend backend(1);
  const Index rows = 5;
  const Index stride = 60;
  for (const Index channels : {1, 7, 40, 53}) {
    auto x = random(rows * stride, 1);
    auto gain = random(channels, 2);
    auto bias = random(channels, 3);
    auto dy = random(rows * channels, 4);
    auto y = poisoned(rows * channels);
    auto statistics = poisoned(rows * 2);
    const MatrixView<double> view(x.data() + 3, rows, channels, stride);
    const auto forward = [&] {
      cpu::layer_norm_forward(backend, epsilon, view, gain.data(), bias.data(), matrix(y, rows, channels),
                              matrix(statistics, rows, 2));
      return dot(y, dy);
    };
    forward();
    std::vector<double> dense;
    for (Index i = 0; i < rows; ++i) {
      dense.insert(dense.end(), view.row(i), view.row(i) + channels);
    }
    CHECK(difference(y, naive_group_norm({rows, 1, channels, 1}, dense, gain, bias)) < 1e-13);

    std::vector<double> dx(x.size(), 0.0);
    std::vector<double> dgain(gain.size(), 0.0);
    std::vector<double> dbias(bias.size(), 0.0);
    cpu::layer_norm_backward(
        backend, view, matrix(statistics, rows, 2), gain.data(), matrix(dy, rows, channels),
        MatrixView<double>(dx.data() + 3, rows, channels, stride), dgain.data(), dbias.data());
    check_gradient("x", x, dx, forward);  // zero between the rows
    check_gradient("gain", gain, dgain, forward);
    check_gradient("bias", bias, dbias, forward);
  }
}

TEST_CASE("norms: parameter gradients accumulate, input gradients overwrite or are left out") {
  const Backend backend(1);
  auto x = random(4 * 20, 1);
  const auto gain = random(20, 2);
  auto dy = random(4 * 20, 3);
  auto y = poisoned(4 * 20);
  auto statistics = poisoned(4 * 2);
  cpu::layer_norm_forward(backend, epsilon, matrix(x, 4, 20), gain.data(), nullptr, matrix(y, 4, 20),
                          matrix(statistics, 4, 2));
  const auto gradients = [&](double start, MatrixView<double> dx) {
    std::vector<double> dgain(20, start);
    std::vector<double> dbias(20, start);
    cpu::layer_norm_backward(backend, matrix(x, 4, 20), matrix(statistics, 4, 2), gain.data(),
                             matrix(dy, 4, 20), dx, dgain.data(), dbias.data());
    return joined({dgain, dbias});
  };
  auto dx = poisoned(4 * 20);
  auto expected = gradients(0, matrix(dx, 4, 20));
  CHECK(maa::first_nonfinite<double>(dx) == -1);
  for (auto& value : expected) {
    value += 10;
  }
  CHECK(difference(gradients(10, {}), expected) < 1e-14);

  const auto apart = dx;
  gradients(0, matrix(dy, 4, 20));  // dx may be dy
  CHECK(dy == apart);
}

TEST_CASE("norms do not depend on the number of threads") {
  const Index batch = 150;
  const Index channels = 320;
  for (const Index groups : {Index{1}, Index{4}}) {
    check_threads([&](const Backend& backend) {
      auto x = random<float>(batch * 2 * channels, 1);
      const auto gain = random<float>(channels, 2);
      const auto bias = random<float>(channels, 3);
      auto dy = random<float>(batch * 2 * channels, 4);
      auto y = poisoned<float>(batch * 2 * channels);
      auto dx = poisoned<float>(batch * 2 * channels);
      auto statistics = poisoned<float>(batch * 2 * groups);
      std::vector<float> dgain(gain.size());
      std::vector<float> dbias(bias.size());
      const auto view = [&](std::vector<float>& values) { return sequence(values, batch, 2, channels); };
      cpu::group_norm_forward(backend, groups, epsilon, view(x), gain.data(), bias.data(), view(y),
                              matrix(statistics, batch, 2 * groups));
      cpu::group_norm_backward(backend, groups, view(x), matrix(statistics, batch, 2 * groups), gain.data(),
                               view(dy), view(dx), dgain.data(), dbias.data());
      return joined({y, dx, dgain, dbias, statistics});
    });
  }
}

TEST_CASE("norm errors name the op") {
  const Backend backend(1);
  std::vector<float> x(24), y(24), statistics(8);
  const auto view = sequence(x, 2, 3, 4);
  check_error("group_norm_forward: expected groups that divide the 4 channels, found 3", [&] {
    cpu::group_norm_forward(backend, 3, epsilon, view, nullptr, nullptr, sequence(y, 2, 3, 4),
                            matrix(statistics, 2, 4));
  });
  check_error("group_norm_forward: statistics", [&] {
    cpu::group_norm_forward(backend, 4, epsilon, view, nullptr, nullptr, sequence(y, 2, 3, 4),
                            matrix(statistics, 2, 4));
  });
  check_error("group_norm_backward: dy", [&] {
    cpu::group_norm_backward(backend, 2, view, matrix(statistics, 2, 4), nullptr, sequence(y, 3, 2, 4),
                             sequence(x, 2, 3, 4), nullptr, nullptr);
  });
  check_error("layer_norm_forward: y", [&] {
    cpu::layer_norm_forward(backend, epsilon, matrix(x, 4, 6), nullptr, nullptr, matrix(y, 6, 4),
                            matrix(statistics, 4, 2));
  });
  check_error("layer_norm_backward: dx", [&] {
    cpu::layer_norm_backward(backend, matrix(x, 4, 6), matrix(statistics, 4, 2), nullptr, matrix(y, 4, 6),
                             matrix(x, 6, 4), nullptr, nullptr);
  });
}
