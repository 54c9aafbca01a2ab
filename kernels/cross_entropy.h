// Softmax cross-entropy over a slice of the vocabulary [first, first + columns), in two passes with a reduction over ranks between
// (Megatron-LM, Shoeybi et al. 2019, section 3: only three numbers a token cross the ranks).
//
//   pass 1   maximum_t = max_j z_tj, over valid columns                                      -> all-reduce max
//   pass 2   sums_0t = sum_j exp(z_tj - maximum_t)     sums_1t = z_{t, target} (0 elsewhere)  -> all-reduce sum
//   pass 3   loss_t = log sums_0t + maximum_t - sums_1t
//            z_tj <- weight_t (exp(z_tj - maximum_t) / sums_0t - [j + first == target_t])     in place: the gradient of sum_t weight_t loss_t
//
//   logits: [tokens, columns] f32 or bf16   maximum: [tokens] f32   sums: [2, tokens] f32   targets: [tokens] i32, global ids
//   weights: [tokens] f32   loss_sum, weight_sum: [1] f64, added to
// Columns j >= valid are padding: ignored, and their gradient is 0. Deterministic for one thread count.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

struct VocabularySlice {
  int64_t first = 0;  // global id of column 0
  int64_t valid = 0;  // columns that are not padding
};

void cross_entropy_maximum(Stream& stream, TensorView maximum, ConstTensorView logits, const VocabularySlice& slice);
void cross_entropy_sums(Stream& stream, TensorView sums, ConstTensorView logits, ConstTensorView maximum, ConstTensorView targets,
                        const VocabularySlice& slice);
// With `gradient` false, logits stay as they are.
void cross_entropy_loss(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, ConstTensorView maximum,
                        ConstTensorView sums, ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice,
                        bool gradient);

}  // namespace drover
