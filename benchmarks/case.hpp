// What all cases (cases.hpp) have in common. Cases that also run on a device are templates over the backend.
#pragma once

#include "calibration.hpp"

#include <maa/backend/cpu.hpp>
#include <maa/core/describe.hpp>
#include <maa/io/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace bench {

using maa::Buffer;
using maa::MatrixView;
using maa::Rng;
using maa::SequenceView;
using maa::Workspace;
using maa::cpu::Backend;

// What one run cannot do without. Arithmetic counts each convolution of length 2 as three products.
struct Work {
  double flops = 0;
  double read = 0;     // bytes read and not written
  double updated = 0;  // bytes read plus bytes written where both happen

  // Seconds on a machine that reaches its limits.
  double floor(const Limits& limits) const {
    const double memory = read / limits.read + updated / limits.update;
    return limits.flops > 0 ? std::max(flops / limits.flops, memory) : memory;
  }
};

class Case {
 public:
  Case() = default;
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
  virtual ~Case() = default;

  // Returns when all is done, also on a device.
  virtual void run() = 0;
  virtual Work work() const = 0;
  // Inputs and sizes for a peer, which must live until the file is written.
  virtual void write_inputs(maa::SafetensorsWriter&) {}
  virtual void write_weights(maa::SafetensorsWriter&) {}
  // What a peer must reproduce: numbers left by runs_to_check() runs of a fresh case.
  virtual std::vector<float> outcome() const { return {}; }
  virtual int runs_to_check() const { return 1; }
};

inline std::vector<float> to_vector(std::span<const float> values) {
  return {values.begin(), values.end()};
}
inline Buffer<float> normal_numbers(std::uint64_t seed, Index count, double deviation = 1) {
  Buffer<float> values(count);
  Rng(seed).fill_normal(values.span(), deviation);
  return values;
}

template <class Model>
Buffer<float> initial_weights() {
  Buffer<float> values(maa::parameter_count<Model>);
  maa::initialize<Model>(values.span(), Rng(1));
  return values;
}

// The parts of a name between its slashes.
inline std::vector<std::string> split_name(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Largest difference over the largest number expected.
inline double relative_difference(std::span<const float> found, std::span<const float> expected) {
  maa::require(found.size() == expected.size(), "peer: expected ", expected.size(), " results, found ",
               found.size());
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference =
        std::max(difference, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return maa::first_nonfinite(found) >= 0 ? std::numeric_limits<double>::infinity() : difference / largest;
}

// Numbers that the host keeps, for peers, and that ops can read.
template <class BackendT>
class Input {
 public:
  using Real = typename BackendT::template Element<float>;

  Input(const BackendT& backend, Buffer<float> values)
      : host_(std::move(values)), here_(backend, std::as_const(host_).span()) {}
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  const Buffer<float>& host() const { return host_; }
  std::span<const Real> span() const { return here_.span(); }
  MatrixView<const Real> matrix(Index rows) const {
    return {here_.span().data(), rows, rows > 0 ? host_.size() / rows : 0};
  }
  SequenceView<const Real> sequence(Index batch, Index length) const {
    const Index rows = batch * length;
    return {here_.span().data(), batch, length, rows > 0 ? host_.size() / rows : 0};
  }

 private:
  Buffer<float> host_;
  typename BackendT::template Constants<float> here_;
};

// The numbers where the host can read them.
template <class BackendT>
std::vector<float> downloaded_vector(const BackendT& backend,
                                     std::span<const typename BackendT::template Element<float>> values) {
  std::vector<float> result(values.size());
  download(backend, values, std::span<float>(result));
  return result;
}

// A device, which one thread at a time uses, for a run. Nothing on the CPU: single ops are measured as they
// are.
template <class BackendT>
auto hold(const BackendT& backend) {
  if constexpr (maa::in_host_memory<BackendT>) {
    return 0;
  } else {
    return backend.session();
  }
}
// How often a case runs before its results are looked at, if they are the same each time: on a device until
// its commands run as a graph, as they do when they are timed.
template <class BackendT>
inline constexpr int settled_runs = maa::in_host_memory<BackendT> ? 1 : 3;
// Waits until a device has done everything.
template <class BackendT>
void finish(const BackendT& backend) {
  if constexpr (!maa::in_host_memory<BackendT>) {
    backend.context().flush();
    backend.context().synchronize();
  }
}

}  // namespace bench
