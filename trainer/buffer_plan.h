// Which buffer a micro-batch uses on one pipeline rank, read off its program before the run: a buffer is taken at the first action that
// writes it and free again after the last that reads it. And which micro-batch is the first to add to a weight's gradient, and so need not add.
#pragma once
#include <vector>

#include "parallel/schedule.h"

namespace drover {

struct BufferPlan {
  // By micro-batch; -1: none.
  std::vector<int> activation;  // what its units keep for the backward pass: at most pp - s at once on stage s under 1F1B
  std::vector<int> input;       // what the stage before sent: it may arrive while another micro-batch still has its activations
  std::vector<int> gradient;    // the gradient that flows backward through the stage
  std::vector<int> output;      // the stage's output until it is sent
  std::vector<int> first;       // by unit: the micro-batch that comes to its weight gradients first; -1: none does
  int activations = 0, inputs = 0, gradients = 0, outputs = 0;  // how many of each exist
};

// `units`: executed by this stage. `first`: it has the embedding, and receives nothing. `last`: it has the head, and sends nothing on.
BufferPlan plan_buffers(const Program& program, int microbatches, int units, bool first, bool last);

}  // namespace drover
