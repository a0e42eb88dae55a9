// AdamW, its moving average and the gradient norm, on every instruction set.
#include <maa/backend/cpu/optimizer.hpp>

#include <doctest/doctest.h>

#include <maa/core/rng.hpp>

#include "larger.hpp"
#include "supported_isas.hpp"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

using namespace maa::cpu;

template <class T>
struct State {
  std::vector<T> w, m, v, ema;

  explicit State(std::size_t size) : w(size), m(size), v(size), ema(size) {
    maa::Rng(1).fill_normal<T>(w);
    ema = w;
  }
};

template <class T>
std::vector<T> gradients(std::size_t size, int step) {
  std::vector<T> g(size);
  maa::Rng(100 + static_cast<std::uint64_t>(step)).fill_normal<T>(g, 0.1);
  g[0] = T(0);
  return g;
}

// The order of operations of PyTorch's documentation, in double.
void direct_step(const maa::AdamWStep& s, State<double>& state, const std::vector<double>& gradient) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = gradient[i] * s.gradient_scale;
    state.w[i] -= s.learning_rate * s.weight_decay * state.w[i];
    state.m[i] = s.beta1 * state.m[i] + (1 - s.beta1) * g;
    state.v[i] = s.beta2 * state.v[i] + (1 - s.beta2) * g * g;
    const double m_hat = state.m[i] / (1 - std::pow(s.beta1, static_cast<double>(s.step)));
    const double v_hat = state.v[i] / (1 - std::pow(s.beta2, static_cast<double>(s.step)));
    state.w[i] -= s.learning_rate * m_hat / (std::sqrt(v_hat) + s.epsilon);
    state.ema[i] = s.ema_decay * state.ema[i] + (1 - s.ema_decay) * state.w[i];
  }
}

template <class T>
void check_steps(const Backend& backend, double tolerance) {
  for (const std::size_t size : {1u, 7u, 16u, 33u, 1000u}) {
    State<T> state(size);
    State<double> exact(size);
    exact.w.assign(state.w.begin(), state.w.end());
    exact.ema = exact.w;
    maa::AdamWStep step{.learning_rate = 3e-3,
                        .epsilon = 1e-6,
                        .weight_decay = 0.02,
                        .gradient_scale = 0.7,
                        .ema_decay = 0.9};
    for (step.step = 1; step.step <= 20; ++step.step) {
      const auto g = gradients<T>(size, static_cast<int>(step.step));
      adamw(backend, step, std::span(state.w), g, state.m, state.v, state.ema);
      direct_step(step, exact, {g.begin(), g.end()});
    }
    double worst = 0;
    for (std::size_t i = 0; i < size; ++i) {
      for (const auto& [found, expected] :
           {std::pair{state.w[i], exact.w[i]}, std::pair{state.ema[i], exact.ema[i]},
            std::pair{state.m[i], exact.m[i]}, std::pair{state.v[i], exact.v[i]}}) {
        worst = test::larger(worst, std::abs(static_cast<double>(found) - expected));
      }
    }
    CHECK(worst < tolerance);
  }
}

TEST_CASE("AdamW follows PyTorch's formula") {
  for (const auto isa : test::supported_isas()) {
    CAPTURE(maa::kernels::name(isa));
    check_steps<float>(Backend(1, isa), 3e-6);
  }
  check_steps<double>(Backend(1), 1e-13);
}

TEST_CASE("without an average the last span may be empty and nothing else changes") {
  for (const auto isa : test::supported_isas()) {
    const Backend backend(1, isa);
    State<float> with(45), without(45);
    const auto g = gradients<float>(45, 1);
    adamw(backend, {.ema_decay = 0.5}, std::span(with.w), g, with.m, with.v, with.ema);
    adamw(backend, {}, std::span(without.w), g, without.m, without.v, {});
    CHECK(with.w == without.w);
    CHECK(with.v == without.v);
    CHECK(with.ema != without.ema);
  }
}

TEST_CASE("the bits of a step and of the norm do not depend on the number of threads") {
  for (const auto isa : test::supported_isas()) {
    const std::size_t size = 200003;
    State<float> one(size);
    const auto g = gradients<float>(size, 1);
    adamw(Backend(1, isa), {.ema_decay = 0.9}, std::span(one.w), g, one.m, one.v, one.ema);
    const double norm = sum_of_squares(Backend(1, isa), std::span(g));
    for (const int threads : {2, 4}) {
      const Backend backend(threads, isa);
      State<float> many(size);
      adamw(backend, {.ema_decay = 0.9}, std::span(many.w), g, many.m, many.v, many.ema);
      CHECK(std::memcmp(many.w.data(), one.w.data(), size * sizeof(float)) == 0);
      CHECK(std::memcmp(many.ema.data(), one.ema.data(), size * sizeof(float)) == 0);
      CHECK(sum_of_squares(backend, std::span(g)) == norm);
    }
    double direct = 0;
    for (const float x : g) {
      direct += static_cast<double>(x) * static_cast<double>(x);
    }
    CHECK(norm == doctest::Approx(direct).epsilon(1e-12));
    CHECK(sum_of_squares(Backend(1, isa), std::span(g).first(5)) == doctest::Approx([&] {
            double s = 0;
            for (int i = 0; i < 5; ++i) s += std::pow(static_cast<double>(g[static_cast<std::size_t>(i)]), 2);
            return s;
          }()));
  }
}

TEST_CASE("wrong sizes and step numbers are refused before anything changes") {
  const Backend backend(1);
  State<float> state(10);
  const auto before = state.w;
  const auto g = gradients<float>(10, 1);
  CHECK_THROWS_AS(adamw(backend, {}, std::span(state.w), std::span(g).first(9), state.m, state.v, {}),
                  maa::Error);
  CHECK_THROWS_AS(adamw(backend, {.ema_decay = 0.9}, std::span(state.w), g, state.m, state.v, {}),
                  maa::Error);
  CHECK_THROWS_AS(adamw(backend, {.step = 0}, std::span(state.w), g, state.m, state.v, {}), maa::Error);
  CHECK(state.w == before);
}

}  // namespace
