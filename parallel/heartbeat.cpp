#include "parallel/heartbeat.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "parallel/thread_without_signals.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kLongestInterval = 5;  // seconds between two messages

}  // namespace

struct Heartbeat::Message {
  enum Kind : int32_t { alive, farewell, lost } kind = alive;
  int32_t rank = 0;  // of `lost`
  std::array<char, 64> host{};
};

Heartbeat::Heartbeat(RingSockets sockets, int previous_rank, double patience, std::function<void(const LostPeer&)> lost)
    : sockets_(std::move(sockets)), previous_rank_(previous_rank), patience_(patience), lost_(std::move(lost)),
      wake_(File::adopt(eventfd(0, EFD_CLOEXEC), "heartbeat")), thread_(thread_without_signals([this] { watch(); })) {}

Heartbeat::~Heartbeat() {
  leaving_ = true;
  eventfd_write(wake_.descriptor(), 1);
  thread_.join();
}

void Heartbeat::watch() {
  const double interval = std::min(patience_ / 10, kLongestInterval);
  const auto pause = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(interval));
  Clock::time_point last = Clock::now(), due = last;
  while (!leaving_) {
    if (last >= due) {
      say({});
      due = last + pause;
    }
    pollfd events[] = {{wake_.descriptor(), POLLIN, 0}, {previous_is_open_ ? sockets_.previous.descriptor() : -1, POLLIN, 0}};
    poll(events, 2, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(due - last).count()));
    const Clock::time_point now = Clock::now();
    silence_ += std::min(std::chrono::duration<double>(now - last).count(), 2 * interval);
    last = now;
    if (listen()) return;
    if (previous_left_ || silence_ <= patience_) continue;
    Message message{Message::lost, previous_rank_};
    sockets_.previous_host.copy(message.host.data(), message.host.size() - 1);
    return report(message, true);
  }
  say({Message::farewell});
}

bool Heartbeat::listen() {
  char buffer[16 * sizeof(Message)];
  ssize_t got = 0;
  while (previous_is_open_ && (got = recv(sockets_.previous.descriptor(), buffer, sizeof buffer, 0)) > 0)
    heard_.append(buffer, static_cast<size_t>(got));
  // A closed connection is no verdict: a process that ended is the launcher's to notice, and goes on being silent.
  if (got == 0 || (errno != EAGAIN && errno != EINTR)) previous_is_open_ = false;
  for (; heard_.size() >= sizeof(Message); heard_.erase(0, sizeof(Message))) {
    Message message;
    std::memcpy(&message, heard_.data(), sizeof message);
    silence_ = 0;
    if (message.kind == Message::farewell) previous_left_ = true;
    if (message.kind != Message::lost) continue;
    report(message, false);
    return true;
  }
  return false;
}

void Heartbeat::report(const Message& message, bool missed_here) {
  say(message);
  lost_({message.rank, std::string(message.host.data(), strnlen(message.host.data(), message.host.size())), missed_here});
}

void Heartbeat::say(const Message& message) {
  // A peer that does not read gets no more signs of life than fit, and whole messages only.
  if (message.kind != Message::alive || unsent_.empty()) unsent_.append(reinterpret_cast<const char*>(&message), sizeof message);
  const ssize_t sent = send(sockets_.next.descriptor(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) unsent_.erase(0, static_cast<size_t>(sent));
}

}  // namespace drover
