// Cases (cases.hpp) on a CUDA device. The arithmetic of products is part of the name, behind the kind:
// sample/paper/1 in float, sample_tf32/paper/1, sample_bf16/paper/1 (weights and activations; sampling only).
#pragma once

#include "cases.hpp"

#include <maa/backend/cuda/ops.hpp>
#include <maa/cuda.hpp>
#include <maa/testing/emulated_device.hpp>

namespace bench {

struct DeviceOptions {
  bool emulated = false;  // a device that is not there, to try the programs
  bool tune = false;      // maa::cuda::Options::tune_products
};

inline maa::cuda::Backend open_device(const DeviceOptions& options, bool tf32) {
  const maa::cuda::Options wanted{.tf32 = tf32, .tune_products = options.tune};
  if (options.emulated) {
    return maa::cuda::Backend(std::make_unique<maa::testing::EmulatedDevice>(), wanted);
  }
  return maa::cuda::Backend(wanted);
}

struct DeviceName {
  std::string name;  // of the same case in float
  bool tf32 = false, bf16 = false;

  explicit DeviceName(const std::string& of) : name(of) {
    const auto slash = std::min(of.find('/'), of.size());
    const auto ends_with = [&](std::string_view end) {
      return slash >= end.size() && of.compare(slash - end.size(), end.size(), end) == 0;
    };
    constexpr std::string_view tf32_end = "_tf32", bf16_end = "_bf16";
    tf32 = ends_with(tf32_end);
    bf16 = ends_with(bf16_end);
    if (tf32 || bf16) {
      name.erase(slash - tf32_end.size(), tf32_end.size());  // as long as bf16_end
    }
  }
};

// On a device of its own, so that its memory goes with it. Null for a name that means nothing.
inline std::unique_ptr<Case> make_device_case(const std::string& name, const DeviceOptions& options) {
  const DeviceName meant(name);
  // What bf16 does not reach stays in float.
  return make_case_on(open_device(options, meant.tf32), split_name(meant.name),
                      meant.bf16 ? maa::Precision::bf16 : maa::Precision::fp32);
}

// How far results may be from those in float on another machine, relative to the largest.
inline double device_tolerance(const std::string& name) {
  const DeviceName meant(name);
  if (meant.name.starts_with("adamw/")) {
    return 1e-6;  // steps are small beside the weights
  }
  return meant.bf16 ? 0.15 : meant.tf32 ? 2e-2 : 5e-4;
}

}  // namespace bench
