// How far a command is that reads tokens: one line on a terminal that is drawn over; in a log, a plain one now and then.
#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

namespace drover {

class TokenProgress {
 public:
  void show(const std::filesystem::path& file, int64_t tokens) {
    constexpr double kTerminal = 0.2, kLog = 10;
    if (std::chrono::duration<double>(Clock::now() - shown_).count() < (terminal_ ? kTerminal : kLog)) return;
    shown_ = Clock::now();
    fmt::print(stderr, "{}{}: {:.0f} million tokens{}", terminal_ ? "\r\033[K" : "", file.filename().string(),
               static_cast<double>(tokens) / 1e6, terminal_ ? "" : "\n");
  }
  ~TokenProgress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point shown_ = Clock::now();
  bool terminal_ = isatty(STDERR_FILENO) == 1;
};

}  // namespace drover
