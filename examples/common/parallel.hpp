// Independent pieces of work on several threads, with progress and ctrl-C.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "interrupt.hpp"
#include "progress.hpp"

namespace maa::examples {

// Calls body(i) for i in [0, count). Each i must write its own place. The first exception of a body is thrown
// here, and Interrupted after ctrl-C; no piece is begun then.
template <class Body>
void run_parallel(const std::string& label, int threads, Index count, const Body& body) {
  Progress progress(label, count);
  std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr error;
  Index next = 0, done = 0;
  int running = std::max(1, threads);
  const auto work = [&] {
    std::unique_lock lock(mutex);
    while (next < count && !error && !interrupted()) {
      const Index i = next++;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        body(i);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      ++done;
      error = error ? error : thrown;
    }
    --running;
    changed.notify_one();
  };
  {
    std::vector<std::jthread> workers;
    for (int i = running; i > 0; --i) {
      workers.emplace_back(work);
    }
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return running == 0; })) {
      progress.update(done);
    }
    progress.update(done);
  }
  if (error) {
    std::rethrow_exception(error);
  }
  stop_if_interrupted();
}

}  // namespace maa::examples
