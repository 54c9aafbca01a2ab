#include "trainer/doctor/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kLarge = 16'000'000, kMessage = 1'000'000;  // bytes
constexpr int kRounds = 50, kLargeRounds = 3;
constexpr double kSlow = 1;           // seconds, after which nothing large is measured again
constexpr double kLinkSeconds = 0.3;  // that a bandwidth is measured for

template <class Body> double seconds(Body&& body) {
  const Clock::time_point begin = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

template <class Body> double median_seconds(int rounds, Body&& body) {
  std::vector<double> times(static_cast<size_t>(rounds));
  for (double& time : times) time = seconds(body);
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<size_t>(rounds / 2)];
}

TensorView view(double& value) { return {reinterpret_cast<std::byte*>(&value), DType::f64, {}, {1}}; }

// One side of a conversation between two ranks: the first asks, the second answers with as much.
struct Peer {
  Communicator& world;
  Stream& stream;
  int other;
  bool asks;
  void turn(TensorView data) {
    if (asks) world.send(stream, data, other);
    world.recv(stream, data, other);
    if (!asks) world.send(stream, data, other);
  }
};

Network::Link measure_link(Peer peer) {
  Network::Link link;
  double small = 0;
  for (int warm = 0; warm < 5; ++warm) peer.turn(view(small));
  link.latency = median_seconds(kRounds, [&] { peer.turn(view(small)); }) / 2;
  std::vector<std::byte> memory(kMessage);
  const TensorView message{memory.data(), DType::u8, {}, {kMessage}};
  double rounds = std::clamp(kLinkSeconds / seconds([&] { peer.turn(message); }), 1.0, 64.0);
  peer.turn(view(rounds));  // the asking side's count is the other's
  const int count = static_cast<int>(rounds);
  link.bandwidth = 2.0 * static_cast<double>(kMessage) * count / seconds([&] {
                     for (int i = 0; i < count; ++i) peer.turn(message);
                   });
  return link;
}

// Pairs that share no host measure at the same time: first those that begin at an even host, then the others.
std::vector<Network::Link> measure_links(Communicator& world, Stream& stream, const std::vector<Facts>& facts) {
  const std::vector<int> first = first_ranks(facts);
  Network::Link mine;
  for (const size_t parity : {0, 1}) {
    for (size_t host = parity; host + 1 < first.size(); host += 2) {
      if (world.rank() == first[host]) mine = measure_link({world, stream, first[host + 1], true});
      if (world.rank() == first[host + 1]) measure_link({world, stream, first[host], false});
    }
    world.barrier();
  }
  const std::vector<std::string> all = world.gather_text(fmt::format("{:.17g} {:.17g}", mine.latency, mine.bandwidth));
  std::vector<Network::Link> links;
  for (size_t host = 0; host + 1 < first.size(); ++host) {
    const std::string& text = all[static_cast<size_t>(first[host])];
    links.push_back({facts[static_cast<size_t>(first[host])].host, facts[static_cast<size_t>(first[host + 1])].host,
                     std::stod(text), std::stod(text.substr(text.find(' ')))});
  }
  return links;
}

double wall_clock() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

std::vector<int> first_ranks(const std::vector<Facts>& facts) {
  std::set<std::string> seen;
  std::vector<int> ranks;
  for (const Facts& one : facts)
    if (seen.insert(one.host).second) ranks.push_back(one.rank);
  return ranks;
}

Network measure_network(Communicator& world, const std::vector<Facts>& facts) {
  Stream stream;
  Network network;
  double sum = world.rank() + 1, ranks = world.size();
  world.all_reduce(stream, view(sum), ReduceOp::sum);
  double right = sum == ranks * (ranks + 1) / 2 ? 1 : 0;
  world.all_reduce(stream, view(right), ReduceOp::min);
  network.works = right == 1;
  network.small_seconds = median_seconds(kRounds, [&] { world.all_reduce(stream, view(sum), ReduceOp::max); });
  std::vector<std::byte> memory(kLarge);
  const TensorView large{memory.data(), DType::f32, {}, {kLarge / 4}};
  network.large_bytes = static_cast<double>(kLarge);
  for (int i = 0; i < kLargeRounds && network.large_seconds < kSlow; ++i) {
    double time = seconds([&] { world.all_reduce(stream, large, ReduceOp::sum); });
    world.all_reduce(stream, view(time), ReduceOp::max);  // so that all ranks go on, or none
    network.large_seconds = i == 0 ? time : std::min(network.large_seconds, time);
  }
  network.links = measure_links(world, stream, facts);
  return network;
}

void measure_clocks(Communicator& world, std::vector<Facts>& facts) {
  constexpr int kExchanges = 10;
  Stream stream;
  for (const int rank : first_ranks(facts)) {
    if (rank == 0 || (world.rank() != 0 && world.rank() != rank)) continue;
    Facts& there = facts[static_cast<size_t>(rank)];
    for (int i = 0; i < kExchanges; ++i) {
      double now = wall_clock();
      if (world.rank() == rank) {
        world.recv(stream, view(now), 0);
        now = wall_clock();
        world.send(stream, view(now), 0);
        continue;
      }
      const double begin = now;
      world.send(stream, view(now), rank);
      world.recv(stream, view(now), rank);
      const double end = wall_clock(), uncertainty = (end - begin) / 2;
      // The quickest answer says most.
      if (i > 0 && uncertainty >= there.clock_uncertainty) continue;
      there.clock_ahead = now - (begin + end) / 2;
      there.clock_uncertainty = uncertainty;
    }
  }
}

}  // namespace drover
