// The CPU backend: threads, kernels of one instruction set, and scratch memory. Every op takes it as first
// argument.
#pragma once

#include <maa/backend/cpu/packed_weights.hpp>
#include <maa/core/workspace.hpp>
#include <maa/kernels/bf16.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

using kernels::detect_isa;
using kernels::Isa;

// Inputs of an op. The element type is deduced from the output alone, so that callers may pass views of T or
// const T.
template <class T>
using In = MatrixView<const std::type_identity_t<T>>;
template <class T>
using InSeq = SequenceView<const std::type_identity_t<T>>;
template <class T>
using InSpan = std::span<const std::type_identity_t<T>>;

// A size of threads and an instruction set. Ops only read it, so one backend serves any number of callers.
// Results depend on the instruction set, never on the number of threads. Copies share the threads.
class Backend {
 public:
  using Workspace = maa::Workspace;
  // What the ops give back as a loss or a norm.
  using Scalar = double;
  // A number of type T in the memory that ops work on, and an owning array of such.
  template <class T>
  using Element = T;
  template <class T>
  using Array = Buffer<T>;
  // Host numbers, which must outlive it, for ops to read: here in their own place.
  template <class T>
  class Constants {
   public:
    Constants() = default;
    Constants(const Backend&, std::span<const T> values) : values_(values) {}
    std::span<const T> span() const { return values_; }

   private:
    std::span<const T> values_;
  };

  // 0 threads: one per hardware thread. The instruction set is the best the machine supports, or what the
  // environment variable MAA_ISA (scalar, avx2, avx512) asks for; Error if that is unknown or not supported.
  explicit Backend(int threads = 0) : Backend(threads, kernels::select_isa()) {}
  // Error if the machine does not support `isa`.
  Backend(int threads, Isa isa)
      : pool_(std::make_shared<const ThreadPool>(threads)),
        kernels_(&kernels::table_for(kernels::require_supported(isa))),
        gemm_(kernels::gemm_table_for(isa)) {}

  // The same for inference with `weights`, which must outlive it and not change: matrices in them are packed
  // at their first use and kept, which takes once more their memory (half of it in bf16). Scalar kernels have
  // no packed form and stay in fp32.
  Backend packed(std::span<const float> weights, Precision precision = Precision::fp32) const {
    Backend result = *this;
    result.packed_ = std::make_shared<PackedWeights>(weights, precision);
    result.bf16_ = precision == Precision::bf16 && isa() == Isa::avx512
                       ? kernels::bf16_table_for(kernels::select_bf16_unit())
                       : nullptr;
    return result;
  }

  // Keeps the threads awake while it lives, worth it where many ops follow one another, and has memory for
  // them.
  class Session {
   public:
    explicit Session(const Backend& backend) : threads_(*backend.pool_) {}
    Workspace& workspace() const { return workspace_; }

   private:
    ThreadPool::Session threads_;
    mutable Workspace workspace_;
  };
  Session session() const { return Session(*this); }
  Workspace make_workspace() const { return Workspace(); }
  template <class T>
  Array<T> make_array(Index size) const {
    return Array<T>(size);
  }

  const ThreadPool& pool() const noexcept { return *pool_; }
  Isa isa() const noexcept { return kernels_->isa; }
  // Float kernels.
  const kernels::Table& kernels() const noexcept { return *kernels_; }
  // Null for scalar.
  const kernels::GemmTable* gemm_kernels() const noexcept { return gemm_; }
  // The packed second factor of a product of packed weights, else null.
  const PackedMatrix* packed_matrix(const kernels::Product<float>& product) const {
    return packed_ == nullptr ? nullptr : packed_->find(*pool_, *gemm_, product);
  }
  // What multiplies packed weights in bfloat16, else null.
  const kernels::Bf16Table* bf16_kernels() const noexcept { return bf16_; }
  // Whether products read packed weights, so that sums of weights cost nothing.
  bool has_packed_weights() const noexcept { return packed_ != nullptr && gemm_ != nullptr; }

 private:
  std::shared_ptr<const ThreadPool> pool_;
  const kernels::Table* kernels_;
  const kernels::GemmTable* gemm_;
  std::shared_ptr<PackedWeights> packed_;
  const kernels::Bf16Table* bf16_ = nullptr;
};

}  // namespace cpu
MAA_NAMESPACE_END
