// Token embedding over a slice of the vocabulary [first, first + rows).
//
//   y_t = weight[token_t - first] when the token lies in the slice, else 0      dweight[token_t - first] += dy_t
//
//   tokens: [tokens] i32   weight: [rows, hidden] f32 or bf16   y, dy: [tokens, hidden], weight's dtype   dweight: [rows, hidden] f32
// Backward adds in the order of t: deterministic, whatever the thread count.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

void embedding_forward(Stream& stream, TensorView y, ConstTensorView tokens, ConstTensorView weight, int64_t first);
void embedding_backward(Stream& stream, TensorView dweight, ConstTensorView dy, ConstTensorView tokens, int64_t first);

}  // namespace drover
