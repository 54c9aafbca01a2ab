#include "trainer/signals.h"

#include <csignal>

namespace drover {
namespace {

constexpr int kSignals[] = {SIGINT, SIGUSR1, SIGTERM};
constexpr int kOnce[] = {SIGINT, SIGUSR1};  // by default, these end the process

volatile std::sig_atomic_t stop_requested = 0;  // a handler has no other place to write

extern "C" void request_stop(int) {
  stop_requested = 1;
  for (const int signal : kOnce) std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = 0;
  install();
}
void StopSignals::install() {
  std::signal(SIGTERM, request_stop);
  if (stop_requested != 0) return;  // the next INT or USR1 ends the process
  for (const int signal : kOnce) std::signal(signal, request_stop);
}
StopSignals::~StopSignals() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}
bool StopSignals::requested() const { return stop_requested != 0; }

}  // namespace drover
