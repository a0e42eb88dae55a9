// Loops on a pool: every index once, within sessions and without, nested, and from several threads.
#include <doctest/doctest.h>

#include <maa/core/parallel.hpp>

#include <chrono>
#include <numeric>
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
