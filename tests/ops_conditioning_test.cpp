// The embedding of timesteps, and the moving of matrices that puts conditions together.
#include "ops_helpers.hpp"

using namespace ops;
namespace cpu = maa::cpu;

TEST_CASE("the sinusoidal embedding has sines, then cosines, from frequency 1 to 1/10000") {
  const Backend backend(1);
  const std::vector<Index> timesteps{0, 1, 99, 99, 99, 5};
  auto y = poisoned(6 * 8);
  cpu::sinusoidal_embedding(backend, timesteps, matrix(y, 6, 8));
  const auto view = matrix(y, 6, 8);
  for (Index i = 0; i < 6; ++i) {
    const auto t = static_cast<double>(timesteps[static_cast<std::size_t>(i)]);
    CHECK(view(i, 0) == doctest::Approx(std::sin(t)));
    CHECK(view(i, 4) == doctest::Approx(std::cos(t)));
    CHECK(view(i, 3) == doctest::Approx(std::sin(t / 10000)));
    CHECK(view(i, 7) == doctest::Approx(std::cos(t / 10000)));
    CHECK(view(i, 1) == doctest::Approx(std::sin(t / std::cbrt(10000.0))));
    CHECK(view(i, 6) == doctest::Approx(std::cos(t / std::pow(10000.0, 2.0 / 3))));
  }
}

TEST_CASE("the sinusoidal embedding does not depend on the number of threads") {
  check_threads([](const Backend& backend) {
    std::vector<Index> timesteps(100);
    for (std::size_t i = 0; i < timesteps.size(); ++i) {
      timesteps[i] = static_cast<Index>(i / 3);
    }
    auto y = poisoned<float>(100 * 128);
    cpu::sinusoidal_embedding(backend, timesteps, matrix(y, 100, 128));
    return y;
  });
}

TEST_CASE_TEMPLATE("parts of matrices are copied, added and cleared, nothing beside them", T, float, double) {
  const Backend backend(2);
  const Index stride = 340;  // several tasks
  for (const Index cols : {1, 15, 33, 337}) {
    const Index rows = 800;
    CAPTURE(cols);
    auto from = random<T>(rows * stride, 1);
    const auto before = random<T>(rows * stride, 2);
    const MatrixView<const T> source(from.data() + 1, rows, cols, stride);
    const auto check = [&](const auto& op, const auto& expected) {
      auto to = before;
      op(MatrixView<T>(to.data() + 2, rows, cols, stride));
      Index wrong = 0;
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < stride; ++j) {
          const T was = before[static_cast<std::size_t>(i * stride + j)];
          const bool inside = j >= 2 && j < 2 + cols;
          wrong += to[static_cast<std::size_t>(i * stride + j)] != (inside ? expected(was, i, j - 2) : was);
        }
      }
      CHECK(wrong == 0);
    };
    check([&](auto to) { cpu::copy_matrix(backend, source, to); },
          [&](T, Index i, Index j) { return source(i, j); });
    check([&](auto to) { cpu::add_matrix(backend, source, to); },
          [&](T was, Index i, Index j) { return was + source(i, j); });
    check([&](auto to) { cpu::fill_zero(backend, to); }, [](T, Index, Index) { return T(0); });
  }
}

TEST_CASE("conditioning errors name the op") {
  const Backend backend(1);
  const std::vector<Index> timesteps{1, 2};
  std::vector<float> y(24);
  check_error("sinusoidal_embedding: y",
              [&] { cpu::sinusoidal_embedding(backend, timesteps, matrix(y, 3, 8)); });
  check_error("sinusoidal_embedding: expected an even dimension", [&] {
    std::vector<float> odd(10);
    cpu::sinusoidal_embedding(backend, timesteps, matrix(odd, 2, 5));
  });
}
