#include "trainer/console.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace drover {
namespace {

constexpr int kDefaultColumns = 80;

// mpirun gives its ranks a pseudo-terminal even when its own output goes to a file, and launch/mpirun.sh a pipe even when its own is a
// terminal: it says what it is.
int terminal_columns() {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  struct stat output {};
  const bool pipe = fstat(STDOUT_FILENO, &output) == 0 && S_ISFIFO(output.st_mode);
  const char* told = std::getenv("DROVER_TERMINAL");
  if (told != nullptr) return terminal || pipe ? std::max(0, std::atoi(told)) : 0;
  if (!terminal) return 0;
  if (std::getenv("OMPI_COMM_WORLD_RANK") != nullptr) return 0;
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultColumns;
}

// A screen or a log that cannot be written, because its reader is gone or the disk is full, ends no run.
void put(std::FILE* file, const std::string& text) {
  if (file == nullptr) return;
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
  std::clearerr(file);
}

}  // namespace

void clear_terminal_line() {
  if (terminal_columns() == 0) return;
  put(stdout, "\r\033[K");
}

std::string duration_text(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02d} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02d} min", whole / 3600, whole % 3600 / 60);
}

std::string progress_bar(int64_t done, int64_t all, const std::string& text, int columns) {
  constexpr int64_t kWidest = 24, kNarrowest = 4;
  const int64_t room = std::max(1, columns) - 1, width = std::min(kWidest, room - 1 - static_cast<int64_t>(text.size()));
  if (width < kNarrowest) return text.substr(0, static_cast<size_t>(room));
  const int64_t filled = std::clamp<int64_t>(width * done / std::max<int64_t>(1, all), 0, width);
  std::string bar;
  for (int64_t i = 0; i < width; ++i) bar += i < filled ? "█" : "·";
  return bar + " " + text;
}

Console::Console(bool active, const std::filesystem::path& run_directory, int64_t steps, double flops_per_token, double gemm_rate)
    : active_(active), columns_(active ? terminal_columns() : 0), steps_(steps), flops_per_token_(flops_per_token),
      gemm_rate_(gemm_rate) {
  if (active_) log_ = std::fopen((run_directory / "log.txt").c_str(), "ae");
}

Console::~Console() {
  clear_bar();
  if (log_ != nullptr) std::fclose(log_);
}

void Console::clear_bar() {
  if (bar_) clear_terminal_line();
  bar_ = false;
}

void Console::line(const std::string& text) {
  if (!active_) return;
  clear_bar();
  put(stdout, text + "\n");
  put(log_, text + "\n");
}

void Console::step(int64_t step, const StepResult& result, double tokens_per_second, double seconds_left, double data_share,
                   bool show) {
  if (!active_) return;
  const double share = 100 * tokens_per_second * flops_per_token_ / gemm_rate_;
  const std::string skipped = !result.skipped      ? ""
                              : result.weight == 0 ? "  SKIPPED (no target counts)"
                                                   : "  SKIPPED (not finite)",
                    left = duration_text(seconds_left);
  const std::string text = fmt::format(
      "step {}/{}  loss {:.4f}  grad norm {:.3f}  lr {:.2e}  {:.0f} tokens/s  {:.0f} % of the GEMM rate  {:.0f} % waiting for data "
      " {} left{}",
      step, steps_, result.loss, result.grad_norm, result.lr, tokens_per_second, share, 100 * data_share, left, skipped);
  if (columns_ == 0) {
    if (show || result.skipped) line(text);
    return;
  }
  const std::string brief = fmt::format("step {}/{}  loss {:.4f}  {:.0f} tokens/s  {:.0f} % of GEMM rate  {} left{}", step, steps_,
                                        result.loss, tokens_per_second, share, left, skipped);
  put(stdout, "\r\033[K" + progress_bar(step, steps_, brief, columns_));
  bar_ = true;
  if (show || result.skipped) put(log_, text + "\n");
}

}  // namespace drover
