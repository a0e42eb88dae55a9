// Sharing of loops between threads in every order of steps that C++'s memory model allows.
#include <doctest/doctest.h>

#include <maa/core/loop_sharing.hpp>

#include "memory_model.hpp"

#include <deque>
#include <optional>

namespace {

using maa::FunctionRef;
using maa::Index;
using test::MemoryModel;

struct ModelThreads {
  template <class T>
  using Atomic = test::ModelAtomic<T>;

  static void pause() { MemoryModel::current()->pause(); }
  struct Patience {
    void renew() { MemoryModel::current()->forget(); }  // a worker's loop begins again
    bool ended() {
      const bool result = MemoryModel::current()->choose(2) == 1;
      if (!result) {
        renew();
      }
      return result;
    }
  };
};
using LoopSharing = maa::detail::BasicLoopSharing<ModelThreads>;

// Loops of an owner with some workers: each index runs once, none after its loop, and the owner sees what
// bodies wrote.
template <class Sharing>
struct Scenario {
  std::vector<Index> counts;
  int workers = 1;
  Index thrown_at = -1;  // in every loop

  std::optional<Sharing> sharing;
  std::vector<test::ModelPlain> written;
  std::vector<int> ran;
  std::deque<std::function<void(Index)>>
      bodies;  // for as long as an execution: a faulty worker runs one late
  std::deque<FunctionRef<void(Index)>> references;
  int loop = -1;

  std::vector<std::function<void()>> threads() {
    sharing.reset();
    sharing.emplace();
    written.clear();
    written.resize(4);
    loop = -1;
    bodies.clear();
    references.clear();
    std::vector<std::function<void()>> result{[this] { own(); }};
    for (int i = 0; i < workers; ++i) {
      result.emplace_back([this] { sharing->work(); });
    }
    return result;
  }
  void own() {
    auto& model = *MemoryModel::current();
    for (const Index count : counts) {
      ran.assign(written.size(), 0);
      const int now = ++loop;
      bodies.emplace_back([&model, this, count, now](Index i) {
        model.require(now == loop && i >= 0 && i < count, "a body runs outside of its loop");
        if (i >= 0 && i < count) {
          ++ran[static_cast<std::size_t>(i)];
          written[static_cast<std::size_t>(i)].write();
          if (i == thrown_at) {
            throw static_cast<int>(i);
          }
        }
      });
      references.emplace_back(bodies.back());
      bool thrown = false;
      try {
        sharing->run(count, references.back());
      } catch (int) {
        thrown = true;
      }
      model.require(thrown == (thrown_at >= 0 && thrown_at < count), "an exception is lost or made up");
      for (Index i = 0; i < count; ++i) {
        model.require(ran[static_cast<std::size_t>(i)] == 1, "an index does not run exactly once");
        written[static_cast<std::size_t>(i)].read();
      }
    }
    sharing->close();
  }
};

template <class Sharing>
std::string fault_of(std::vector<Index> counts, int workers, Index thrown_at = -1) {
  Scenario<Sharing> scenario;
  scenario.counts = std::move(counts);
  scenario.workers = workers;
  scenario.thrown_at = thrown_at;
  MemoryModel model;
  const auto executions = model.explore([&] { return scenario.threads(); });
  MESSAGE(executions << " executions, " << model.states() << " states");
  scenario.sharing.reset();
  return model.fault();
}

TEST_CASE("every index runs once, in whatever order the steps of owner and workers are seen") {
  CHECK(fault_of<LoopSharing>({}, 2) == "");
  CHECK(fault_of<LoopSharing>({2}, 1) == "");
  CHECK(fault_of<LoopSharing>({1, 2}, 1) == "");
  CHECK(fault_of<LoopSharing>({1}, 2) == "");
}

TEST_CASE("an exception of a body reaches the owner once all have ended, and the next loop is as any") {
  CHECK(fault_of<LoopSharing>({2}, 1, 0) == "");
  CHECK(fault_of<LoopSharing>({1, 1}, 1, 0) == "");
}

// How it was: a ticket that is closed while a loop changes, the loop's count read beside it, and a flag to
// end.
class EarlierSharing {
 public:
  void run(Index count, const FunctionRef<void(Index)>& body) {
    ++job_;
    next_.store(job_ << 32 | no_index, std::memory_order_release);
    body_.store(&body, std::memory_order_relaxed);
    count_.store(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
    unfinished_.store(count, std::memory_order_relaxed);
    next_.store(job_ << 32, std::memory_order_release);
    next_.notify_all();
    while (take_index()) {
    }
    while (unfinished_.load(std::memory_order_acquire) > 0) {
      ModelThreads::pause();
    }
  }
  void work() {
    while (!closed_.load(std::memory_order_acquire)) {
      const auto seen = next_.load(std::memory_order_acquire);
      if (!take_index()) {
        next_.wait(seen, std::memory_order_acquire);
      }
    }
  }
  void close() {
    closed_.store(true, std::memory_order_release);
    next_.store(++job_ << 32 | no_index, std::memory_order_release);
    next_.notify_all();
  }

 private:
  static constexpr std::uint64_t no_index = 0xffffffff;
  bool take_index() {
    auto ticket = next_.load(std::memory_order_acquire);
    for (;;) {
      const std::uint64_t index = ticket & no_index;
      if (index == no_index || index >= count_.load(std::memory_order_relaxed)) {
        return false;
      }
      const auto* const body = body_.load(std::memory_order_relaxed);
      if (next_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
        MemoryModel::current()->require(body != nullptr, "a worker finds no body");
        if (body != nullptr) {
          (*body)(static_cast<Index>(index));
        }
        unfinished_.fetch_sub(1, std::memory_order_release);
        return true;
      }
    }
  }
  ModelThreads::Atomic<std::uint64_t> next_ = no_index, count_ = std::uint64_t{0};
  ModelThreads::Atomic<const FunctionRef<void(Index)>*> body_ = nullptr;
  ModelThreads::Atomic<Index> unfinished_ = Index{0};
  ModelThreads::Atomic<bool> closed_ = false;
  std::uint64_t job_ = 0;
};

TEST_CASE("the model finds what was wrong with an earlier sharing") {
  CHECK(fault_of<EarlierSharing>({}, 1) == "threads wait for each other, or one sleeps for good");
  CHECK(fault_of<EarlierSharing>({1, 3}, 1) == "a body runs outside of its loop");
}

}  // namespace
