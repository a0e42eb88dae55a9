// Compiling the kernels when a device is opened, with NVRTC: their text is part of the program
// (kernels_text.hpp). Needs no device.
#pragma once

#include <maa/backend/cuda/kernel_cache.hpp>
#include <maa/backend/cuda/kernels_text.hpp>

#include <nvrtc.h>

#include <algorithm>
#include <vector>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

inline void check(nvrtcResult result, const char* what) {
  require(result == NVRTC_SUCCESS, "cuda: ", what, ": ", nvrtcGetErrorString(result));
}

class NvrtcProgram {
 public:
  NvrtcProgram(const std::string& text, const char* name) {
    check(nvrtcCreateProgram(&program_, text.c_str(), name, 0, nullptr, nullptr), "nvrtcCreateProgram");
  }
  NvrtcProgram(const NvrtcProgram&) = delete;
  NvrtcProgram& operator=(const NvrtcProgram&) = delete;
  ~NvrtcProgram() { nvrtcDestroyProgram(&program_); }
  nvrtcProgram get() const noexcept { return program_; }

 private:
  nvrtcProgram program_ = nullptr;
};

// The log ends with a zero, which is no part of it.
inline std::string log_of(const NvrtcProgram& program) {
  std::size_t size = 0;
  if (nvrtcGetProgramLogSize(program.get(), &size) != NVRTC_SUCCESS || size <= 1) {
    return {};
  }
  std::string log(size, '\0');
  if (nvrtcGetProgramLog(program.get(), log.data()) != NVRTC_SUCCESS) {
    return {};
  }
  log.resize(size - 1);
  return log;
}

}  // namespace detail

// A device's code, and what the compiler had to say.
struct CompiledKernels {
  std::string code;
  std::string log;
};

// The text of all kernels.
inline std::string kernels_text() {
  std::string text;
  for (const auto piece : kernels_text_pieces) {
    text += piece;
  }
  return text;
}

// What to compile for on a device of this compute capability (90 stands for 9.0): "sm_90", or "compute_..."
// of the newest that NVRTC knows if the device is newer; the driver then compiles the rest. Error if the
// device is too old.
inline std::string architecture_for(int capability) {
  int count = 0;
  detail::check(nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
  std::vector<int> known(static_cast<std::size_t>(std::max(count, 0)));
  detail::check(nvrtcGetSupportedArchs(known.data()), "nvrtcGetSupportedArchs");
  int best = 0;
  for (const int architecture : known) {
    best = architecture <= capability ? std::max(best, architecture) : best;
  }
  require(best > 0, "cuda: NVRTC compiles nothing for compute capability ", capability / 10, ".",
          capability % 10, "; use an older CUDA toolkit, or the CPU backend");
  return concatenate(best == capability ? "sm_" : "compute_", best);
}

// Compiles `text` for "sm_90" or the like. Error with the compiler's log if that fails.
inline CompiledKernels compile_kernels(const std::string& text, const std::string& architecture) {
  const detail::NvrtcProgram program(text, "kernels.cuh");
  const std::string target = "--gpu-architecture=" + architecture;
  const char* const options[] = {target.c_str(), "--std=c++17"};
  const auto result = nvrtcCompileProgram(program.get(), 2, options);
  CompiledKernels kernels;
  kernels.log = detail::log_of(program);
  require(result == NVRTC_SUCCESS, "cuda: NVRTC cannot compile the kernels for ", architecture, " (",
          nvrtcGetErrorString(result), "):\n", kernels.log);
  const bool ready = architecture.starts_with("sm_");
  std::size_t size = 0;
  detail::check(ready ? nvrtcGetCUBINSize(program.get(), &size) : nvrtcGetPTXSize(program.get(), &size),
                "size of the compiled kernels");
  kernels.code.resize(size);
  detail::check(ready ? nvrtcGetCUBIN(program.get(), kernels.code.data())
                      : nvrtcGetPTX(program.get(), kernels.code.data()),
                "compiled kernels");
  return kernels;
}

// The kernels for a device, from the cache or compiled and put there.
inline std::string kernels_for(int capability, const KernelCache& cache) {
  const auto text = kernels_text();
  const auto architecture = architecture_for(capability);
  int major = 0, minor = 0;
  detail::check(nvrtcVersion(&major, &minor), "nvrtcVersion");
  const auto key = concatenate(architecture, ", NVRTC ", major, ".", minor, "\n", text);
  if (auto kept = cache.load(key)) {
    return *std::move(kept);
  }
  auto compiled = compile_kernels(text, architecture);
  cache.store(key, compiled.code);
  return std::move(compiled.code);
}

}  // namespace cuda
MAA_NAMESPACE_END
