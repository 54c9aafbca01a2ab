// MPI as a run will use it, measured between all ranks of a world.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/doctor/facts.h"

namespace drover {

struct Network {
  bool works = false;        // a sum over all ranks came out right on all of them
  double small_seconds = 0;  // all-reduce of 8 bytes over all ranks, median
  double large_seconds = 0;  // of large_bytes, best of several
  double large_bytes = 0;
  struct Link {
    std::string from, to;               // hosts
    double latency = 0, bandwidth = 0;  // seconds one way; bytes/s
  };
  std::vector<Link> links;  // between neighbouring hosts
};

// Collective. Complete on every rank; `facts` are those of all ranks, by rank.
Network measure_network(Communicator& world, const std::vector<Facts>& facts);

// Collective. How far each host's clock is ahead of rank 0's: facts[first rank of a host].clock_*, on rank 0.
void measure_clocks(Communicator& world, std::vector<Facts>& facts);

// The first rank of each host, ascending.
std::vector<int> first_ranks(const std::vector<Facts>& facts);

}  // namespace drover
