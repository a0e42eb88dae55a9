// What tests tell the functions of fake_cuda.cpp, and learn from them.
#pragma once

#include <maa/backend/cuda/kernels.cuh>

#include <cublasLt.h>
#include <driver_types.h>

#include <vector>

namespace fake {

struct State {
  int devices = 1;  // negative: no driver
  int capability = 90;
  std::vector<const maa::cuda::KernelInfo*> kernels;  // that the loaded library has

  long fail_at = -1;  // this call fails
  std::vector<const char*> calls;
  int sticky = 0;  // an error that every call returns

  int device = 0;
  cudaError_t last = cudaSuccess;
  long handles = 0;  // not given back, with blocks of memory
  int tried_algorithm = 0;
  int last_algorithm = 0;
  int last_compute = 0;

  void fail(long call) {
    calls.clear();
    fail_at = call;
  }
};
extern State state;

}  // namespace fake
