// Loops on a pool: every index once, within sessions and without, nested, and from several threads.
#include <doctest/doctest.h>

#include <maa/core/parallel.hpp>

#include <tbb/global_control.h>
#include <atomic>
#include <chrono>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace maa;

// Many short loops, each of which adds what the one before it wrote.
std::vector<Index> chain(const ThreadPool& pool, Index size, int loops) {
  std::vector<Index> from(static_cast<std::size_t>(size)), to(from.size());
  std::iota(from.begin(), from.end(), 0);
  for (int loop = 0; loop < loops; ++loop) {
    pool.for_each(size, [&](Index i) {
      const auto at = static_cast<std::size_t>(i);
      to[at] = from[at] + from[(at + 1) % from.size()] % 1000;
    });
    std::swap(from, to);
  }
  return from;
}

TEST_CASE("loops of a session run every index once, in order of the loops") {
  const auto expected = chain(ThreadPool(1), 37, 2000);
  for (const int threads : {1, 2, 4}) {
    const ThreadPool pool(threads);
    CHECK(chain(pool, 37, 200) == chain(ThreadPool(1), 37, 200));
    const ThreadPool::Session session(pool);
    CHECK(chain(pool, 37, 2000) == expected);
    const ThreadPool::Session inner(pool);  // has no effect
    CHECK(chain(pool, 37, 2000) == expected);
  }
}

TEST_CASE(
    "loops may be nested, use another pool, be empty, and pause long enough for workers to fall asleep") {
  const ThreadPool pool(4), other(2);
  const ThreadPool::Session session(pool);
  std::vector<Index> sums(20);
  pool.for_each(20, [&](Index i) {
    std::vector<Index> parts(30);
    pool.for_each(30, [&](Index j) { parts[static_cast<std::size_t>(j)] = i * j; });
    other.for_each(2, [&](Index j) { parts[static_cast<std::size_t>(j)] += 1; });
    sums[static_cast<std::size_t>(i)] = std::accumulate(parts.begin(), parts.end(), Index{0});
  });
  for (Index i = 0; i < 20; ++i) {
    CHECK(sums[static_cast<std::size_t>(i)] == i * 435 + 2);
  }
  pool.for_each(0, [&](Index) { FAIL("no index"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(chain(pool, 37, 100) == chain(ThreadPool(1), 37, 100));
}

// A loop of two indices on two threads, of which the chosen ones throw.
std::string thrown_by_loop(const ThreadPool& pool, bool on_owner, bool on_worker) {
  const auto owner = std::this_thread::get_id();
  std::atomic<int> begun = 0, ended = 0;
  std::string found = "none";
  try {
    pool.for_each(2, [&](Index) {
      ++begun;
      for (int i = 0; begun < 2 && i < 10'000; ++i) {  // the other index must be another thread's
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      ++ended;
      const bool mine = std::this_thread::get_id() == owner;
      if (mine ? on_owner : on_worker) {
        throw std::runtime_error(mine ? "owner" : "worker");
      }
    });
  } catch (const std::runtime_error& error) {
    found = error.what();
  }
  CHECK(begun == 2);
  CHECK(ended == 2);
  return found;
}

TEST_CASE(
    "an exception of a loop's body reaches the caller from whatever thread, once all bodies have ended") {
  const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 4);
  const ThreadPool pool(2);
  const auto check = [&] {
    for (int i = 0; i < 3; ++i) {
      CHECK(thrown_by_loop(pool, false, true) == "worker");
      CHECK(thrown_by_loop(pool, true, false) == "owner");
      const auto one_of_both = thrown_by_loop(pool, true, true);
      CHECK((one_of_both == "owner" || one_of_both == "worker"));
      CHECK(thrown_by_loop(pool, false, false) == "none");
      CHECK(chain(pool, 37, 20) == chain(ThreadPool(1), 37, 20));
    }
  };
  check();
  {
    const ThreadPool::Session session(pool);
    check();
    // From a loop within a loop, too.
    CHECK_THROWS_AS(pool.for_each(5,
                                  [&](Index) {
                                    pool.for_each(3, [](Index j) {
                                      if (j == 1) {
                                        throw std::bad_alloc();
                                      }
                                    });
                                  }),
                    std::bad_alloc);
  }
  check();
  CHECK_THROWS_AS(ThreadPool(1).for_each(3, [](Index) { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST_CASE("several threads may have sessions of one pool, and sessions may end at once") {
  const ThreadPool pool(3);
  const auto expected = chain(ThreadPool(1), 11, 500);
  std::vector<std::vector<Index>> found(4);
  std::vector<std::thread> threads;
  for (auto& values : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const ThreadPool::Session unused(pool);
      }
      const ThreadPool::Session session(pool);
      values = chain(pool, 11, 500);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& values : found) {
    CHECK(values == expected);
  }
}

}  // namespace
