// Collectives of tensors on a GPU by way of host memory and another communicator: where that one cannot reach the GPU, and for several ranks
// on one GPU in tests. Tensors in host memory go straight through.
#pragma once
#include <memory>

#include "parallel/communicator.h"

namespace drover {

// `inner` must outlive it.
std::unique_ptr<Communicator> make_staged_communicator(Communicator& inner);

}  // namespace drover
