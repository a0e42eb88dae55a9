// A CUDA device that is not there: its memory is the host's, its kernels are the same text run as loops, its products
// are plain sums. Slow; for tests of everything but the device itself.
#pragma once

#include <maa/backend/cuda/driver.hpp>
#include <maa/core/buffer.hpp>

#include <bit>
#include <map>
#include <vector>

MAA_NAMESPACE_BEGIN
namespace testing {

class EmulatedDevice : public cuda::Driver {
 public:
  std::string describe() const override { return "emulated device"; }

  void* allocate(Index bytes) override { return take(bytes); }
  void release(void* memory) noexcept override { blocks_.erase(memory); }
  void* allocate_staging(Index bytes) override { return take(bytes); }
  void release_staging(void* memory) noexcept override { blocks_.erase(memory); }
  // Blocks that were not released.
  Index blocks() const { return static_cast<Index>(blocks_.size()); }

  void run(std::span<const cuda::Command> commands) override {
    for (const auto& command : commands) {
      std::visit([&](const auto& of) { execute(of); }, command);
    }
  }
  std::unique_ptr<Graph> record(std::span<const cuda::Command> commands) override {
    auto graph = std::make_unique<List>();
    graph->commands.assign(commands.begin(), commands.end());
    return graph;
  }
  void launch(const Graph& graph) override { run(static_cast<const List&>(graph).commands); }
  void synchronize() override {}

 private:
  struct List : Graph {
    std::vector<cuda::Command> commands;
  };

  void* take(Index bytes) {
    Buffer<std::byte> block(bytes);
    // Memory of a device is not zero.
    std::fill(block.begin(), block.end(), std::byte{0x7f});
    void* const data = block.data();
    blocks_.emplace(data, std::move(block));
    return data;
  }

  static void execute(const cuda::Launch& launch) { launch.kernel->emulate(launch.count, launch.arguments.data()); }
  static void execute(const cuda::Copy& copy) {
    std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  }
  static void execute(const cuda::Product& p) {
    for (Index b = 0; b < p.batch; ++b) {
      for (Index i = 0; i < p.m; ++i) {
        for (Index j = 0; j < p.n; ++j) {
          double sum = 0;
          for (Index k = 0; k < p.k; ++k) {
            sum += factor(p.a, b * p.a_batch + (p.a_transposed ? k * p.a_row + i : i * p.a_row + k), p.arithmetic) *
                   factor(p.b, b * p.b_batch + (p.b_transposed ? j * p.b_row + k : k * p.b_row + j), p.arithmetic);
          }
          float& c = p.c[b * p.c_batch + i * p.c_row + j];
          if (p.accumulate) {
            sum += static_cast<double>(c);
          } else if (p.bias != nullptr) {
            sum += static_cast<double>(p.bias[j]);
          }
          c = static_cast<float>(sum);
        }
      }
    }
  }
  static double factor(const void* from, Index i, cuda::Arithmetic arithmetic) {
    if (arithmetic == cuda::Arithmetic::bf16) {
      const std::uint32_t bits = std::uint32_t{static_cast<const std::uint16_t*>(from)[i]} << 16;
      return static_cast<double>(std::bit_cast<float>(bits));
    }
    auto bits = std::bit_cast<std::uint32_t>(static_cast<const float*>(from)[i]);
    if (arithmetic == cuda::Arithmetic::tf32) {
      bits = (bits + 0x1000u) & ~0x1fffu;
    }
    return static_cast<double>(std::bit_cast<float>(bits));
  }

  std::map<void*, Buffer<std::byte>> blocks_;
};

}  // namespace testing
MAA_NAMESPACE_END
