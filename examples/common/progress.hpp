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

  // `note` is shown behind the bar, for instance the loss.
  void update(Index done, const std::string& note = {}) {
    const auto now = Clock::now();
    const double pause = terminal_ ? 0.1 : 10;
    if (shown_ && done < total_ && std::chrono::duration<double>(now - last_).count() < pause) {
      return;
    }
    if (done >= total_ && finished_) {
      return;
    }
    finished_ = done >= total_;
    shown_ = true;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    const double rest = rate > 0 ? static_cast<double>(total_ - done) / rate : 0;
    const auto filled = static_cast<std::size_t>(width * std::min(done, total_) / total_);
    const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
    std::fprintf(stderr, terminal_ ? "\r\033[K  %-22s [%s] %td/%td  %.1f/s  %s %.0f s  %s" : "  %-22s [%s] %td/%td  %.1f/s  %s %.0f s  %s\n",
                 label_.c_str(), bar.c_str(), done, total_, rate, finished_ ? "took" : "left",
                 finished_ ? seconds : rest, note.c_str());
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Index width = 24;

  std::string label_;
  Index total_;
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  bool shown_ = false;
  bool finished_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace maa::examples
