// The algorithms that a run's matrix products are computed by, the same on all ranks and in every start of the run: timed at the first start, kept
// with the run and its checkpoints, used again on resume.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/engine.h"

namespace drover {

struct ChosenProducts {
  std::string json;                // to_json(ProductChoices): to be stored; "" where no algorithm was chosen
  std::vector<std::string> lines;  // for people: how many, how long it took; on resume whether and why bits may differ
};

// Collective, on GPUs; before the engine holds anything. The lowest rank that has a product decides for all: rank 0 for its own, of which most
// runs have no other; the first rank of each other pipeline stage for what only that stage has. `stored`: of the checkpoint that the run goes on
// from ("" when it has none); nullopt: the run starts here. Its choices are kept where library and kind of GPU are the same and no rank's
// library refuses them; other products are timed. `timed` (run.timed_products) false: all are left to the library's first proposals.
// Throws Error(hardware) where a rank's library refuses what another rank timed: unlike GPUs or libraries.
ChosenProducts choose_products(Communicator& world, Engine& engine, Device device, bool timed,
                               const std::optional<std::string>& stored);

}  // namespace drover
