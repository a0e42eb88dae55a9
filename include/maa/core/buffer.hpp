// An owning, 64-byte aligned array of numbers: the only owner of bulk memory in the library.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

MAA_NAMESPACE_BEGIN

// Bytes, at least.
inline constexpr std::size_t buffer_alignment = 64;

namespace detail {

// Large arrays are aligned to, and ask for, huge pages: weights of hundreds of megabytes are read a quarter
// faster.
inline constexpr std::size_t huge_page = std::size_t{1} << 21;

inline std::align_val_t alignment_for(std::size_t bytes) noexcept {
  return std::align_val_t(bytes < 2 * huge_page ? buffer_alignment : huge_page);
}
inline void* allocate_bytes(std::size_t bytes) {
  void* const memory = ::operator new(bytes, alignment_for(bytes), std::nothrow);
  require(memory != nullptr, "buffer: expected memory for ", bytes, " bytes, found less");
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= 2 * huge_page) {
    ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it the memory is as good, only slower
  }
#endif
  return memory;
}

// Number of elements times `element_bytes`, or -1 if a size is negative or the product overflows. Zero sizes
// do not hide an overflow of the others: strides are formed from them.
inline Index checked_bytes(std::span<const Index> shape, Index element_bytes) {
  Index product = element_bytes;
  bool empty = false;
  for (const auto size : shape) {
    empty = empty || size == 0;
    if (size < 0 || __builtin_mul_overflow(product, std::max<Index>(size, 1), &product)) {
      return -1;
    }
  }
  return empty ? 0 : product;
}

// The most that is asked of the system at once: 1 TiB, or 1 GiB of 32 bits.
inline constexpr Index largest_allocation = Index{1} << (sizeof(Index) > 4 ? 40 : 30);

}  // namespace detail

// Zero-initialised on construction; copying copies the numbers. Error if there is no memory for them. The
// alignment does not depend on compiler flags, so the type means the same in every translation unit.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // Of none, of `size` zeros, of copies; Error for a size that is negative or beyond the system.
  Buffer() = default;
  explicit Buffer(Index size) : data_(allocate(size)), size_(size) {
    if (size > 0) {
      std::memset(static_cast<void*>(data_), 0, bytes(size));
    }
  }
  explicit Buffer(std::span<const T> values) : Buffer(static_cast<Index>(values.size())) {
    if (!values.empty()) {
      std::memcpy(data_, values.data(), values.size_bytes());
    }
  }
  Buffer(const Buffer& other) : Buffer(other.span()) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { ::operator delete(data_, detail::alignment_for(bytes(size_))); }

  // As a std::vector's.
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  Index size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::span<T> span() noexcept { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const noexcept { return {data_, static_cast<std::size_t>(size_)}; }
  T& operator[](Index i) noexcept { return data_[i]; }
  const T& operator[](Index i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }

 private:
  static T* allocate(Index size) {
    constexpr auto limit = detail::largest_allocation / static_cast<Index>(sizeof(T));
    require(size >= 0 && size <= limit, "buffer: expected a size from 0 to ", limit, ", found ", size);
    if (size == 0) {
      return nullptr;
    }
    return static_cast<T*>(detail::allocate_bytes(bytes(size)));
  }
  static std::size_t bytes(Index size) noexcept { return static_cast<std::size_t>(size) * sizeof(T); }

  T* data_ = nullptr;
  Index size_ = 0;
};

MAA_NAMESPACE_END
