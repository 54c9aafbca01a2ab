// Which buffer a micro-batch uses on one pipeline rank, read off its program before the run: a buffer is taken at the first action that
// writes it and free again after the last that reads it.
#pragma once
#include <vector>

#include "parallel/schedule.h"

namespace drover {

struct BufferPlan {
  std::vector<int> activation;                      // by micro-batch: what its units keep for the backward pass
  std::vector<int> gradient;                        // by micro-batch: the gradient that flows backward through the stage; -1: none
  std::vector<int> output;                          // by micro-batch: the stage's output until it is sent; -1 on the last stage
  int activations = 0, gradients = 0, outputs = 0;  // how many of each exist
};

// `units`: executed by this stage. `last`: it has the head, and sends nothing on.
BufferPlan plan_buffers(const Program& program, int microbatches, int units, bool last);

}  // namespace drover
