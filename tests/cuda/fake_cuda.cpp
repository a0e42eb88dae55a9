// The functions of the CUDA runtime and of cuBLASLt that CudaDriver calls, on the host: memory is the host's,
// kernels are those of kernels.cuh as loops, products follow the descriptors in cuBLASLt's own terms (columns
// first). Errors come where a test asks for them. Linked in place of the libraries.
#include "fake_cuda.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

namespace fake {

State state;

namespace {

// Counts a call and says whether it is to fail.
bool fails(const char* name) {
  state.calls.push_back(name);
  return state.fail_at >= 0 && static_cast<long>(state.calls.size()) - 1 == state.fail_at;
}

cudaError_t result_of(const char* name, cudaError_t error) {
  if (state.sticky != 0) {
    return state.last = static_cast<cudaError_t>(state.sticky), static_cast<cudaError_t>(state.sticky);
  }
  if (fails(name)) {
    state.last = error;
    return error;
  }
  return cudaSuccess;
}

struct Graph {
  std::vector<std::function<void()>> work;
};
Graph* capturing = nullptr;

void work(std::function<void()> what) {
  if (capturing != nullptr) {
    capturing->work.push_back(std::move(what));
  } else {
    what();
  }
}

struct Layout {
  cudaDataType type;
  std::uint64_t rows, cols;
  std::int64_t ld;
  std::int32_t batch = 1;
  std::int64_t distance = 0;

  double at(const void* data, std::int64_t b, std::uint64_t i, std::uint64_t j) const {
    const auto place = static_cast<std::size_t>(b * distance + static_cast<std::int64_t>(j) * ld) + i;
    if (type == CUDA_R_32F) {
      return static_cast<double>(static_cast<const float*>(data)[place]);
    }
    const std::uint32_t bits = std::uint32_t{static_cast<const std::uint16_t*>(data)[place]} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<double>(value);
  }
};
struct Product {
  cublasComputeType_t compute;
  cublasOperation_t transposed[2] = {CUBLAS_OP_N, CUBLAS_OP_N};
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};

template <class To, class From>
To as(From from) {
  return reinterpret_cast<To>(from);
}

}  // namespace
}  // namespace fake

using namespace fake;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = state.devices;
  return state.devices < 0    ? cudaErrorInsufficientDriver
         : state.devices == 0 ? cudaErrorNoDevice
                              : cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = state.devices < 0 ? 0 : 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = cudaDeviceProp();
  std::strcpy(properties->name, "Fake");
  properties->major = state.capability / 10;
  properties->minor = state.capability % 10;
  return result_of("cudaGetDeviceProperties", cudaErrorUnknown);
}
cudaError_t cudaGetDevice(int* device) {
  return *device = state.device, cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return state.device = device, cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return std::exchange(state.last, static_cast<cudaError_t>(state.sticky));
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
         : error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress"
                                            : "cudaErrorSomething";
}
const char* cudaGetErrorString(cudaError_t) {
  return "in words";
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  ++state.handles;
  *stream = as<cudaStream_t>(new int);
  return result_of("cudaStreamCreateWithFlags", cudaErrorUnknown);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  --state.handles;
  delete as<int*>(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return result_of("cudaStreamSynchronize", cudaErrorIllegalAddress);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  const auto result = result_of("cudaStreamBeginCapture", cudaErrorUnknown);
  if (result == cudaSuccess) {
    if (capturing != nullptr) {
      std::abort();  // a capture was not ended
    }
    capturing = new Graph;
    ++state.handles;
  }
  return result;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = as<cudaGraph_t>(std::exchange(capturing, nullptr));
  return result_of("cudaStreamEndCapture", cudaErrorUnknown);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const auto result = result_of("cudaGraphInstantiate", cudaErrorMemoryAllocation);
  if (result == cudaSuccess) {
    *executable = as<cudaGraphExec_t>(new Graph(*as<Graph*>(graph)));
    ++state.handles;
  }
  return result;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  const auto result = result_of("cudaGraphLaunch", cudaErrorUnknown);
  if (result == cudaSuccess) {
    for (const auto& what : as<Graph*>(graph)->work) {
      what();
    }
  }
  return result;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  --state.handles;
  delete as<Graph*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  --state.handles;
  delete as<Graph*>(graph);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  ++state.handles;
  *event = as<cudaEvent_t>(new int);
  return result_of("cudaEventCreate", cudaErrorUnknown);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  --state.handles;
  delete as<int*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return result_of("cudaEventRecord", cudaErrorUnknown);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return result_of("cudaEventSynchronize", cudaErrorUnknown);
}
cudaError_t cudaEventElapsedTime(float* time, cudaEvent_t, cudaEvent_t) {
  *time = state.tried_algorithm == 2 ? 1.0f : 2.0f;  // the third proposal is the fastest
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const auto result = result_of("cudaMalloc", cudaErrorMemoryAllocation);
  if (result == cudaSuccess) {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0x7f, std::min(bytes, std::size_t{1} << 16));  // not zero
    ++state.handles;
  }
  return result;
}
cudaError_t cudaFree(void* memory) {
  state.handles -= memory != nullptr;
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  const auto result = result_of("cudaHostAlloc", cudaErrorMemoryAllocation);
  if (result == cudaSuccess) {
    *memory = std::malloc(bytes);
    ++state.handles;
  }
  return result;
}
cudaError_t cudaFreeHost(void* memory) {
  return cudaFree(memory);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = std::size_t{3} << 20;
  *total = std::size_t{8} << 20;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  const auto result = result_of("cudaMemcpyAsync", cudaErrorUnknown);
  if (result == cudaSuccess) {
    work([=] { std::memcpy(to, from, bytes); });
  }
  return result;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  const auto result = result_of("cudaMemsetAsync", cudaErrorUnknown);
  if (result == cudaSuccess) {
    work([=] { std::memset(to, value, bytes); });
  }
  return result;
}

cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void*, cudaJitOption*, void**, unsigned,
                                cudaLibraryOption*, void**, unsigned) {
  const auto result = result_of("cudaLibraryLoadData", cudaErrorNoKernelImageForDevice);
  if (result == cudaSuccess) {
    *library = as<cudaLibrary_t>(new int);
    ++state.handles;
  }
  return result;
}
cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  --state.handles;
  delete as<int*>(library);
  return cudaSuccess;
}
cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t, const char* name) {
  const auto found = std::find_if(state.kernels.begin(), state.kernels.end(),
                                  [&](const auto* known) { return std::strcmp(known->name, name) == 0; });
  const auto result = result_of("cudaLibraryGetKernel", cudaErrorSymbolNotFound);
  if (result != cudaSuccess || found == state.kernels.end()) {
    return cudaErrorSymbolNotFound;
  }
  *kernel = as<cudaKernel_t>(const_cast<maa::cuda::KernelInfo*>(*found));
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t,
                             cudaStream_t) {
  const auto result = result_of("cudaLaunchKernel", cudaErrorLaunchOutOfResources);
  if (result != cudaSuccess) {
    return result;
  }
  const auto* kernel = static_cast<const maa::cuda::KernelInfo*>(function);
  const auto count = *static_cast<long long*>(arguments[1]);
  // Only what the grid covers is computed.
  const long long covered = kernel->per_block ? grid.x : static_cast<long long>(grid.x) * block.x;
  std::vector<unsigned char> copy(maa::cuda::Launch::capacity);
  std::memcpy(copy.data(), arguments[0], copy.size());
  work([=] { kernel->emulate(std::min(count, covered), copy.data()); });
  return cudaSuccess;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (fails("cublasLtCreate")) {
    return CUBLAS_STATUS_ALLOC_FAILED;
  }
  ++state.handles;
  *handle = as<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  --state.handles;
  delete as<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusName(cublasStatus_t) {
  return "CUBLAS_STATUS_SOMETHING";
}
const char* cublasLtGetStatusString(cublasStatus_t) {
  return "in words";
}

// Descriptors: the header's functions initialise memory of their own, so ours keep a pointer in it.
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* descriptor, cublasComputeType_t compute,
                                        cudaDataType_t) {
  if (fails("cublasLtMatmulDescCreate")) {
    return CUBLAS_STATUS_ALLOC_FAILED;
  }
  ++state.handles;
  *descriptor = as<cublasLtMatmulDesc_t>(new fake::Product{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t descriptor) {
  --state.handles;
  delete as<fake::Product*>(descriptor);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t descriptor,
                                              cublasLtMatmulDescAttributes_t what, const void* value,
                                              std::size_t size) {
  auto& product = *as<fake::Product*>(descriptor);
  switch (what) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      std::memcpy(&product.transposed[0], value, size);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      std::memcpy(&product.transposed[1], value, size);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      std::memcpy(&product.epilogue, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      std::memcpy(&product.bias, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      break;
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  return fails("cublasLtMatmulDescSetAttribute") ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t cols, std::int64_t ld) {
  if (fails("cublasLtMatrixLayoutCreate") || ld < static_cast<std::int64_t>(rows)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  ++state.handles;
  *layout = as<cublasLtMatrixLayout_t>(new Layout{type, rows, cols, ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  --state.handles;
  delete as<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t what, const void* value,
                                                std::size_t size) {
  auto& of = *as<Layout*>(layout);
  if (what == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && size == sizeof of.batch) {
    std::memcpy(&of.batch, value, size);
  } else if (what == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && size == sizeof of.distance) {
    std::memcpy(&of.distance, value, size);
  } else {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return fails("cublasLtMatrixLayoutSetAttribute") ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  if (fails("cublasLtMatmulPreferenceCreate")) {
    return CUBLAS_STATUS_ALLOC_FAILED;
  }
  ++state.handles;
  *preference = as<cublasLtMatmulPreference_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  --state.handles;
  delete as<int*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t what, const void*,
                                                    std::size_t size) {
  const std::size_t expected = what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4;
  return size != expected || fails("cublasLtMatmulPreferenceSetAttribute") ? CUBLAS_STATUS_INVALID_VALUE
                                                                           : CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t* proposals, int* found) {
  *found = 0;
  if (fails("cublasLtMatmulAlgoGetHeuristic")) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  *found = std::min(wanted, 5);
  for (int i = 0; i < *found; ++i) {
    proposals[i] = {};
    proposals[i].algo.data[0] = static_cast<std::uint64_t>(i);
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t descriptor, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t) {
  if (fails("cublasLtMatmul") || workspace == nullptr || workspace_bytes < (std::size_t{64} << 20)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const auto product = *as<fake::Product*>(descriptor);
  const auto la = *as<Layout*>(a_layout), lb = *as<Layout*>(b_layout), ld = *as<Layout*>(d_layout);
  const bool ta = product.transposed[0] == CUBLAS_OP_T, tb = product.transposed[1] == CUBLAS_OP_T;
  const auto m = ta ? la.cols : la.rows, k = ta ? la.rows : la.cols, n = tb ? lb.rows : lb.cols;
  if (c != d || c_layout != d_layout || ld.rows != m || ld.cols != n || (tb ? lb.cols : lb.rows) != k ||
      la.type != lb.type || ld.type != CUDA_R_32F || la.batch != ld.batch || lb.batch != ld.batch) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const float one = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  state.tried_algorithm = static_cast<int>(algorithm->data[0]);
  state.last_compute = product.compute;
  state.last_algorithm = state.tried_algorithm;
  work([=] {
    for (std::int64_t batch = 0; batch < ld.batch; ++batch) {
      for (std::uint64_t j = 0; j < n; ++j) {
        for (std::uint64_t i = 0; i < m; ++i) {
          double sum = 0;
          for (std::uint64_t l = 0; l < k; ++l) {
            sum += (ta ? la.at(a, batch, l, i) : la.at(a, batch, i, l)) *
                   (tb ? lb.at(b, batch, j, l) : lb.at(b, batch, l, j));
          }
          sum *= static_cast<double>(one);
          if (keep != 0) {
            sum += static_cast<double>(keep) * ld.at(d, batch, i, j);
          }
          if (product.epilogue == CUBLASLT_EPILOGUE_BIAS) {
            sum += static_cast<double>(product.bias[i]);
          }
          static_cast<float*>(
              d)[batch * ld.distance + static_cast<std::int64_t>(j) * ld.ld + static_cast<std::int64_t>(i)] =
              static_cast<float>(sum);
        }
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
