#include "parallel/ring_sockets.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/base/host.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kConnectMilliseconds = 3000, kGreetingMilliseconds = 2000;

using HostName = std::array<char, 64>;

// Where a rank listens; both travel as bytes between processes of one build.
struct Endpoint {
  uint64_t secret = 0;                   // whoever connects says it: neither a stranger nor another run
  std::array<uint32_t, 15> addresses{};  // in network order; 0: none
  uint32_t port = 0;                     // in network order
  HostName host{};
};
struct Greeting {
  uint64_t secret = 0;
  HostName host{};
};

HostName this_host() {
  HostName name{};
  host_name().copy(name.data(), name.size() - 1);
  return name;
}

std::optional<File> adopt(int descriptor, const char* what) {
  if (descriptor < 0) return std::nullopt;
  return File::adopt(descriptor, what);
}

sockaddr_in socket_address(uint32_t address, uint32_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_addr.s_addr = address;
  result.sin_port = static_cast<in_port_t>(port);
  return result;
}

void list_addresses(Endpoint& endpoint) {
  size_t count = 0;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return;
  for (const ifaddrs* one = all; one != nullptr && count < endpoint.addresses.size(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    sockaddr_in address{};
    std::memcpy(&address, one->ifa_addr, sizeof address);
    endpoint.addresses[count++] = address.sin_addr.s_addr;
  }
  freeifaddrs(all);
}

std::optional<File> start_listening(Endpoint& endpoint) {
  std::optional<File> listener = adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "heartbeat listener");
  if (!listener) return std::nullopt;
  sockaddr_in address = socket_address(htonl(INADDR_ANY), 0);
  socklen_t length = sizeof address;
  if (bind(listener->descriptor(), reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener->descriptor(), 8) != 0 ||
      getsockname(listener->descriptor(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return std::nullopt;
  endpoint.port = address.sin_port;
  list_addresses(endpoint);
  return listener;
}

// An address that both hosts have, as of a bridge for containers, would lead back to this host.
std::vector<uint32_t> candidates(const Endpoint& peer, const Endpoint& mine) {
  const bool same_host = peer.host == mine.host;
  std::vector<uint32_t> result;
  for (const uint32_t address : peer.addresses)
    if (address != 0 && (same_host || std::find(mine.addresses.begin(), mine.addresses.end(), address) == mine.addresses.end()))
      result.push_back(address);
  result.insert(same_host ? result.begin() : result.end(), htonl(INADDR_LOOPBACK));
  return result;
}

std::optional<File> connect_to(uint32_t address, const Endpoint& peer, const Endpoint& mine) {
  std::optional<File> link = adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "heartbeat to the next rank");
  if (!link) return std::nullopt;
  const int descriptor = link->descriptor(), yes = 1;
  const sockaddr_in to = socket_address(address, peer.port);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    pollfd writable{descriptor, POLLOUT, 0};
    int error = errno == EINPROGRESS ? 0 : errno;
    socklen_t length = sizeof error;
    if (error != 0 || poll(&writable, 1, kConnectMilliseconds) != 1 ||
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
      return std::nullopt;
  }
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const Greeting greeting{peer.secret, mine.host};
  if (send(descriptor, &greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting) return std::nullopt;
  return link;
}

std::optional<File> connect_to_next(const Endpoint& peer, const Endpoint& mine) {
  if (peer.port == 0) return std::nullopt;
  for (const uint32_t address : candidates(peer, mine))
    if (std::optional<File> link = connect_to(address, peer, mine)) return link;
  return std::nullopt;
}

// The one that knows the secret; others are hung up on.
std::optional<File> accept_previous(const File& listener, const Endpoint& mine, int patience, std::string& host) {
  for (const Clock::time_point end = Clock::now() + std::chrono::seconds(patience); Clock::now() < end;) {
    pollfd ready{listener.descriptor(), POLLIN, 0};
    poll(&ready, 1, 100);
    std::optional<File> link =
        adopt(accept4(listener.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK), "heartbeat of the rank before");
    if (!link) continue;
    pollfd readable{link->descriptor(), POLLIN, 0};
    poll(&readable, 1, kGreetingMilliseconds);
    Greeting greeting;
    if (recv(link->descriptor(), &greeting, sizeof greeting, 0) != sizeof greeting || greeting.secret != mine.secret) continue;
    host.assign(greeting.host.data(), strnlen(greeting.host.data(), greeting.host.size()));
    return link;
  }
  return std::nullopt;
}

TensorView bytes_of(Endpoint& endpoint) { return {reinterpret_cast<std::byte*>(&endpoint), DType::u8, {}, {sizeof endpoint}}; }

// Mine to the rank before, the next one's to me. Some odd rank receives first, so the ring always moves.
Endpoint exchange(Communicator& world, Endpoint& mine) {
  Stream stream;
  Endpoint next;
  const int before = (world.rank() + world.size() - 1) % world.size(), after = (world.rank() + 1) % world.size();
  const auto tell = [&] { world.send(stream, bytes_of(mine), before); };
  if (world.rank() % 2 == 0) tell();
  world.recv(stream, bytes_of(next), after);
  if (world.rank() % 2 != 0) tell();
  return next;
}

bool on_any_rank(Communicator& world, bool mine) {
  Stream stream;
  int32_t flag = mine ? 1 : 0;
  world.all_reduce(stream, {reinterpret_cast<std::byte*>(&flag), DType::i32, {}, {1}}, ReduceOp::max);
  return flag != 0;
}

}  // namespace

std::optional<RingSockets> connect_ring(Communicator& world, std::string& problem, int patience) {
  Endpoint mine{.secret = (uint64_t{std::random_device()()} << 32) | std::random_device()(), .host = this_host()};
  const std::optional<File> listener = start_listening(mine);
  const Endpoint peer = exchange(world, mine);
  std::optional<File> next = connect_to_next(peer, mine), previous;
  std::string previous_host;
  if (listener) previous = accept_previous(*listener, mine, patience, previous_host);
  if (!on_any_rank(world, !next || !previous)) return RingSockets{std::move(*next), std::move(*previous), previous_host};

  const std::string cut = "rank " + std::to_string(world.rank()) + "@" + mine.host.data() + " cannot reach rank " +
                          std::to_string((world.rank() + 1) % world.size()) + "@" + peer.host.data();
  for (const std::string& text : world.gather_text(next ? "" : cut))
    if (!text.empty() && problem.size() < 300) problem += (problem.empty() ? "" : ", ") + text;
  if (problem.empty()) problem = "a rank is not reached by the one before it";
  return std::nullopt;
}

}  // namespace drover
