// What a person sees: rank 0 only. A progress bar on a terminal, plain lines in a log; log.txt always gets the plain lines.
// DROVER_TERMINAL (columns; 0: no terminal) is how launch/mpirun.sh says what its own output is.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "trainer/engine.h"

namespace drover {

class Console {
 public:
  // `active`: this rank speaks. `gemm_rate`: FLOP/s of all ranks' matrix products, measured at start.
  Console(bool active, const std::filesystem::path& run_directory, int64_t steps, double flops_per_token, double gemm_rate);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void line(const std::string& text);
  // `data_share`: of the step's time, spent waiting for data. `show`: print a line where there is no terminal.
  void step(int64_t step, const StepResult& result, double tokens_per_second, double seconds_left, double data_share, bool show);
  void clear_bar();  // before something else is written to the terminal

 private:
  bool active_;
  int columns_;  // of the terminal; 0: there is none
  int64_t steps_;
  double flops_per_token_, gemm_rate_;
  std::FILE* log_ = nullptr;
  bool bar_ = false;
};

// A progress bar that is being drawn by another thread gives its line to what comes next; without a terminal, nothing.
void clear_terminal_line();

std::string duration_text(double seconds);  // "3 min 20 s"

// A bar of at most 24 cells and the text, in no more than `columns` - 1 cells: a line that wraps cannot be drawn over.
std::string progress_bar(int64_t done, int64_t all, const std::string& text, int columns);

}  // namespace drover
