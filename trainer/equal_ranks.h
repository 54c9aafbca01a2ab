// What every rank must share, compared before anything is built on it.
#pragma once
#include "configs/config.h"
#include "data/mixture.h"
#include "parallel/communicator.h"

namespace drover {

// Collective: one all-reduce over the hashes of program, configuration and data. Only where they differ are texts gathered, and Error(config)
// is thrown on every rank: it names the ranks that differ from rank 0, their hosts, and what differs. `validation` may be null.
void require_equal_ranks(Communicator& world, const Config& config, const Mixture& train, const TokenDataset* validation);

}  // namespace drover
