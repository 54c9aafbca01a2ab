// Two TCP connections a rank, whatever the size of the run: one to the next rank and one from the rank before, rank 0 being next to the
// last. They are a road beside MPI's. A rank tells the one before it where it listens (IPv4), over MPI, once.
#pragma once
#include <optional>
#include <string>

#include "kernels/base/files.h"
#include "parallel/communicator.h"

namespace drover {

struct RingSockets {
  File next, previous;  // neither blocks
  std::string previous_host;
};

// Collective; REQUIRES: world.size() > 1. Nothing, on every rank, where some rank cannot reach the next one, which is waited for that many
// seconds; `problem` then names such ranks and their hosts.
std::optional<RingSockets> connect_ring(Communicator& world, std::string& problem, int patience = 15);

}  // namespace drover
