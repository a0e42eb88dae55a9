// Threads: a user-sized oneTBB arena, and loops whose split depends on the problem alone.
#pragma once

#include <maa/core/error.hpp>

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <memory>
#include <thread>

MAA_NAMESPACE_BEGIN

// A pool of threads of a given size. oneTBB ignores container quotas, so the size is the user's to set.
class ThreadPool {
 public:
  // 0 threads: one per hardware thread. oneTBB's own limit (one per hardware thread, unless the application
  // sets a tbb::global_control) caps the size; asking it for more would make it print a warning.
  explicit ThreadPool(int threads = 0) {
    require(threads >= 0, "thread pool: expected 0 (all) or more threads, found ", threads);
    if (threads == 0) {
      threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    }
    const auto limit = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    arena_ = std::make_unique<tbb::task_arena>(std::min(threads, static_cast<int>(limit)));
  }

  int threads() const { return arena_->max_concurrency(); }

  // Calls body(i) for i in [0, count), in any order, on the pool's threads. Results must not depend on the
  // order: each i writes its own place, sums over i are formed afterwards in order of i. `body` must not
  // throw.
  template <class Body>
  void for_each(Index count, const Body& body) const {
    if (count <= 1 || threads() == 1) {
      for (Index i = 0; i < count; ++i) {
        body(i);
      }
      return;
    }
    arena_->execute([&] { tbb::parallel_for(Index{0}, count, body, tbb::simple_partitioner{}); });
  }

 private:
  std::unique_ptr<tbb::task_arena> arena_;
};

// Splits [0, size) in chunks of `chunk` (the last may be shorter): body(chunk index, first, last).
template <class Body>
void for_chunks(const ThreadPool& pool, Index size, Index chunk, const Body& body) {
  pool.for_each((size + chunk - 1) / chunk, [&](Index i) {
    const Index first = i * chunk;
    body(i, first, std::min(size, first + chunk));
  });
}

MAA_NAMESPACE_END
