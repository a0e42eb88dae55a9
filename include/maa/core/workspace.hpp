// Scratch memory for activations and packed matrices: a bump allocator that stops allocating after the first
// step.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#include <algorithm>
#include <vector>

MAA_NAMESPACE_BEGIN

// Takes are 64-byte aligned and uninitialised; they live until the enclosing Scope ends or reset() is called.
// Not thread-safe: one workspace per thread of control.
class Workspace {
 public:
  Workspace() = default;
  Workspace(Workspace&&) = default;
  Workspace& operator=(Workspace&&) = default;

  template <class T>
  T* take(Index count) {
    constexpr auto align = static_cast<Index>(buffer_alignment);
    const Index bytes = (count * static_cast<Index>(sizeof(T)) + align - 1) / align * align;
    while (chunk_ < chunks_.size() && chunks_[chunk_].size() - used_ < bytes) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      const Index last = chunks_.empty() ? Index{1} << 16 : chunks_.back().size();
      chunks_.emplace_back(std::max(bytes, 2 * last));
      used_ = 0;
    }
    auto* result = chunks_[chunk_].data() + used_;
    used_ += bytes;
    return reinterpret_cast<T*>(result);
  }
  template <class T>
  MatrixView<T> matrix(Index rows, Index cols) {
    return {take<T>(rows * cols), rows, cols};
  }
  template <class T>
  SequenceView<T> sequence(Index batch, Index length, Index channels) {
    return {take<T>(batch * length * channels), batch, length, channels};
  }

  // Everything taken so far is invalid afterwards; the memory is kept.
  void reset() { chunk_ = 0, used_ = 0; }

  // Gives back, at its end, what was taken since its beginning.
  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace), chunk_(workspace.chunk_), used_(workspace.used_) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      workspace_.chunk_ = chunk_;
      workspace_.used_ = used_;
    }

   private:
    Workspace& workspace_;
    std::size_t chunk_;
    Index used_;
  };

 private:
  std::vector<Buffer<std::byte>> chunks_;
  std::size_t chunk_ = 0;
  Index used_ = 0;
};

MAA_NAMESPACE_END
