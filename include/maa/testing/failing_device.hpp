// A device that fails when it is told to: for tests that nothing leaks and everything goes on after any
// failure.
#pragma once

#include <maa/backend/cuda/driver.hpp>

MAA_NAMESPACE_BEGIN
namespace testing {

// Passes everything on to `device`, which must outlive it. Every allocation, every command that is run on its
// own, every recording, launch of a graph and synchronisation is a call; one of them throws, before anything
// is done.
class FailingDevice : public cuda::Driver {
 public:
  explicit FailingDevice(cuda::Driver& device) : device_(device) {}

  // The `call`-th call from now on (0 is the next one) throws; negative: none does.
  void fail_at(Index call) {
    calls_ = 0;
    fail_at_ = call;
  }
  // Calls since then.
  Index calls() const { return calls_; }
  bool has_failed() const { return fail_at_ >= 0 && calls_ > fail_at_; }

  std::string describe() const override { return device_.describe() + " that fails"; }
  void* allocate(Index bytes) override {
    count("allocation");
    return device_.allocate(bytes);
  }
  void release(void* memory) noexcept override { device_.release(memory); }
  void* allocate_staging(Index bytes) override {
    count("allocation of host memory");
    return device_.allocate_staging(bytes);
  }
  void release_staging(void* memory) noexcept override { device_.release_staging(memory); }

  void run(std::span<const cuda::Command> commands) override {
    for (std::size_t i = 0; i < commands.size(); ++i) {
      count("command");
      device_.run(commands.subspan(i, 1));
    }
  }
  std::unique_ptr<Graph> record(std::span<const cuda::Command> commands) override {
    count("recording");
    return device_.record(commands);
  }
  void launch(const Graph& graph) override {
    count("launch");
    device_.launch(graph);
  }
  void synchronize() override {
    count("synchronisation");
    device_.synchronize();
  }

 private:
  void count(const char* what) {
    const Index call = calls_++;
    require(call != fail_at_, what, " fails on purpose, call ", call);
  }

  cuda::Driver& device_;
  Index calls_ = 0;
  Index fail_at_ = -1;
};

}  // namespace testing
MAA_NAMESPACE_END
