// The same numbers on the device and, in double, on the host.
#pragma once

#include "cuda_device.hpp"
#include "ops_helpers.hpp"

inline std::vector<float> numbers(maa::Index count, std::uint64_t seed) {
  return ops::random<float>(count, seed);
}
inline std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

struct Both {
  Both(const maa::cuda::Backend& backend, std::vector<float> values)
      : device(backend, 1, static_cast<maa::Index>(values.size()), values), host(widened(values)) {
    host.reserve(1);  // empty, but with data
  }
  double error() const { return ops::difference(device.values(), host); }
  maa::cuda::OutSeq on_device(maa::Index batch, maa::Index length, maa::Index channels) {
    return {device.data(), batch, length, channels};
  }
  maa::SequenceView<double> on_host(maa::Index batch, maa::Index length, maa::Index channels) {
    return ops::sequence(host, batch, length, channels);
  }

  DeviceMatrix device;
  std::vector<double> host;
};
