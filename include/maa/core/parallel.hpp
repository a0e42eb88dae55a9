// Threads: a user-sized oneTBB arena, and loops whose split depends on the problem alone.
#pragma once

#include <maa/core/error.hpp>
#include <maa/core/function_ref.hpp>

#include <algorithm>
#include <memory>

#if MAA_BODIES
#pragma push_macro("emit")  // Qt's, which oneTBB has a function of that name for
#undef emit
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>
#pragma pop_macro("emit")

#include <atomic>
#include <thread>
#endif

MAA_NAMESPACE_BEGIN

namespace detail {

class LoopSharing;

}  // namespace detail

// A pool of threads of a given size; copies share them. oneTBB ignores container quotas, so the size is the
// user's to set.
class ThreadPool {
 public:
  // 0 threads: one per hardware thread. oneTBB's own limit (one per hardware thread, unless the application
  // sets a tbb::global_control) caps the size; asking it for more would make it print a warning.
  explicit ThreadPool(int threads = 0);

  int threads() const;

  // Calls body(i) for i in [0, count), in any order, on the pool's threads. Results must not depend on the
  // order: each i writes its own place, sums over i are formed afterwards in order of i. `body` must not
  // throw.
  template <class Body>
  void for_each(Index count, const Body& body) const {
    run(count, body);
  }

  // While it lives, its thread's loops keep the pool's workers awake: for a pass of a model or a run of the
  // sampler. One within another has no effect.
  class Session {
   public:
    explicit Session(const ThreadPool& pool);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

   private:
    friend ThreadPool;
    std::shared_ptr<detail::LoopSharing> sharing_;
    const ThreadPool* pool_ = nullptr;
  };

 private:
  void run(Index count, FunctionRef<void(Index)> body) const;

  struct Arena;
  std::shared_ptr<Arena> arena_;
};

// Splits [0, size) in chunks of `chunk` (the last may be shorter): body(chunk index, first, last).
template <class Body>
void for_chunks(const ThreadPool& pool, Index size, Index chunk, const Body& body) {
  pool.for_each((size + chunk - 1) / chunk, [&](Index i) {
    const Index first = i * chunk;
    body(i, first, std::min(size, first + chunk));
  });
}

#if MAA_BODIES

namespace detail {

// The loops of one thread, shared with workers that wait for the next one awake: falling asleep and waking up
// takes longer than many loops of a model's pass. Whoever is free takes the next index, so a worker that
// comes late or never delays nothing.
class LoopSharing {
 public:
  // On the owner's thread.
  void run(Index count, const FunctionRef<void(Index)>& body) {
    running_ = true;
    ++job_;
    next_.store(job_ << 32 | no_index,
                std::memory_order_release);  // nobody takes part while the loop changes
    body_.store(&body, std::memory_order_relaxed);
    count_.store(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
    unfinished_.store(count, std::memory_order_relaxed);
    next_.store(job_ << 32, std::memory_order_release);
    next_.notify_all();
    while (take_index()) {
    }
    while (unfinished_.load(std::memory_order_acquire) > 0) {
      pause();
    }
    running_ = false;
  }
  bool running() const { return running_; }

  // On a worker's thread, until close().
  void work() {
    constexpr int spins = 1 << 14;  // some hundred microseconds
    for (int idle = 0; !closed_.load(std::memory_order_acquire);) {
      const auto seen = next_.load(std::memory_order_acquire);
      if (take_index()) {
        idle = 0;
      } else if (++idle < spins) {
        pause();
      } else {
        next_.wait(seen, std::memory_order_acquire);
        idle = 0;
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

  // Runs one index of the current loop; false if none is left.
  bool take_index() {
    auto ticket = next_.load(std::memory_order_acquire);
    for (;;) {
      const std::uint64_t index = ticket & no_index;
      if (index == no_index || index >= count_.load(std::memory_order_relaxed)) {
        return false;
      }
      const auto* const body = body_.load(std::memory_order_relaxed);
      // Succeeds only if the loop is still the one that was read: it cannot end before this index is done.
      if (next_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
        (*body)(static_cast<Index>(index));
        unfinished_.fetch_sub(1, std::memory_order_release);
        return true;
      }
    }
  }
  static void pause() {
#if MAA_HAS_X86_KERNELS
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  std::atomic<std::uint64_t> next_ = no_index;  // the loop's number and its next index
  std::atomic<std::uint64_t> count_ = 0;
  std::atomic<const FunctionRef<void(Index)>*> body_ = nullptr;
  std::atomic<Index> unfinished_ = 0;
  std::atomic<bool> closed_ = false;
  std::uint64_t job_ = 0;  // the owner's
  bool running_ = false;
};

inline thread_local ThreadPool::Session* current_session = nullptr;  // of this thread

}  // namespace detail

struct ThreadPool::Arena : tbb::task_arena {
  using task_arena::task_arena;
};

MAA_INLINE ThreadPool::ThreadPool(int threads) {
  require(threads >= 0, "thread pool: expected 0 (all) or more threads, found ", threads);
  if (threads == 0) {
    threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  const auto limit = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  arena_ = std::make_shared<Arena>(std::min(threads, static_cast<int>(limit)));
}

MAA_INLINE int ThreadPool::threads() const {
  return arena_->max_concurrency();
}

MAA_INLINE void ThreadPool::run(Index count, FunctionRef<void(Index)> body) const {
  const Session* const session = detail::current_session;
  const bool shared = session != nullptr && session->pool_ == this;
  if (shared && count > 1 && !session->sharing_->running()) {
    session->sharing_->run(count, body);
    return;
  }
  if (count <= 1 || threads() == 1 || shared) {
    for (Index i = 0; i < count; ++i) {
      body(i);
    }
    return;
  }
  arena_->execute([&] { tbb::parallel_for(Index{0}, count, body, tbb::simple_partitioner{}); });
}

MAA_INLINE ThreadPool::Session::Session(const ThreadPool& pool) {
  if (pool.threads() == 1 || detail::current_session != nullptr) {
    return;
  }
  sharing_ = std::make_shared<detail::LoopSharing>();
  for (int i = 1; i < pool.threads(); ++i) {
    pool.arena_->enqueue([sharing = sharing_] { sharing->work(); });
  }
  detail::current_session = this;
  pool_ = &pool;
}

MAA_INLINE ThreadPool::Session::~Session() {
  if (sharing_ != nullptr) {
    sharing_->close();
    detail::current_session = nullptr;
  }
}

#endif

MAA_NAMESPACE_END
