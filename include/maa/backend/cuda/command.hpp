// What a device is asked to do. Ops do not launch anything: they append commands to a list, which the context
// runs when a result is wanted. A list that comes again is one CUDA graph (context.hpp).
#pragma once

#include <maa/core/config.hpp>

#include <array>
#include <cstring>
#include <type_traits>
#include <variant>

MAA_NAMESPACE_BEGIN
namespace cuda {

// A kernel of kernels.cuh. Per element: body(i, arguments) for i in [0, count). Per block: count blocks of
// threads that work together.
struct KernelInfo {
  const char* name;  // of the entry point in the compiled kernels
  bool per_block;
  void (*emulate)(Index count, const void* arguments);  // the same on the host, for tests
};
// Ties a kernel to the type of its arguments.
template <class Arguments>
struct Kernel {
  KernelInfo info;
};

// All commands are compared and hashed as bytes, so unused ones are zero.
struct Launch {
  static constexpr std::size_t capacity = 224;

  const KernelInfo* kernel = nullptr;
  Index count = 0;
  alignas(8) std::array<unsigned char, capacity> arguments{};

  template <class Arguments>
  static Launch of(const Kernel<Arguments>& kernel, Index count, const Arguments& arguments) {
    static_assert(std::is_trivially_copyable_v<Arguments> && sizeof(Arguments) <= capacity);
    Launch launch;
    launch.kernel = &kernel.info;
    launch.count = count;
    std::memcpy(launch.arguments.data(), &arguments, sizeof(Arguments));
    return launch;
  }
};

// How the factors of a product are rounded; sums are in float always.
enum class Arithmetic : Index {
  fp32,
  tf32,  // factors rounded to 10 bits after the leading one
  bf16,  // factors stored as bfloat16
};

// c = a b + bias, or c += a b, row by row in memory; `batch` products at once, whose matrices lie apart by
// the strides. a is [m, k], or stored as [k, m] if transposed; b is [k, n], or stored as [n, k]. c [m, n],
// float.
struct Product {
  const void* a = nullptr;
  const void* b = nullptr;
  float* c = nullptr;
  const float* bias = nullptr;  // [n], or null; only if !accumulate and batch == 1
  Index m = 0, n = 0, k = 0;
  Index a_row = 0, b_row = 0, c_row = 0;  // distances between stored rows
  Index a_transposed = 0, b_transposed = 0;
  Index accumulate = 0;
  Index batch = 1;
  Index a_batch = 0, b_batch = 0, c_batch = 0;
  Arithmetic arithmetic = Arithmetic::fp32;
};

struct Copy {
  enum class Kind : Index { to_device, to_host } kind = Kind::to_device;
  void* to = nullptr;
  const void* from = nullptr;
  Index bytes = 0;
};

using Command = std::variant<Launch, Product, Copy>;

// FNV-1a of a command's bytes.
inline std::uint64_t hash_of(const Command& command, std::uint64_t seed) {
  return std::visit(
      [&](const auto& of) {
        static_assert(sizeof(of) % 8 == 0 && std::is_trivially_copyable_v<std::decay_t<decltype(of)>>);
        std::array<std::uint64_t, sizeof(of) / 8> words;
        std::memcpy(words.data(), &of, sizeof(of));
        std::uint64_t hash = (seed ^ command.index()) * 0x100000001b3ull;
        for (const auto word : words) {
          hash = (hash ^ word) * 0x100000001b3ull;
          hash ^= hash >> 29;
        }
        return hash;
      },
      command);
}
inline bool same(const Command& a, const Command& b) {
  return a.index() == b.index() &&
         std::visit(
             [&]<class Of>(const Of& of) { return std::memcmp(&of, &std::get<Of>(b), sizeof(Of)) == 0; }, a);
}

}  // namespace cuda
MAA_NAMESPACE_END
