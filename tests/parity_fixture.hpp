// Reference values made by fixtures/make_fixtures.py, and how results are compared with them.
//
// A difference counts relative to the largest magnitude of its tensor. The fixtures are float64 results
// rounded to float32; computed in double, everything agrees to that rounding.
#pragma once

#include <doctest/doctest.h>
#include <maa/backend/cpu/backend.hpp>
#include <maa/core/describe.hpp>
#include <maa/io/parameters.hpp>
#include <maa/io/safetensors.hpp>

#include <cmath>
#include <string>

namespace parity {

using maa::Buffer;
using maa::Index;
using maa::MatrixView;
using maa::SequenceView;

constexpr double stored_rounding = 1.2e-7;

template <class T>
constexpr double within(double float_tolerance) {
  return std::is_same_v<T, double> ? stored_rounding : float_tolerance;
}
template <class T>
constexpr double forward_tolerance = within<T>(2e-6);
template <class T>
constexpr double gradient_tolerance = within<T>(1e-5);

// A tensor with its own numbers and shape.
template <class T>
struct Tensor {
  std::vector<Index> shape;
  Buffer<T> values;

  Tensor(std::vector<Index> shape_, Buffer<T> values_)
      : shape(std::move(shape_)), values(std::move(values_)) {}
  Index dim(std::size_t axis) const { return shape.at(axis); }
  MatrixView<const T> matrix() const { return {values.data(), dim(0), dim(1)}; }
  MatrixView<T> matrix() { return {values.data(), dim(0), dim(1)}; }
  SequenceView<const T> sequence() const { return {values.data(), dim(0), dim(1), dim(2)}; }
  SequenceView<T> sequence() { return {values.data(), dim(0), dim(1), dim(2)}; }
  const T* data() const { return values.data(); }
  T* data() { return values.data(); }
  std::span<const T> span() const { return values.span(); }
  std::span<T> span() { return values.span(); }
};

class Fixture {
 public:
  explicit Fixture(const std::string& name)
      : reader_(std::string(MAA_TEST_DATA) + "/" + name + ".safetensors") {}

  const maa::SafetensorsReader& reader() const { return reader_; }

  template <class T>
  Tensor<T> read(const std::string& name) const {
    return {reader_.info(name).shape, reader_.read<T>(name)};
  }
  double scalar(const std::string& name) const { return reader_.read<double>(name)[0]; }
  // Whole numbers.
  std::vector<Index> indices(const std::string& name) const {
    std::vector<Index> result;
    for (const double value : reader_.read<double>(name)) {
      result.push_back(std::llround(value));
    }
    return result;
  }
  // Zeros in the shape of a tensor: room for a result.
  template <class T>
  Tensor<T> like(const std::string& name) const {
    const auto shape = reader_.info(name).shape;
    Index size = 1;
    for (const auto dim : shape) {
      size *= dim;
    }
    return {shape, Buffer<T>(size)};
  }
  // A convolution's weight in memory order.
  template <class T>
  Tensor<T> read_taps_first(const std::string& name) const {
    auto tensor = like<T>(name);
    maa::read_parameters(
        reader_,
        {{name, tensor.shape, 0, tensor.values.size(), {}, maa::Role::weight, maa::Order::taps_first}},
        tensor.span());
    return tensor;
  }
  // The flat parameter array of a model whose tensors are named with this prefix.
  template <class Model, class T>
  Buffer<T> parameters(const std::string& prefix) const {
    Buffer<T> values(maa::parameter_count<Model>);
    maa::read_parameters(reader_, maa::tensors_of<Model>(prefix), values.span());
    return values;
  }

 private:
  maa::SafetensorsReader reader_;
};

inline void check_close(const std::string& name, double found, double expected, double tolerance) {
  CHECK_MESSAGE(std::abs(found - expected) <= tolerance * std::abs(expected), name, ": found ", found,
                ", expected ", expected);
}

template <class T>
double largest(std::span<const T> values) {
  double result = 0;
  for (const auto value : values) {
    result = std::max(result, std::abs(static_cast<double>(value)));
  }
  return result;
}

// Differences count relative to `scale`.
template <class T>
void check_close(const std::string& name, std::span<const T> found, std::span<const T> expected,
                 double tolerance, double scale) {
  REQUIRE_MESSAGE(found.size() == expected.size(), name);
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double difference = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    worst = std::isfinite(difference) ? std::max(worst, difference) : INFINITY;
  }
  CHECK_MESSAGE(worst <= tolerance * scale, name, ": difference ", worst / scale, " relative to ", scale,
                ", expected at most ", tolerance);
}
template <class T>
void check_close(const std::string& name, std::span<const T> found, std::span<const T> expected,
                 double tolerance) {
  check_close<T>(name, found, expected, tolerance, largest(expected));
}
template <class T>
void check_close(const std::string& name, const Tensor<T>& found, const Tensor<T>& expected,
                 double tolerance) {
  check_close<T>(name, found.span(), expected.span(), tolerance);
}
template <class T>
void check_close(const Fixture& fixture, const std::string& name, std::span<T> found, double tolerance) {
  check_close<std::remove_const_t<T>>(name, found, fixture.read<std::remove_const_t<T>>(name).span(),
                                      tolerance);
}
template <class T>
void check_close(const Fixture& fixture, const std::string& name, const Tensor<T>& found, double tolerance) {
  check_close<T>(name, found, fixture.read<T>(name), tolerance);
}

// Every tensor of a model, each by its own scale. A tensor that is zero but for rounding (as the gradient of
// a bias that softmax ignores) counts by the largest scale of all.
template <class Model, class T>
void check_parameters(const Fixture& fixture, const std::string& prefix, const Buffer<T>& found,
                      double tolerance) {
  const auto expected = fixture.parameters<Model, T>(prefix);
  const double all = largest<T>(expected.span());
  for (const auto& tensor : maa::tensors_of<Model>(prefix)) {
    const auto part = [&](const Buffer<T>& values) {
      return values.span().subspan(static_cast<std::size_t>(tensor.offset),
                                   static_cast<std::size_t>(tensor.size));
    };
    const double own = largest<T>(part(expected));
    check_close<T>(tensor.name, part(found), part(expected), tolerance, own > 1e-12 * all ? own : all);
  }
}

}  // namespace parity
