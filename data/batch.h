// One micro-batch as the step consumes it, and the loader that makes them.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.h"
#include "kernels/view.h"

namespace drover {

// tokens = micro_batch * sequence, samples one after the other. All views are [micro_batch * sequence].
struct Batch {
  TensorView token;           // i32
  TensorView target;          // i32: the next token of the sample
  TensorView position;        // i32: restarts at the sample's start and, with data.document_mask, at each document's
  TensorView document_begin;  // i32: index in the sample of the first token of this token's document (0 without the mask)
  TensorView weight;  // f32: 1, or 0 (with the mask) where the target lies in another document, and after the sample's early end
};

}  // namespace drover
