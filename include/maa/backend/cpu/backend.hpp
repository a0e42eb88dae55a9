// The CPU backend: threads, kernels of one instruction set, and scratch memory. Every op takes it as first
// argument.
#pragma once

#include <maa/core/parallel.hpp>
#include <maa/core/workspace.hpp>
#include <maa/kernels/table.hpp>

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
// Results depend on the instruction set, never on the number of threads.
class Backend {
 public:
  // 0 threads: one per hardware thread. The instruction set is the best the machine supports, or what the
  // environment variable MAA_ISA (scalar, avx2, avx512) asks for; Error if that is unknown or not supported.
  explicit Backend(int threads = 0) : Backend(threads, kernels::select_isa()) {}
  // Error if the machine does not support `isa`.
  Backend(int threads, Isa isa)
      : pool_(threads), kernels_(&kernels::table_for(kernels::require_supported(isa))) {}

  const ThreadPool& pool() const noexcept { return pool_; }
  Isa isa() const noexcept { return kernels_->isa; }
  // Float kernels.
  const kernels::Table& kernels() const noexcept { return *kernels_; }

 private:
  ThreadPool pool_;
  const kernels::Table* kernels_;
};

// This thread's scratch memory. Open a Workspace::Scope on it before taking; nested scopes are fine, and so
// are tasks that a waiting thread runs in between.
inline Workspace& thread_scratch() {
  thread_local Workspace workspace;
  return workspace;
}

}  // namespace cpu
MAA_NAMESPACE_END
