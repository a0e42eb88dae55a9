// Counts this thread's allocations, and fails aligned ones (a Buffer's) of other threads, by replacing
// operator new and delete: include it in one file of a program.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace test {
inline thread_local int allocations = 0;
inline thread_local std::size_t largest_allocation = SIZE_MAX;  // larger ones fail where they are aligned
inline thread_local bool is_spared = false;                     // allocations of this thread do not fail
inline std::atomic<int> others_left = 1 << 30;                  // allocations of all others until one fails

inline bool fails() {
  ++allocations;
  return !is_spared && others_left.fetch_sub(1) == 1;
}
}  // namespace test

// Not inlined: compilers would take the pair for a mismatch. The array forms call these.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++test::allocations;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}
// Replaced too, since a sanitizer's own would not match the operator delete below.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++test::allocations;
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t align,
                                     const std::nothrow_t&) noexcept {
  const bool fails = test::fails() || size > test::largest_allocation;
  const auto unit = static_cast<std::size_t>(align);
  return fails ? nullptr : std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t align) {
  if (void* memory = operator new(size, align, std::nothrow)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
