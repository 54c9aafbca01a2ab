#include "trainer/signals.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace drover {
namespace {

constexpr int kOnce[] = {SIGINT, SIGUSR1};  // a second one ends the process

// A handler has no other place to write. Any thread may run it, so a sig_atomic_t is not enough.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void request_stop(int) {
  stop_requested = true;
  for (const int signal : kOnce) std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  std::signal(SIGPIPE, SIG_IGN);
  install();
}
void StopSignals::install() {
  std::signal(SIGTERM, request_stop);
  if (std::signal(SIGHUP, request_stop) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
  if (stop_requested) return;                                                      // the next INT or USR1 ends the process
  for (const int signal : kOnce) std::signal(signal, request_stop);
}
StopSignals::~StopSignals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGPIPE}) std::signal(signal, SIG_DFL);
  if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}
bool StopSignals::requested() const { return stop_requested; }

}  // namespace drover
