// Scratch memory for activations and packed matrices: a bump allocator that stops allocating after the first
// step, in any kind of memory.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN

// Memory that the processor reads and writes.
struct HostMemory {
  using Chunk = Buffer<std::byte>;
  template <class T>
  static constexpr bool holds = true;

  Chunk allocate(Index bytes) const { return Chunk(bytes); }
};

// Takes are 64-byte aligned and uninitialised; they live until the enclosing Scope ends or reset() is called.
// Equal takes in equal order have equal addresses, once the memory is there. Not thread-safe: one workspace
// per thread of control. Memory: allocate(bytes) gives a Chunk with data() and size(), 64-byte aligned.
template <class Memory>
class BasicWorkspace {
 public:
  explicit BasicWorkspace(Memory memory = Memory()) : memory_(std::move(memory)) {}
  BasicWorkspace(BasicWorkspace&&) = default;
  BasicWorkspace& operator=(BasicWorkspace&&) = default;

  template <class T>
  T* take(Index count) {
    return take<T>({&count, 1});
  }
  // Error if the shape's size is negative or overflows.
  template <class T>
  T* take(std::span<const Index> shape) {
    static_assert(Memory::template holds<T>, "a workspace gives views of its own kind of memory only");
    constexpr auto align = static_cast<Index>(buffer_alignment);
    const Index wanted = detail::checked_bytes(shape, static_cast<Index>(sizeof(T)));
    require(wanted >= 0 && wanted <= detail::largest_allocation, "workspace: expected a shape of at most ",
            detail::largest_allocation, " bytes, found ", detail::TextPart::shape(shape), " of ", sizeof(T),
            " bytes each");
    const Index bytes = (wanted + align - 1) / align * align;
    while (chunk_ < chunks_.size() && chunks_[chunk_].size() - used_ < bytes) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      const Index last = chunks_.empty() ? Index{1} << 16 : chunks_.back().size();
      chunks_.push_back(memory_.allocate(std::max(bytes, 2 * last)));
      used_ = 0;
    }
    auto* result = chunks_[chunk_].data() + used_;
    used_ += bytes;
    return reinterpret_cast<T*>(result);
  }
  template <class T>
  std::span<T> span(Index count) {
    return {take<T>(count), static_cast<std::size_t>(count)};
  }
  template <class T>
  MatrixView<T> matrix(Index rows, Index cols) {
    return {take<T>(std::array{rows, cols}), rows, cols};
  }
  template <class T>
  SequenceView<T> sequence(Index batch, Index length, Index channels) {
    return {take<T>(std::array{batch, length, channels}), batch, length, channels};
  }

  // Everything taken so far is invalid afterwards; the memory is kept.
  void reset() { chunk_ = 0, used_ = 0; }

  // Gives back, at its end, what was taken since its beginning.
  class Scope {
   public:
    explicit Scope(BasicWorkspace& workspace)
        : workspace_(workspace), chunk_(workspace.chunk_), used_(workspace.used_) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      workspace_.chunk_ = chunk_;
      workspace_.used_ = used_;
    }

   private:
    BasicWorkspace& workspace_;
    std::size_t chunk_;
    Index used_;
  };
  Scope scope() { return Scope(*this); }

 private:
  Memory memory_;
  std::vector<typename Memory::Chunk> chunks_;
  std::size_t chunk_ = 0;
  Index used_ = 0;
};

using Workspace = BasicWorkspace<HostMemory>;

// This thread's scratch memory. Open a Workspace::Scope on it before taking; nested scopes are fine, and so
// are tasks that a waiting thread runs in between.
inline Workspace& thread_scratch() {
  thread_local Workspace workspace;
  return workspace;
}

// The workspace of a backend's memory.
template <class Backend>
using WorkspaceOf = typename Backend::Workspace;

// Whether a backend's ops work on numbers that the host can read.
template <class Backend>
inline constexpr bool in_host_memory = std::is_same_v<typename Backend::template Element<float>, float>;

MAA_NAMESPACE_END
