// The loops of one thread, shared with workers that wait for the next one awake.
#pragma once

#include <maa/core/function_ref.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

MAA_NAMESPACE_BEGIN
namespace detail {

// The processor's atomic numbers and time. LoopSharing's test has others, which let it try every order of
// steps.
struct RealThreads {
  template <class T>
  using Atomic = std::atomic<T>;

  static void pause() {
#if MAA_HAS_X86_KERNELS
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    std::this_thread::yield();
#endif
  }

  // How long a worker waits awake: pauses last from nanoseconds to microseconds, so that they cannot be
  // counted.
  class Patience {
   public:
    void renew() { pauses_ = 0; }
    bool ended() {
      constexpr int between_looks = 64;
      if (pauses_++ == 0) {
        begin_ = std::chrono::steady_clock::now();
      }
      return pauses_ % between_looks == 0 &&
             std::chrono::steady_clock::now() - begin_ > std::chrono::microseconds(300);
    }

   private:
    int pauses_ = 0;
    std::chrono::steady_clock::time_point begin_;
  };
};

// Falling asleep and waking up takes longer than many loops of a model's pass. Whoever is free takes the next
// index, so a worker that comes late or never delays nothing.
//
// All that a worker decides by is one number, next_, from which it takes an index by exchanging it; what
// belongs to the loop is read after that, when the loop cannot end any more before this index is done.
// tests/loop_sharing_test.cpp tries all orders of steps that C++'s memory model allows.
template <class Threads>
class BasicLoopSharing {
 public:
  using Body = FunctionRef<void(Index)>;
  static constexpr Index most = 0xffffffff;  // indices of a loop

  // On the owner's thread: body(i) for i in [0, count), count <= most. If bodies throw, the first one's
  // exception is thrown once all have ended.
  void run(Index count, const Body& body) {
    running_ = true;
    body_.store(&body, std::memory_order_relaxed);
    count_.store(count, std::memory_order_relaxed);
    unfinished_.store(count, std::memory_order_relaxed);
    loop_ = (loop_ + 1) & 0x7fffffff;
    next_.store(loop_ << 32 | static_cast<std::uint64_t>(count), std::memory_order_release);
    next_.notify_all();
    while (take_index(next_.load(std::memory_order_relaxed))) {
    }
    while (unfinished_.load(std::memory_order_acquire) > 0) {
      Threads::pause();
    }
    running_ = false;
    if (failed_.load(std::memory_order_relaxed)) {
      failed_.store(false, std::memory_order_relaxed);
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }
  bool running() const { return running_; }

  // On a worker's thread, until close().
  void work() {
    typename Threads::Patience patience;
    auto seen = next_.load(std::memory_order_relaxed);
    for (; seen != closed; seen = next_.load(std::memory_order_relaxed)) {
      if (take_index(seen)) {
        patience.renew();
      } else if (!patience.ended()) {
        Threads::pause();
      } else {
        next_.wait(seen, std::memory_order_relaxed);
        patience.renew();
      }
    }
  }
  // On the owner's thread, between loops.
  void close() {
    next_.store(closed, std::memory_order_relaxed);
    next_.notify_all();
  }

 private:
  static constexpr std::uint64_t closed = std::uint64_t{1} << 63;
  static constexpr Index left(std::uint64_t ticket) { return static_cast<Index>(ticket & 0xffffffff); }

  // Runs one index of the current loop; false if none is left. `ticket`: what next_ was of late.
  bool take_index(std::uint64_t ticket) {
    do {
      if (left(ticket) == 0) {
        return false;
      }
    } while (!next_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    const auto* const body = body_.load(std::memory_order_relaxed);
    const Index index = count_.load(std::memory_order_relaxed) - left(ticket);
    std::exception_ptr error;
    try {
      (*body)(index);
    } catch (...) {
      error = std::current_exception();
    }
    if (error && !failed_.exchange(true, std::memory_order_relaxed)) {
      error_ = std::move(error);
    }
    unfinished_.fetch_sub(1, std::memory_order_release);
    return true;
  }

  template <class T>
  using Atomic = typename Threads::template Atomic<T>;

  Atomic<std::uint64_t> next_ = 0;  // the loop's number and how many indices are left; or closed
  Atomic<const Body*> body_ = nullptr;
  Atomic<Index> count_ = 0;
  Atomic<Index> unfinished_ = 0;
  Atomic<bool> failed_ = false;
  std::exception_ptr error_;  // of who set failed_
  std::uint64_t loop_ = 0;    // the owner's
  bool running_ = false;
};

class LoopSharing : public BasicLoopSharing<RealThreads> {};

}  // namespace detail
MAA_NAMESPACE_END
