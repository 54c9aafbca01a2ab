// The cpu side of kernels/cross_entropy.h.
#pragma once
#include "kernels/cross_entropy.h"

namespace drover::cpu {

// Of one rank's whole vocabulary: statistics and, on request, the gradient, row by row.
void cross_entropy(TensorView logits, TensorView statistics, ConstTensorView targets, ConstTensorView weights,
                   const VocabularySlice& slice, bool gradient);
void cross_entropy_statistics(TensorView statistics, ConstTensorView logits, ConstTensorView targets, const VocabularySlice& slice);
void cross_entropy_gradient(TensorView logits, ConstTensorView statistics, ConstTensorView targets, ConstTensorView weights,
                            const VocabularySlice& slice);
void cross_entropy_sums(TensorView loss_sum, TensorView weight_sum, ConstTensorView statistics, ConstTensorView weights);

}  // namespace drover::cpu
