// The cpu side of kernels/cross_entropy.h.
#pragma once
#include "kernels/cross_entropy.h"

namespace drover::cpu {

void cross_entropy_maximum(TensorView maximum, ConstTensorView logits, const VocabularySlice& slice);
void cross_entropy_sums(TensorView sums, ConstTensorView logits, ConstTensorView maximum, ConstTensorView targets,
                        const VocabularySlice& slice);
void cross_entropy_loss(TensorView loss_sum, TensorView weight_sum, ConstTensorView maximum, ConstTensorView sums,
                        ConstTensorView weights);
void cross_entropy_gradient(TensorView logits, ConstTensorView maximum, ConstTensorView sums, ConstTensorView targets,
                            ConstTensorView weights, const VocabularySlice& slice);

}  // namespace drover::cpu
