// The CUDA backend: ops become commands for one device. Every op takes it as first argument.
#pragma once

#include <maa/backend/cuda/context.hpp>
#include <maa/backend/cuda/kernels.cuh>
#include <maa/backend/precision.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/rng.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

struct Options {
  // Products of float matrices round their factors to tensor floats (10 bits after the leading one): several
  // times faster. Off: float arithmetic throughout. Needs compute capability 8.0.
  bool tf32 = true;

  // The rest is for Backend(Options), which opens the machine's device. Which one, as CUDA counts them.
  int device = 0;
  // Each new shape of product times eight ways once and keeps the best; which one that is may differ from
  // process to process, and with it the last bits of results. Off: cuBLASLt's first proposal.
  bool tune_products = false;
  // Where compiled kernels are kept: a folder that belongs to the user and that nobody else can enter (any
  // other is left alone). Empty: $XDG_CACHE_HOME/maa or ~/.cache/maa. "off": they are compiled whenever a
  // device is opened.
  std::string kernel_cache = {};
  // Kernels compiled ahead of time from kernels.cuh (nvcc -cubin or -fatbin). Empty: NVRTC compiles them for
  // the device.
  std::string kernels = {};
};

template <class T>
class Array;
template <class T>
class Constants;

// A device, its stream and its memory. Copies share them. One thread at a time uses a device: whoever calls
// ops holds a session.
class Backend {
  struct Shared {
    explicit Shared(std::unique_ptr<Driver> driver)
        : context(std::make_shared<Context>(std::move(driver))),
          scratch(DeviceMemory{context}),
          call(DeviceMemory{context}) {}
    std::shared_ptr<Context> context;
    cuda::Workspace scratch;
    cuda::Workspace call;
    int sessions = 0;
  };

 public:
  using Workspace = cuda::Workspace;
  using Scalar = cuda::Scalar;
  template <class T>
  using Element = OnDevice<T>;
  template <class T>
  using Array = cuda::Array<T>;
  template <class T>
  using Constants = cuda::Constants<T>;

  explicit Backend(std::unique_ptr<Driver> driver, Options options = {})
      : shared_(std::make_shared<Shared>(std::move(driver))), options_(options) {}
  // The machine's device (cuda.hpp). Error that says what is missing if there is none.
  explicit Backend(Options options = {});

  Context& context() const { return *shared_->context; }
  const Options& options() const { return options_; }
  std::string describe() const { return context().driver().describe(); }

  // Scratch memory of ops: open a scope on it before taking.
  Workspace& scratch() const { return shared_->scratch; }
  Workspace make_workspace() const { return Workspace(memory()); }
  DeviceMemory memory() const { return {shared_->context}; }
  template <class T>
  Array<T> make_array(Index size) const {
    return Array<T>(*this, size);
  }

  // The device for one thread, until it is destroyed, and memory for a call of the library. Sessions of a
  // thread may nest; inner ones have the outer one's memory.
  class Session {
   public:
    explicit Session(const Backend& backend) : shared_(backend.shared_), lock_(shared_->context->mutex()) {
      if (shared_->sessions++ == 0) {
        shared_->call.reset();
      }
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { --shared_->sessions; }
    Workspace& workspace() const { return shared_->call; }

   private:
    std::shared_ptr<Shared> shared_;
    std::lock_guard<std::recursive_mutex> lock_;
  };
  Session session() const { return Session(*this); }

  // The same for inference with `weights`, which must outlive it and not change. bf16_weights and bf16 are
  // the same here: factors are rounded to bfloat16, at first use, which takes half the weights' memory more.
  Backend packed(std::span<const Real> weights, Precision precision = Precision::fp32) const {
    Backend result = *this;
    result.packed_ = std::make_shared<PackedWeights>();
    result.packed_->weights = weights;
    result.packed_->bf16 = precision != Precision::fp32;
    return result;
  }

  // Appends a kernel's work to the list; nothing for a count of 0.
  template <class Arguments>
  void launch(const Kernel<Arguments>& kernel, Index count, const Arguments& arguments) const {
    if (count > 0) {
      context().append(Launch::of(kernel, count, arguments));
    }
  }

  // What is known of weights that are packed; null for others.
  struct PackedWeights {
    std::span<const Real> weights;
    bool bf16 = false;
    DeviceBlock rounded;                                       // bf16, as long as `weights`
    std::unordered_map<const Real*, DeviceBlock> differences;  // three-product convolutions (conv1d.hpp)
  };
  PackedWeights* packed_for(const Real* weight) const {
    const std::less<const Real*> before;
    return packed_ != nullptr && !before(weight, packed_->weights.data()) &&
                   before(weight, packed_->weights.data() + packed_->weights.size())
               ? packed_.get()
               : nullptr;
  }

 private:
  std::shared_ptr<Shared> shared_;
  Options options_;
  std::shared_ptr<PackedWeights> packed_;
};

// An owning array in device memory, zero-initialised.
template <class T>
class Array {
 public:
  Array() = default;
  Array(const Backend& backend, Index size);  // transfer.hpp

  OnDevice<T>* data() const { return reinterpret_cast<OnDevice<T>*>(block_.data()); }
  Index size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<OnDevice<T>> span() { return {data(), static_cast<std::size_t>(size_)}; }
  std::span<const OnDevice<T>> span() const { return {data(), static_cast<std::size_t>(size_)}; }

 private:
  DeviceBlock block_;
  Index size_ = 0;
};

}  // namespace cuda
MAA_NAMESPACE_END
