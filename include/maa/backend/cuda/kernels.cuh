// All kernels of the CUDA backend. One text for three compilers: NVRTC when a device is opened (kernels_text.hpp holds
// this file and those it includes as a string), nvcc ahead of time, and the host's, for which every kernel is a loop
// that tests run.
//
// A kernel is a function body(i, arguments) of one element, or body(block, b, arguments) of the block of threads b,
// with arguments in a struct of plain numbers and addresses. There are no atomics: sums have one order, so results
// repeat bit by bit. No header of the standard library may be included for the device.
#if defined(__CUDACC__)

using size_t = decltype(sizeof(0));
#define MAA_DEVICE __device__ inline

#else
#pragma once

#include <maa/backend/cuda/command.hpp>

#include <math.h>

#define MAA_DEVICE inline
MAA_NAMESPACE_BEGIN
namespace cuda {

#endif

namespace kernels {

#include "kernels/block.cuh"

#include "kernels/matrix.cuh"
#include "kernels/elementwise.cuh"
#include "kernels/norm.cuh"
#include "kernels/losses.cuh"
#include "kernels/optimizer.cuh"
#include "kernels/random.cuh"
#include "kernels/rows.cuh"
#include "kernels/products.cuh"
#include "kernels/policy_batch.cuh"
#include "kernels/ridge.cuh"

}  // namespace kernels

#if !defined(__CUDACC__)
}  // namespace cuda
MAA_NAMESPACE_END
#endif
#undef MAA_DEVICE
#undef MAA_PER_ELEMENT
#undef MAA_PER_BLOCK
