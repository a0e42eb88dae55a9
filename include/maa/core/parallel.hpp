// Threads: a user-sized oneTBB arena, and loops whose split depends on the problem alone.
#pragma once

#include <maa/core/error.hpp>
#include <maa/core/function_ref.hpp>

#include <algorithm>
#include <memory>

#if MAA_BODIES
#include <maa/core/loop_sharing.hpp>

#pragma push_macro("emit")  // Qt's, which oneTBB has a function of that name for
#undef emit
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>
#pragma pop_macro("emit")
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
  // order: each i writes its own place, sums over i are formed afterwards in order of i. If bodies throw (as
  // std::bad_alloc for their scratch), the exception of one of them is thrown here, when none runs any more.
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
  if (shared && count > 1 && count <= detail::LoopSharing::most && !session->sharing_->running()) {
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
  try {
    for (int i = 1; i < pool.threads(); ++i) {
      pool.arena_->enqueue([sharing = sharing_] { sharing->work(); });
    }
  } catch (...) {
    sharing_->close();
    throw;
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
