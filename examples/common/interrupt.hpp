// ctrl-C as a question that long work asks now and then. A second ctrl-C ends the program at once.
#pragma once

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>

namespace maa::examples {

// Unwinds to main; what was finished before is kept.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

namespace detail {
inline volatile std::sig_atomic_t interrupt_flag = 0;
}

inline void watch_for_interrupt() {
  std::signal(SIGINT, [](int) {
    detail::interrupt_flag = 1;
    std::signal(SIGINT, SIG_DFL);
  });
}
inline bool interrupted() {
  return detail::interrupt_flag != 0;
}
inline void stop_if_interrupted() {
  if (interrupted()) {
    throw Interrupted();
  }
}

// The body of a main(): errors and ctrl-C become messages and exit codes.
template <class Body>
int run_interruptibly(const std::filesystem::path& out, const Body& body) {
  watch_for_interrupt();
  try {
    body();
    return 0;
  } catch (const Interrupted&) {
    std::fprintf(stderr, "\nStopped. What is finished is kept in %s; the same command goes on from there.\n",
                 out.c_str());
    return 130;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nerror: %s\n", error.what());
    return 1;
  }
}

}  // namespace maa::examples
