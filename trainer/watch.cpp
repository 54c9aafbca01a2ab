#include "trainer/watch.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>

#include "trainer/console.h"

namespace drover {
namespace {

// Another thread ends the process.
[[noreturn]] void wait_for_the_end() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace

Watch::Watch(World& world, const RunConfig& run, History& history)
    : rank_(world.rank()), ranks_(world.size()), run_(run), history_(history) {
  if (world.size() == 1 || run.heartbeat_seconds == 0) return;
  std::string problem;
  std::optional<RingSockets> sockets = connect_ring(world.all(), problem);
  if (!sockets) {
    warning_ = fmt::format(
        "warning: no heartbeat, so a host that is cut off will not be noticed: {} by TCP (IPv4) outside MPI; open the "
        "ports between the hosts, or set run.heartbeat_seconds=0 to do without",
        problem);
    return;
  }
  heartbeat_.emplace(std::move(*sockets), (rank_ + world.size() - 1) % world.size(), static_cast<double>(run.heartbeat_seconds),
                     [this](const LostPeer& lost) { end_run(lost); });
}

void Watch::after_step(int64_t step) {
  if (ending_) wait_for_the_end();
  step_ = step;
}

void Watch::communicator_failed(const std::string& what) {
  if (ending_.exchange(true)) wait_for_the_end();
  // Several ranks may have seen it: who speaks first ends the job, in up to four seconds.
  if (rank_ != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2000 + 6000 * rank_ / ranks_));
  say(fmt::format("after step {}: {}; `drover resume {}` continues from the last checkpoint", step_.load(), what, run_.dir), true);
}

void Watch::end_run(const LostPeer& lost) {
  if (ending_.exchange(true)) wait_for_the_end();
  // One rank speaks and thereby ends the job, in some four seconds; the others follow where the launcher cannot reach them.
  const int turn = rank_ == 0 ? 0 : lost.missed_here ? 1 : 2;
  std::this_thread::sleep_for(std::chrono::seconds(5 * turn));
  say(fmt::format(
          "after step {}: nothing heard of rank {}@{} for {} s (run.heartbeat_seconds): its process was stopped, or its host or "
          "the network to it is down; `drover resume {}` continues from the last checkpoint",
          step_.load(), lost.rank, lost.host, run_.heartbeat_seconds, run_.dir),
      rank_ == 0 || (lost.rank == 0 && lost.missed_here));
  std::_Exit(static_cast<int>(ExitCode::communication));
}

void Watch::say(const std::string& text, bool recorded) const {
  if (rank_ == 0) clear_terminal_line();
  std::fputs(fmt::format("drover: error: {}\n", text).c_str(), stderr);
  if (recorded) record(text);
}

void Watch::record(const std::string& text) const {
  // The run directory may lie behind the network that is down: it is tried for a moment, by a thread that nobody waits for.
  const auto written = std::make_shared<std::promise<void>>();
  std::thread([this, text, written] {
    history_.failed(ExitCode::communication, text);
    written->set_value();
  }).detach();
  written->get_future().wait_for(std::chrono::seconds(3));
}

}  // namespace drover
