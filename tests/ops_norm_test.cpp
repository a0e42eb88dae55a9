#include "ops_helpers.hpp"
#include "supported_isas.hpp"

using namespace ops;
namespace cpu = maa::cpu;

namespace {

constexpr double epsilon = 1e-5;

struct Shape {
  Index batch, length, channels, groups;
};

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

std::vector<double> mish_of(std::vector<double> x) {
  for (double& value : x) {
    value = maa::kernels::activate(maa::Activation::mish, value);
  }
  return x;
}

}  // namespace

TEST_CASE("group norm in float keeps its accuracy far from zero") {
  const Backend backend(1);
  auto x = random<float>(2 * 2 * 256, 1);
  for (auto& value : x) {
    value += 1000;
  }
  const Shape s{2, 2, 256, 8};
  const std::vector<double> ones(256, 1.0);
  const std::vector<double> zeros(256, 0.0);
  const auto expected = mish_of(naive_group_norm(s, {x.begin(), x.end()}, ones, zeros));
  auto y = poisoned<float>(2 * 2 * 256);
  auto statistics = poisoned<float>(2 * 16);
  cpu::norm_mish_forward(backend, 8, epsilon, sequence(x, 2, 2, 256), nullptr, nullptr, {}, {},
                         sequence(y, 2, 2, 256).flat(), matrix(statistics, 2, 16));
  CHECK(difference(y, expected) < 5e-4);
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

namespace {

// norm_mish_forward and _backward with all their arguments; rows of y, residual and dy are strided.
template <class T>
struct Fused {
  Shape s;
  bool film, residual, affine = true;
  Index stride = s.channels + 5;
  std::vector<T> x = values(s.batch * s.length * s.channels, 1), gain = values(s.channels, 2),
                 bias = values(s.channels, 3), scale_bias = values(s.batch * 2 * s.channels, 4),
                 added = values(s.batch * s.length * stride, 5), dy = values(s.batch * s.length * stride, 6);
  std::vector<T> y = std::vector<T>(dy.size(), T(77));
  std::vector<T> statistics = poisoned<T>(s.batch * 2 * s.groups), dx = poisoned<T>(std::ssize(x)),
                 dscale_bias = poisoned<T>(film ? std::ssize(scale_bias) : 0);
  std::vector<T> dgain = std::vector<T>(gain.size(), T(0.5)), dbias = dgain, dx_sums = dgain;

  // The same numbers in float and double.
  static std::vector<T> values(Index size, std::uint64_t seed) {
    const auto floats = random<float>(size, seed);
    return {floats.begin(), floats.end()};
  }
  SequenceView<T> view(std::vector<T>& v) { return sequence(v, s.batch, s.length, s.channels); }
  MatrixView<T> rows(std::vector<T>& v) { return {v.data(), s.batch * s.length, s.channels, stride}; }
  MatrixView<T> moments() { return matrix(statistics, s.batch, 2 * s.groups); }
  MatrixView<T> modulation(std::vector<T>& v) {
    return film ? matrix(v, s.batch, 2 * s.channels) : MatrixView<T>();
  }
  static std::vector<T> dense(MatrixView<T> m) {
    std::vector<T> all;
    for (Index i = 0; i < m.rows; ++i) {
      all.insert(all.end(), m.row(i), m.row(i) + m.cols);
    }
    return all;
  }

  T* or_null(std::vector<T>& v) { return affine ? v.data() : nullptr; }

  void forward(const Backend& backend) {
    cpu::norm_mish_forward(backend, s.groups, epsilon, view(x), or_null(gain), or_null(bias),
                           modulation(scale_bias), residual ? rows(added) : MatrixView<T>(), rows(y),
                           moments());
  }
  void backward(const Backend& backend) {
    cpu::norm_mish_backward(backend, s.groups, view(x), moments(), or_null(gain), or_null(bias),
                            modulation(scale_bias), rows(dy), view(dx), modulation(dscale_bias),
                            or_null(dgain), or_null(dbias), dx_sums.data());
  }
  double output() { return dot(dense(rows(y)), dense(rows(dy))); }
};

// Odd channels and group sizes, shorter and longer than the ops' inner loops, one position and several; the
// last is worked on in several chunks.
constexpr Shape shapes[] = {{7, 1, 9, 3},  {1, 2, 8, 8},  {2, 3, 14, 2},     {2, 5, 33, 1},
                            {2, 1, 40, 1}, {3, 2, 24, 8}, {2, 5, 63, 3},     {4, 3, 150, 2},
                            {33, 2, 5, 5}, {7, 2, 99, 3}, {2, 1, 33 * 8, 8}, {33, 2, 8 * 132, 8}};

// Calls body(op): with film, residual, gain and bias and without.
template <class T, class Body>
void for_all_variants(Index largest, const Body& body) {
  for (const auto& s : shapes) {
    if (s.batch * s.length * s.channels > largest) {
      continue;
    }
    // Groups of two numbers are steep where those lie close together, which some of many do: only with gains.
    const bool steep = s.channels == s.groups && s.batch > 1;
    for (int variant = 0; variant < (steep ? 4 : 8); ++variant) {
      CAPTURE(s.channels);
      CAPTURE(s.groups);
      CAPTURE(variant);
      body(Fused<T>{s, (variant & 1) != 0, (variant & 2) != 0, (variant & 4) == 0});
    }
  }
}

}  // namespace

TEST_CASE("norm, Mish, FiLM and residual in one pass equal their definition") {
  const Backend backend(1);
  for_all_variants<double>(100000, [&](Fused<double> op) {
    op.forward(backend);
    const auto& s = op.s;
    const std::vector<double> ones(op.gain.size(), 1.0), zeros(op.gain.size(), 0.0);
    auto y = mish_of(naive_group_norm(s, op.x, op.affine ? op.gain : ones, op.affine ? op.bias : zeros));
    const auto rows = op.view(y).flat();
    for (Index i = 0; i < rows.rows; ++i) {
      for (Index c = 0; c < rows.cols; ++c) {
        if (op.film) {
          const auto modulation = op.modulation(op.scale_bias);
          rows(i, c) = modulation(i / s.length, c) * rows(i, c) + modulation(i / s.length, s.channels + c);
        }
        if (op.residual) {
          rows(i, c) += op.rows(op.added)(i, c);
        }
      }
    }
    CHECK(difference(op.dense(op.rows(op.y)), y) < 1e-13);
    for (Index i = 0; i < s.batch * s.length; ++i) {
      for (Index c = s.channels; c < op.stride; ++c) {
        REQUIRE(op.y[static_cast<std::size_t>(i * op.stride + c)] == 77);  // not touched between the rows
      }
    }
  });
}

TEST_CASE("norm, Mish, FiLM and residual in one pass: gradients") {
  const Backend backend(1);
  for_all_variants<double>(2000, [&](Fused<double> op) {
    if (op.x.size() > 500 && (op.film || op.residual)) {
      return;  // differences of a sum of so many numbers are too coarse
    }
    op.dgain.assign(op.gain.size(), 0.0);
    op.dbias = op.dgain;
    const auto output = [&] {
      op.forward(backend);
      return op.output();
    };
    output();
    op.backward(backend);
    check_gradient("x", op.x, op.dx, output);
    check_gradient("gain", op.gain, op.dgain, output);  // zero where there is none
    check_gradient("bias", op.bias, op.dbias, output);
    if (op.film) {
      check_gradient("scale and bias", op.scale_bias, op.dscale_bias, output);
    }
    auto dx_sums = std::vector<double>(op.gain.size(), 0.5);  // they accumulate
    cpu::add_column_sums(backend, op.view(op.dx).flat(), dx_sums.data());
    CHECK(difference(op.dx_sums, dx_sums) < 1e-12);
  });
}

TEST_CASE("norm, Mish, FiLM and residual in one pass: float kernels against double") {
  const Backend exact(1);
  for (const auto isa : test::supported_isas()) {
    CAPTURE(maa::kernels::name(isa));
    const Backend backend(1, isa);
    for_all_variants<float>(100000, [&](Fused<float> found) {
      Fused<double> expected{found.s, found.film, found.residual, found.affine};
      expected.forward(exact);
      expected.backward(exact);
      found.forward(backend);
      found.backward(backend);
      CHECK(difference(found.y, expected.y) < 1e-5);
      CHECK(difference(found.statistics, expected.statistics) < 1e-5);
      CHECK(difference(found.dx, expected.dx) < 3e-5);
      CHECK(difference(found.dscale_bias, expected.dscale_bias) < 1e-5);
      CHECK(difference(found.dgain, expected.dgain) < 1e-5);
      CHECK(difference(found.dbias, expected.dbias) < 1e-5);
      CHECK(difference(found.dx_sums, expected.dx_sums) < 1e-4);
    });
  }
}

TEST_CASE("norm, Mish, FiLM and residual in one pass: large inputs, and what may overlap") {
  for (const auto isa : test::supported_isas()) {
    CAPTURE(maa::kernels::name(isa));
    const Backend backend(1, isa);
    Fused<float> op{{7, 2, 66, 2}, true, true};
    for (auto& value : op.gain) {
      value *= 300;  // both ends of Mish
    }
    Fused<double> expected{op.s, true, true};
    expected.gain.assign(op.gain.begin(), op.gain.end());
    op.forward(backend);
    op.backward(backend);
    expected.forward(backend);
    expected.backward(backend);
    CHECK(difference(op.y, expected.y) < 2e-5);
    CHECK(difference(op.dx, expected.dx) < 1e-3);

    auto in_place = op.added;
    cpu::norm_mish_forward(backend, 2, epsilon, op.view(op.x), op.gain.data(), op.bias.data(),
                           op.modulation(op.scale_bias), op.rows(in_place), op.rows(in_place), op.moments());
    CHECK(op.dense(op.rows(in_place)) == op.dense(op.rows(op.y)));
    auto x = op.x;
    cpu::norm_mish_forward(backend, 2, epsilon, op.view(x), op.gain.data(), op.bias.data(),
                           op.modulation(op.scale_bias), op.rows(op.added), op.view(x).flat(), op.moments());
    CHECK(x == op.dense(op.rows(op.y)));
    auto dy = op.dense(op.rows(op.dy));
    cpu::norm_mish_backward(backend, 2, op.view(op.x), op.moments(), op.gain.data(), op.bias.data(),
                            op.modulation(op.scale_bias), op.view(dy).flat(), op.view(dy),
                            op.modulation(op.dscale_bias), nullptr, nullptr, nullptr);
    CHECK(dy == op.dx);
  }
}

TEST_CASE("norm, Mish, FiLM and residual in one pass do not depend on the number of threads") {
  for (const Index groups : {1, 8}) {
    check_threads([&](const Backend& backend) {
      Fused<float> op{{150, 2, 640, groups}, true, true};
      op.forward(backend);
      op.backward(backend);
      return joined({op.y, op.statistics, op.dx, op.dscale_bias, op.dgain, op.dbias, op.dx_sums});
    });
  }
}

TEST_CASE("column sums are added in order of the rows") {
  const Index rows = 9, stride = 150;
  const auto x = random<float>(rows * stride, 1);
  for (const Index cols : {1, 15, 16, 33, 64, 149}) {
    auto expected = random<float>(cols, 2);
    maa::kernels::reference::column_sums(x.data(), stride, rows, cols, expected.data());
    for (const auto isa : test::supported_isas()) {
      auto sums = random<float>(cols, 2);
      maa::kernels::norm_for(isa).column_sums(x.data(), stride, rows, cols, sums.data());
      CHECK(sums == expected);
    }
  }
}

TEST_CASE("norm errors name the op") {
  const Backend backend(1);
  std::vector<float> x(24), y(24), statistics(8);
  const auto view = sequence(x, 2, 3, 4);
  check_error("layer_norm_forward: y", [&] {
    cpu::layer_norm_forward(backend, epsilon, matrix(x, 4, 6), nullptr, nullptr, matrix(y, 6, 4),
                            matrix(statistics, 4, 2));
  });
  check_error("layer_norm_backward: dx", [&] {
    cpu::layer_norm_backward(backend, matrix(x, 4, 6), matrix(statistics, 4, 2), nullptr, matrix(y, 4, 6),
                             matrix(x, 6, 4), nullptr, nullptr);
  });
  check_error("norm_mish_forward: expected groups", [&] {
    cpu::norm_mish_forward(backend, 3, epsilon, view, nullptr, nullptr, {}, {}, matrix(y, 6, 4),
                           matrix(statistics, 2, 4));
  });
  check_error("norm_mish_forward: y: expected [6, 4], found [4, 6]", [&] {
    cpu::norm_mish_forward(backend, 2, epsilon, view, nullptr, nullptr, {}, {}, matrix(y, 4, 6),
                           matrix(statistics, 2, 4));
  });
  check_error("norm_mish_forward: scale_bias", [&] {
    cpu::norm_mish_forward(backend, 2, epsilon, view, nullptr, nullptr, matrix(statistics, 2, 4), {},
                           matrix(y, 6, 4), matrix(statistics, 2, 4));
  });
  check_error("norm_mish_forward: residual", [&] {
    cpu::norm_mish_forward(backend, 2, epsilon, view, nullptr, nullptr, {}, matrix(x, 12, 2), matrix(y, 6, 4),
                           matrix(statistics, 2, 4));
  });
  check_error("norm_mish_backward: dy", [&] {
    cpu::norm_mish_backward(backend, 2, view, matrix(statistics, 2, 4), nullptr, nullptr, {}, matrix(y, 4, 6),
                            sequence(x, 2, 3, 4), {}, nullptr, nullptr, nullptr);
  });
  check_error("norm_mish_backward: dscale_bias", [&] {
    std::vector<float> scale_bias(16);
    cpu::norm_mish_backward(backend, 2, view, matrix(statistics, 2, 4), nullptr, nullptr,
                            matrix(scale_bias, 2, 8), matrix(y, 6, 4), sequence(x, 2, 3, 4), {}, nullptr,
                            nullptr, nullptr);
  });
}
