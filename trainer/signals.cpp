#include "trainer/signals.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace drover {
namespace {

constexpr int kStops[] = {SIGINT, SIGTERM, SIGUSR1};

// A handler has no other place to write. Any thread may run it, so a sig_atomic_t is not enough.
std::atomic<bool> stop_requested = false;
std::atomic<bool> slurm_repeats_term = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void request_stop(int);

void set_handlers() {
  for (const int signal : kStops) {
    const bool ends = stop_requested && !(signal == SIGTERM && slurm_repeats_term);
    std::signal(signal, ends ? SIG_DFL : request_stop);
  }
}

extern "C" void request_stop(int) {
  stop_requested = true;
  set_handlers();
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  slurm_repeats_term = std::getenv("SLURM_JOB_ID") != nullptr;
  std::signal(SIGPIPE, SIG_IGN);
  install();
}
void StopSignals::install() {
  if (std::signal(SIGHUP, request_stop) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
  set_handlers();
}
StopSignals::~StopSignals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGPIPE}) std::signal(signal, SIG_DFL);
  if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}
bool StopSignals::requested() const { return stop_requested; }

}  // namespace drover
