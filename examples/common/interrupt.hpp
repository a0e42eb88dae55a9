// ctrl-C as a question that long work asks now and then. A second ctrl-C ends the program at once.
#pragma once

#include <csignal>
#include <exception>

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

}  // namespace maa::examples
