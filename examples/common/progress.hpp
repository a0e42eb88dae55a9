// Progress of long work on standard error: a bar on a terminal, otherwise a plain line now and then.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include <maa/core/config.hpp>

namespace maa::examples {

class Progress {
 public:
  Progress(std::string label, Index total) : label_(std::move(label)), total_(std::max<Index>(1, total)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_ && terminal_) {
      std::fputc('\n', stderr);
    }
  }

  // `note` is shown behind the bar, for instance the loss. The rate counts from the first call.
  void update(Index done, const std::string& note = {}) {
    const auto now = Clock::now();
    if (!begun_) {
      begun_ = true;
      first_done_ = done;
      first_ = last_ = now;
    }
    const double pause = terminal_ ? 0.1 : 10;
    if (finished_ || (done < total_ && seconds(last_, now) < pause)) {
      return;
    }
    finished_ = done >= total_;
    last_ = now;
    const double elapsed = seconds(first_, now);
    const double rate = elapsed > 0 ? static_cast<double>(done - first_done_) / elapsed : 0;
    const double left = rate > 0 ? static_cast<double>(total_ - done) / rate : 0;
    const auto filled = static_cast<std::size_t>(width * std::min(done, total_) / total_);
    const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
    std::fprintf(stderr, "%s  %-22s [%s] %td/%td  %.1f/s  %s %.0f s  %s%s", terminal_ ? "\r\033[K" : "",
                 label_.c_str(), bar.c_str(), done, total_, rate, finished_ ? "took" : "left",
                 finished_ ? seconds(start_, now) : left, note.c_str(), terminal_ ? "" : "\n");
    std::fflush(stderr);
    shown_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Index width = 24;

  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }

  std::string label_;
  Index total_;
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  bool begun_ = false;
  bool shown_ = false;
  bool finished_ = false;
  Index first_done_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_;
  Clock::time_point last_;
};

}  // namespace maa::examples
