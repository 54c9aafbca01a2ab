#include "trainer/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace drover {
namespace {

// mpirun gives its ranks a pseudo-terminal even when its own output goes to a file: launch/mpirun.sh says what it is.
bool on_terminal() {
  if (isatty(STDOUT_FILENO) != 1) return false;
  const char* told = std::getenv("DROVER_TERMINAL");
  if (told != nullptr) return std::string_view(told) == "1";
  return std::getenv("OMPI_COMM_WORLD_RANK") == nullptr;
}

}  // namespace

std::string duration_text(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02d} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02d} min", whole / 3600, whole % 3600 / 60);
}

Console::Console(bool active, const std::filesystem::path& run_directory, int64_t steps, double flops_per_token, double gemm_rate)
    : active_(active), terminal_(active && on_terminal()), steps_(steps), flops_per_token_(flops_per_token), gemm_rate_(gemm_rate) {
  if (active_) log_ = std::fopen((run_directory / "log.txt").c_str(), "ae");
}

Console::~Console() {
  clear_bar();
  if (log_ != nullptr) std::fclose(log_);
}

void Console::clear_bar() {
  if (bar_) fmt::print("\r\033[K");
  bar_ = false;
}

void Console::line(const std::string& text) {
  if (!active_) return;
  clear_bar();
  fmt::print("{}\n", text);
  std::fflush(stdout);
  if (log_ == nullptr) return;
  fmt::print(log_, "{}\n", text);
  std::fflush(log_);
}

void Console::step(int64_t step, const StepResult& result, double tokens_per_second, double seconds_left, bool show) {
  if (!active_) return;
  const std::string text = fmt::format("step {}/{}  loss {:.4f}  grad norm {:.3f}  lr {:.2e}  {:.0f} tokens/s  {:.0f} % of the GEMM rate  {} left{}", step, steps_,
                                       result.loss, result.grad_norm, result.lr, tokens_per_second, 100 * tokens_per_second * flops_per_token_ / gemm_rate_,
                                       duration_text(seconds_left), result.skipped ? "  SKIPPED (not finite)" : "");
  if (!terminal_) {
    if (show || result.skipped) line(text);
    return;
  }
  constexpr int64_t kWidth = 24;
  const int64_t filled = kWidth * step / std::max<int64_t>(1, steps_);
  std::string bar;
  for (int64_t i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "·";
  fmt::print("\r\033[K{} {}", bar, text);
  std::fflush(stdout);
  bar_ = true;
  if (log_ != nullptr && show) fmt::print(log_, "{}\n", text);
}

}  // namespace drover
