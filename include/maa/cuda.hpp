// The CUDA backend, for programs that link maa::cuda: maa::cuda::Backend({.device = 0}) opens the machine's device.
// Needs the CUDA toolkit's headers and libraries, but no compiler of CUDA's: kernels are compiled when the device is
// opened, and kept.
#pragma once

#include <maa/backend/cuda/cuda_driver.hpp>
#include <maa/backend/cuda/ops.hpp>
