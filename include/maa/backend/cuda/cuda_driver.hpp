// The machine's CUDA device: kernels compiled by NVRTC, products by cuBLASLt. Plain C++ for the host's
// compiler; needs the CUDA toolkit 12.8 or newer (target maa::cuda).
#pragma once

#include <maa/backend/cuda/backend.hpp>
#include <maa/backend/cuda/compile.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <bit>
#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cuda {

// How many devices this process can use: 0 also where there is no driver.
inline int visible_devices() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

namespace detail {

inline std::string version_text(int version) {
  return concatenate(version / 1000, ".", version % 1000 / 10);
}

// After these every later call of the process fails too.
inline bool stays(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}
// Throws unless `result` is success. An error of one call is forgotten, so that the next one starts anew.
inline void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) [[likely]] {
    return;
  }
  cudaGetLastError();
  fail("cuda: ", what, ": ", cudaGetErrorName(result), " (", cudaGetErrorString(result), ")",
       stays(result) ? "; this process cannot use the device any more: end it and start it again" : "");
}
inline void check(cublasStatus_t result, const char* what) {
  require(result == CUBLAS_STATUS_SUCCESS, "cuda: ", what, ": ", cublasLtGetStatusName(result), " (",
          cublasLtGetStatusString(result), ")");
}

// Owners of the libraries' handles.
template <class Handle, auto destroy>
class Owned {
 public:
  Owned() = default;
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle())) {}
  Owned& operator=(Owned other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != Handle()) {
      destroy(handle_);
    }
  }
  Handle get() const noexcept { return handle_; }
  Handle* address() noexcept { return &handle_; }  // for the function that creates it

 private:
  Handle handle_ = Handle();
};
using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using Library = Owned<cudaLibrary_t, cudaLibraryUnload>;
using CapturedGraph = Owned<cudaGraph_t, cudaGraphDestroy>;
using ExecutableGraph = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using LtHandle = Owned<cublasLtHandle_t, cublasLtDestroy>;
using LtProduct = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtPreference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;
using DeviceBytes = Owned<void*, cudaFree>;

// The thread's device is this one for the object's life; the user's own is put back.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    if (cudaGetDevice(&before_) != cudaSuccess) {
      cudaGetLastError();
      before_ = device;
      check(cudaSetDevice(device), "cudaSetDevice");
    } else if (before_ != device) {
      check(cudaSetDevice(device), "cudaSetDevice");
      changed_ = true;
    }
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (changed_) {
      cudaSetDevice(before_);
    }
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace detail

class CudaDriver : public Driver {
 public:
  // Error if there is no driver or no such device, if it is too old, or if the kernels cannot be made.
  explicit CudaDriver(const Options& options = {}) : options_(options), device_(options.device) {
    int count = 0;
    const auto found = cudaGetDeviceCount(&count);
    if (found != cudaSuccess) {
      cudaGetLastError();
    }
    require(found != cudaErrorInsufficientDriver, "cuda: expected a driver for CUDA ",
            detail::version_text(CUDART_VERSION), " or newer, found ", driver_text(), " (",
            cudaGetErrorName(found), "): install NVIDIA's driver, or use the CPU backend");
    require(found == cudaSuccess || found == cudaErrorNoDevice,
            "cuda: cannot look for devices: ", cudaGetErrorName(found), " (", cudaGetErrorString(found),
            "), with ", driver_text());
    require(
        count > 0,
        "cuda: found no device (is it there, and does CUDA_VISIBLE_DEVICES name it?); use the CPU backend");
    require(device_ >= 0 && device_ < count, "cuda: expected a device from 0 to ", count - 1, ", found ",
            device_);

    cudaDeviceProp properties;
    detail::check(cudaGetDeviceProperties(&properties, device_), "cudaGetDeviceProperties");
    name_ = properties.name;
    capability_ = properties.major * 10 + properties.minor;
    require(capability_ >= 75, "cuda: expected a device of compute capability 7.5 or higher, found ",
            describe(), "; use another device, or the CPU backend");
    require(capability_ >= 80 || !options.tf32,
            "cuda: products with tf32 need compute capability 8.0, found ", describe(),
            "; set Options::tf32 to false");

    const detail::CurrentDevice current(device_);
    detail::check(cudaStreamCreateWithFlags(stream_.address(), cudaStreamNonBlocking), "opening the device");
    const auto code = load_kernels();
    const auto load = [&](const std::string& from) {
      return cudaLibraryLoadData(library_.address(), from.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0);
    };
    auto loaded = load(code);
    if (loaded != cudaSuccess && options.kernels.empty()) {  // kept by another driver, perhaps
      cudaGetLastError();
      loaded = load(kernels_for(capability_, KernelCache({})));
    }
    require(loaded == cudaSuccess || options.kernels.empty(), "cuda: '", options.kernels,
            "' holds no kernels for ", describe(), ": ", cudaGetErrorName(loaded),
            "; compile kernels.cuh with nvcc -cubin -arch=sm_", capability_);
    detail::check(loaded, "loading the kernels");
    detail::check(cublasLtCreate(lt_.address()), "cublasLtCreate");
    detail::check(cudaMalloc(workspace_.address(), workspace_bytes), "memory for products");
  }
  ~CudaDriver() override {
    int before = device_;
    cudaGetDevice(&before);
    cudaSetDevice(device_);
    cudaStreamSynchronize(stream_.get());
    plans_.clear();
    workspace_ = {};
    lt_ = {};
    library_ = {};
    stream_ = {};
    cudaSetDevice(before);
    cudaGetLastError();  // whatever went wrong here
  }

