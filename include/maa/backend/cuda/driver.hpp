// What the backend needs of a machine with a device, as an interface: the real one is cuda_driver.hpp; tests
// have one that runs kernels on the host (testing/emulated_device.hpp) and one that fails on purpose.
#pragma once

#include <maa/backend/cuda/command.hpp>
#include <maa/core/error.hpp>

#include <memory>
#include <span>
#include <string>

MAA_NAMESPACE_BEGIN
namespace cuda {

// One device and one stream: commands run in order. Every member may throw Error; what was allocated before
// stays valid. Not thread-safe; Context holds a lock.
class Driver {
 public:
  // A recorded list of commands, ready to run at once.
  class Graph {
   public:
    virtual ~Graph() = default;
  };

  Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  virtual ~Driver() = default;

  // "NVIDIA H200, compute capability 9.0, driver 13.0": for reports.
  virtual std::string describe() const = 0;

  // At least 256-byte aligned. Error that names size and free memory if there is not enough.
  virtual void* allocate(Index bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Host memory that copies to and from the device at full speed.
  virtual void* allocate_staging(Index bytes) = 0;
  virtual void release_staging(void* memory) noexcept = 0;

  // Starts them, in order. What they read must stay until synchronize().
  virtual void run(std::span<const Command> commands) = 0;
  // The same as one graph. `commands` have run before.
  virtual std::unique_ptr<Graph> record(std::span<const Command> commands) = 0;
  virtual void launch(const Graph& graph) = 0;
  // Waits until all is done; Error if any of it failed.
  virtual void synchronize() = 0;
};

}  // namespace cuda
MAA_NAMESPACE_END
