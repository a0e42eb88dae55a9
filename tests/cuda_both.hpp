// The same numbers on the device and, in double, on the host, and one call of an op for both.
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
  // One row.
  Both(const maa::cuda::Backend& backend, std::vector<float> values)
      : Both(backend, 1, std::ssize(values), 0, values) {}
  // Rows of `cols` random numbers, with `gap` others between them.
  Both(const maa::cuda::Backend& backend, maa::Index rows_, maa::Index cols_, std::uint64_t seed,
       maa::Index gap = 0)
      : Both(backend, rows_, cols_, gap, numbers(rows_ * (cols_ + gap), seed)) {}
  Both(const maa::cuda::Backend& backend, maa::Index rows_, maa::Index cols_, maa::Index gap,
       const std::vector<float>& values)
      : rows(rows_), cols(cols_), device(backend, rows_, cols_ + gap, values), host(widened(values)) {
    host.reserve(1);  // empty, but with data
  }
  // The largest difference, relative to the numbers' size where that is above 1. Gaps must be equal.
  double error() const { return ops::difference(device.values(), host); }

  maa::Index rows, cols;
  DeviceMatrix device;
  std::vector<double> host;
};

// What an op takes of one side; without data if it is not `wanted`.
struct OnHost {
  double* data(Both& of, bool wanted = true) const { return wanted ? of.host.data() : nullptr; }
  maa::MatrixView<double> matrix(Both& of, bool wanted = true) const {
    const auto width = of.rows == 0 ? of.cols : std::ssize(of.host) / of.rows;
    return wanted ? maa::MatrixView<double>(of.host.data(), of.rows, of.cols, width)
                  : maa::MatrixView<double>();
  }
  maa::SequenceView<double> sequence(Both& of, maa::Index batch, maa::Index length, maa::Index channels,
                                     bool wanted = true) const {
    return wanted ? ops::sequence(of.host, batch, length, channels) : maa::SequenceView<double>();
  }
};
struct OnDevice {
  maa::cuda::Real* data(Both& of, bool wanted = true) const { return wanted ? of.device.data() : nullptr; }
  maa::cuda::Out matrix(Both& of, bool wanted = true) const {
    return wanted ? of.device.view().col_range(0, of.cols) : maa::cuda::Out();
  }
  maa::cuda::OutSeq sequence(Both& of, maa::Index batch, maa::Index length, maa::Index channels,
                             bool wanted = true) const {
    return wanted ? maa::cuda::OutSeq(of.device.data(), batch, length, channels) : maa::cuda::OutSeq();
  }
};

// run(backend, side) on the device and on the host.
template <class Run>
void on_both(const maa::cuda::Backend& device, const Run& run) {
  run(device, OnDevice());
  run(maa::cpu::Backend(1), OnHost());
}