  std::string describe() const override {
    return concatenate(name_, ", compute capability ", capability_ / 10, ".", capability_ % 10, ", ",
                       driver_text());
  }

  // cudaMalloc, not a pool: workspaces allocate in the first steps only, and tools that look for wrong
  // accesses see every block.
  void* allocate(Index bytes) override {
    const detail::CurrentDevice current(device_);
    void* memory = nullptr;
    const auto result = cudaMalloc(&memory, static_cast<std::size_t>(std::max<Index>(bytes, 1)));
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      cudaGetLastError();
      constexpr std::size_t mega = std::size_t{1} << 20;
      fail("cuda: out of device memory: expected ", bytes, " bytes (", bytes >> 20, " MiB), found ",
           free / mega, " MiB free of ", total / mega,
           " MiB; use smaller batches, or end what else uses the device");
    }
    detail::check(result, "cudaMalloc");
    return memory;
  }
  void release(void* memory) noexcept override {
    if (cudaFree(memory) != cudaSuccess) {
      cudaGetLastError();  // synchronize() tells of errors that stay
    }
  }
  void* allocate_staging(Index bytes) override {
    const detail::CurrentDevice current(device_);
    void* memory = nullptr;
    const auto result =
        cudaHostAlloc(&memory, static_cast<std::size_t>(std::max<Index>(bytes, 1)), cudaHostAllocPortable);
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail("cuda: cannot lock ", bytes, " bytes (", bytes >> 20,
           " MiB) of host memory for copies: free some, or raise the limit (ulimit -l)");
    }
    detail::check(result, "cudaHostAlloc");
    return memory;
  }
  void release_staging(void* memory) noexcept override {
    if (cudaFreeHost(memory) != cudaSuccess) {
      cudaGetLastError();
    }
  }

  void run(std::span<const Command> commands) override {
    const detail::CurrentDevice current(device_);
    for (const auto& command : commands) {
      std::visit([&](const auto& of) { start(of); }, command);
    }
  }
  std::unique_ptr<Graph> record(std::span<const Command> commands) override {
    const detail::CurrentDevice current(device_);
    // Thread-local: other threads may allocate meanwhile.
    detail::check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal),
                  "cudaStreamBeginCapture");
    detail::CapturedGraph captured;
    try {
      recording_ = true;
      for (const auto& command : commands) {
        std::visit([&](const auto& of) { start(of); }, command);
      }
      recording_ = false;
    } catch (...) {
      recording_ = false;
      cudaStreamEndCapture(stream_.get(), captured.address());  // or nothing could be started any more
      cudaGetLastError();
      throw;
    }
    detail::check(cudaStreamEndCapture(stream_.get(), captured.address()), "cudaStreamEndCapture");
    auto graph = std::make_unique<CudaGraph>(device_, stream_.get());
    detail::check(cudaGraphInstantiate(graph->executable.address(), captured.get(), 0),
                  "cudaGraphInstantiate");
    return graph;
  }
  void launch(const Graph& graph) override {
    const detail::CurrentDevice current(device_);
    detail::check(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).executable.get(), stream_.get()),
                  "cudaGraphLaunch");
  }
  void synchronize() override {
    const detail::CurrentDevice current(device_);
    detail::check(cudaStreamSynchronize(stream_.get()), "waiting for the device");
  }

 private:
  static constexpr std::size_t workspace_bytes = std::size_t{64} << 20;
  static constexpr int threads = 256;  // kernels::Block::threads

  struct CudaGraph : Graph {
    CudaGraph(int device_, cudaStream_t stream_) : device(device_), stream(stream_) {}
    ~CudaGraph() override {
      int before = device;
      cudaGetDevice(&before);
      cudaSetDevice(device);
      cudaStreamSynchronize(stream);  // it may be running
      executable = {};
      cudaSetDevice(before);
      cudaGetLastError();
    }
    int device;
    cudaStream_t stream;
    detail::ExecutableGraph executable;
  };

  // A product's descriptors and algorithm.
  struct Plan {
    detail::LtProduct product;
    detail::LtLayout first, second, result;  // cuBLASLt's A, B, and C and D
    cublasLtMatmulAlgo_t algorithm{};
  };
  // A Product with alignments in place of addresses.
  struct SameBytes {
    bool operator()(const Product& a, const Product& b) const { return std::memcmp(&a, &b, sizeof a) == 0; }
  };
  struct HashBytes {
    std::size_t operator()(const Product& p) const {
      return static_cast<std::size_t>(hash_of(Command(p), 0));
    }
  };

  static std::string driver_text() {
    int version = 0;
    if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) {
      cudaGetLastError();
      return "no NVIDIA driver";
    }
    return "a driver for CUDA " + detail::version_text(version);
  }

  std::string load_kernels() const {
    if (options_.kernels.empty()) {
      const auto folder = options_.kernel_cache.empty()    ? KernelCache::default_folder()
                          : options_.kernel_cache == "off" ? std::filesystem::path()
                                                           : std::filesystem::path(options_.kernel_cache);
      return kernels_for(capability_, KernelCache(folder));
    }
    const InputFile file(options_.kernels);
    std::string code(static_cast<std::size_t>(file.size()), '\0');
    file.read_at(0, std::as_writable_bytes(std::span(code)));
    return code;
  }

  void start(const Launch& launch) {
    const auto [place, is_new] = kernels_.try_emplace(launch.kernel, nullptr);
    if (is_new) {
      const auto result = cudaLibraryGetKernel(&place->second, library_.get(), launch.kernel->name);
      if (result != cudaSuccess) {
        kernels_.erase(place);
        cudaGetLastError();
        fail("cuda: the compiled kernels have no '", launch.kernel->name, "' (", cudaGetErrorName(result),
             ")", options_.kernels.empty() ? "" : "; compile kernels.cuh of this version of maa again");
      }
    }
    const Index blocks = launch.kernel->per_block ? launch.count : (launch.count + threads - 1) / threads;
    if (blocks == 0) {
      return;
    }
    require(blocks > 0 && blocks <= std::numeric_limits<std::int32_t>::max(), "cuda: ", launch.kernel->name,
            ": expected at most 2^31 - 1 blocks, found ", blocks);
    static_assert(sizeof(long long) == sizeof(Index));
    long long count = launch.count;
    void* arguments[] = {const_cast<unsigned char*>(launch.arguments.data()), &count};
    detail::check(
        cudaLaunchKernel(reinterpret_cast<const void*>(place->second), dim3(static_cast<unsigned>(blocks)),
                         dim3(threads), arguments, 0, stream_.get()),
        launch.kernel->name);
  }
  void start(const Copy& copy) {
    if (copy.bytes > 0) {
      detail::check(cudaMemcpyAsync(
                        copy.to, copy.from, static_cast<std::size_t>(copy.bytes),
                        copy.kind == Copy::Kind::to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                        stream_.get()),
                    "copy");
    }
  }
  void start(const Product& p) {
    if (p.m == 0 || p.n == 0 || p.batch == 0) {
      return;
    }
    require(p.k > 0, "cuda: product ", text_of(p), ": expected a depth");
    auto& plan = plan_for(p);
    run_plan(plan, plan.algorithm, p, p.c);
  }
  void run_plan(Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const Product& p, float* c) {
    if (p.bias != nullptr) {
      set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
    const float one = 1, beta = p.accumulate != 0 ? 1.0f : 0.0f;
    const auto result = cublasLtMatmul(lt_.get(), plan.product.get(), &one, p.b, plan.first.get(), p.a,
                                       plan.second.get(), &beta, c, plan.result.get(), c, plan.result.get(),
                                       &algorithm, workspace_.get(), workspace_bytes, stream_.get());
    if (result != CUBLAS_STATUS_SUCCESS) {
      cudaGetLastError();
      fail("cuda: product ", text_of(p), ": ", cublasLtGetStatusName(result));
    }
  }

  // cuBLASLt counts columns first. What is row-major c = a b for us is c^T = b^T a^T there: its A is our b,
  // its B our a, and a matrix that is not transposed for us is not for it.
  Plan& plan_for(const Product& p) {
    Product key = p;
    key.a = alignment(p.a);
    key.b = alignment(p.b);
    key.c = static_cast<float*>(alignment(p.c));
    key.bias = p.bias == nullptr ? nullptr : static_cast<float*>(alignment(p.bias));
    if (const auto found = plans_.find(key); found != plans_.end()) {
      return found->second;
    }
    require(p.arithmetic != Arithmetic::bf16 || capability_ >= 80,
            "cuda: bfloat16 needs compute capability 8.0, found ", describe());
    Plan plan;
    const bool bf16 = p.arithmetic == Arithmetic::bf16;
    detail::check(
        cublasLtMatmulDescCreate(
            plan.product.address(),
            p.arithmetic == Arithmetic::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
    set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, p.b_transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, p.a_transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias != nullptr) {
      set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
      set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
    const auto type = bf16 ? CUDA_R_16BF : CUDA_R_32F;
    plan.first = p.b_transposed != 0 ? layout(type, p.n, p.k, p.b_row, p.batch, p.b_batch)
                                     : layout(type, p.k, p.n, p.b_row, p.batch, p.b_batch);
    plan.second = p.a_transposed != 0 ? layout(type, p.k, p.m, p.a_row, p.batch, p.a_batch)
                                      : layout(type, p.m, p.k, p.a_row, p.batch, p.a_batch);
    plan.result = layout(CUDA_R_32F, p.m, p.n, p.c_row, p.batch, p.c_batch);

    constexpr int most = 8;
    std::array<cublasLtMatmulHeuristicResult_t, most> proposals{};
    int found = 0;
    detail::LtPreference preference;
    detail::check(cublasLtMatmulPreferenceCreate(preference.address()), "cublasLtMatmulPreferenceCreate");
    prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_bytes(p.b));
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_bytes(p.a));
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_bytes(p.c));
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_bytes(p.c));
    // Partial sums are added in one order, apart from the result.
    prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                      CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE));
    const bool tune = options_.tune_products && !recording_;
    const auto status = cublasLtMatmulAlgoGetHeuristic(
        lt_.get(), plan.product.get(), plan.first.get(), plan.second.get(), plan.result.get(),
        plan.result.get(), preference.get(), tune ? most : 1, proposals.data(), &found);
    require(status == CUBLAS_STATUS_SUCCESS && found > 0, "cuda: cuBLASLt has no way to compute the product ",
            text_of(p), ": ", cublasLtGetStatusName(status));
    plan.algorithm = tune ? fastest(plan, std::span(proposals).first(static_cast<std::size_t>(found)), p)
                          : proposals[0].algo;
    return plans_.emplace(key, std::move(plan)).first->second;
  }
  // Times the proposals, with a result of its own: p.c may be added to.
  cublasLtMatmulAlgo_t fastest(Plan& plan, std::span<const cublasLtMatmulHeuristicResult_t> proposals,
                               const Product& p) {
    constexpr int repeats = 5;
    const Index offset = alignment_bytes(p.c) % 256;
    const Index bytes =
        offset + ((p.batch - 1) * p.c_batch + (p.m - 1) * p.c_row + p.n) * static_cast<Index>(sizeof(float));
    detail::DeviceBytes block;
    *block.address() = allocate(bytes);
    detail::check(cudaMemsetAsync(block.get(), 0, static_cast<std::size_t>(bytes), stream_.get()),
                  "cudaMemsetAsync");
    auto* const c = reinterpret_cast<float*>(static_cast<std::byte*>(block.get()) + offset);
    detail::Event begin, end;
    detail::check(cudaEventCreate(begin.address()), "cudaEventCreate");
    detail::check(cudaEventCreate(end.address()), "cudaEventCreate");
    const cublasLtMatmulAlgo_t* best = nullptr;
    float best_time = 0;
    for (const auto& proposal : proposals) {
      if (proposal.state != CUBLAS_STATUS_SUCCESS) {
        continue;
      }
      for (int i = 0; i <= repeats; ++i) {
        if (i == 1) {
          detail::check(cudaEventRecord(begin.get(), stream_.get()), "cudaEventRecord");
        }
        run_plan(plan, proposal.algo, p, c);
      }
      detail::check(cudaEventRecord(end.get(), stream_.get()), "cudaEventRecord");
      detail::check(cudaEventSynchronize(end.get()), "timing a product");
      float time = 0;
      detail::check(cudaEventElapsedTime(&time, begin.get(), end.get()), "cudaEventElapsedTime");
      if (best == nullptr || time < best_time) {
        best = &proposal.algo;
        best_time = time;
      }
    }
    require(best != nullptr, "cuda: cuBLASLt has no way to compute the product ", text_of(p));
    return *best;
  }

  // A matrix stored row by row is one of cuBLASLt's with rows and columns exchanged.
  static detail::LtLayout layout(cudaDataType type, Index rows, Index cols, Index row_distance, Index batch,
                                 Index batch_distance) {
    detail::LtLayout result;
    detail::check(cublasLtMatrixLayoutCreate(result.address(), type, static_cast<std::uint64_t>(cols),
                                             static_cast<std::uint64_t>(rows), std::max(row_distance, cols)),
                  "cublasLtMatrixLayoutCreate");
    if (batch > 1) {
      const auto count = static_cast<std::int32_t>(batch);
      const auto distance = static_cast<std::int64_t>(batch_distance);
      detail::check(cublasLtMatrixLayoutSetAttribute(result.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                     sizeof count),
                    "batch count");
      detail::check(
          cublasLtMatrixLayoutSetAttribute(result.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                           &distance, sizeof distance),
          "batch distance");
    }
    return result;
  }
  template <class Value>
  static void set(const detail::LtProduct& product, cublasLtMatmulDescAttributes_t what, Value value) {
    detail::check(cublasLtMatmulDescSetAttribute(product.get(), what, &value, sizeof value),
                  "cublasLtMatmulDescSetAttribute");
  }
  template <class Value>
  static void prefer(const detail::LtPreference& preference, cublasLtMatmulPreferenceAttributes_t what,
                     Value value) {
    detail::check(cublasLtMatmulPreferenceSetAttribute(preference.get(), what, &value, sizeof value),
                  "cublasLtMatmulPreferenceSetAttribute");
  }
  static std::uint32_t alignment_bytes(const void* address) {
    const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256;
    return std::uint32_t{1} << std::countr_zero(bits);
  }
  static void* alignment(const void* address) {
    return reinterpret_cast<void*>(std::uintptr_t{alignment_bytes(address)});
  }
  static std::string text_of(const Product& p) {
    return concatenate("[", p.m, ", ", p.k, "] x [", p.k, ", ", p.n, "], ", p.batch, " at once");
  }

  Options options_;
  int device_;
  std::string name_;
  int capability_ = 0;
  detail::Stream stream_;
  detail::Library library_;
  detail::LtHandle lt_;
  detail::DeviceBytes workspace_;
  std::unordered_map<const KernelInfo*, cudaKernel_t> kernels_;
  std::unordered_map<Product, Plan, HashBytes, SameBytes> plans_;
  bool recording_ = false;
};

inline Backend::Backend(Options options) : Backend(std::make_unique<CudaDriver>(options), options) {}

}  // namespace cuda
MAA_NAMESPACE_END
