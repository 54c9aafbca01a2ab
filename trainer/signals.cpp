#include "trainer/signals.h"

#include <csignal>

namespace drover {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

volatile std::sig_atomic_t stop_requested = 0;  // a handler has no other place to write

extern "C" void request_stop(int signal) {
  stop_requested = 1;
  std::signal(signal, SIG_DFL);
  for (const int other : kSignals) std::signal(other, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = 0;
  install();
}
void StopSignals::install() {
  if (stop_requested != 0) return;  // the next signal ends the process
  for (const int signal : kSignals) std::signal(signal, request_stop);
}
StopSignals::~StopSignals() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}
bool StopSignals::requested() const { return stop_requested != 0; }

}  // namespace drover
