// What the tests of the CPU ops share.
#pragma once

#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/testing/grad_check.hpp>

#include "errors.hpp"
#include "larger.hpp"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace ops {

using maa::Index;
using maa::MatrixView;
using maa::SequenceView;
using maa::Workspace;
using maa::cpu::Backend;
using test::check_error;

template <class T = double>
std::vector<T> random(Index size, std::uint64_t seed) {
  std::vector<T> values(static_cast<std::size_t>(size));
  maa::Rng(seed).fill_normal<T>(values);
  return values;
}

// A value no correct op leaves behind in what it overwrites.
template <class T = double>
std::vector<T> poisoned(Index size) {
  return std::vector<T>(static_cast<std::size_t>(size), std::numeric_limits<T>::quiet_NaN());
}

template <class T>
MatrixView<T> matrix(std::vector<T>& values, Index rows, Index cols) {
  REQUIRE(static_cast<Index>(values.size()) == rows * cols);
  return {values.data(), rows, cols};
}
template <class T>
SequenceView<T> sequence(std::vector<T>& values, Index batch, Index length, Index channels) {
  REQUIRE(static_cast<Index>(values.size()) == batch * length * channels);
  return {values.data(), batch, length, channels};
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

// Largest |a - b| / max(1, |b|); infinite if one of them is not a number.
template <class A, class B>
double difference(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(double(a[i]) - double(b[i])) / std::max(1.0, std::abs(double(b[i])));
    worst = test::larger(worst, error);
  }
  return worst;
}

// `gradient` of function() by `values` holds to a relative error of 1e-6.
template <class Function>
void check_gradient(const std::string& name, std::vector<double>& values, const std::vector<double>& gradient,
                    const Function& function) {
  const auto result = maa::grad_check(values, gradient, function);
  CAPTURE(name);
  CAPTURE(result.index);
  CAPTURE(result.analytic);
  CAPTURE(result.numeric);
  CHECK(result.checked == static_cast<Index>(values.size()));
  CHECK(result.worst_error <= 1e-6);
}

// run(backend) gives the same bits for any number of threads.
template <class Run>
void check_threads(const Run& run) {
  const std::vector<float> expected = run(Backend(1));
  REQUIRE(maa::first_nonfinite<const float>(expected) == -1);
  for (const int threads : {2, 4}) {
    const std::vector<float> found = run(Backend(threads));
    REQUIRE(found.size() == expected.size());
    CAPTURE(threads);
    CHECK(std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) == 0);
  }
}

template <class T>
std::vector<T> joined(std::initializer_list<std::vector<T>> parts) {
  std::vector<T> all;
  for (const auto& part : parts) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace ops
