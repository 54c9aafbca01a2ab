// Softmax cross-entropy over the vocabulary, whole or divided over ranks: then only three numbers a token and rank cross between them
// (Megatron-LM, Shoeybi et al. 2019, section 3; sums under another maximum are rescaled as in Milakov & Gimelshein 2018, algorithm 3).
//
//   of rank r's columns   maximum_rt = max_j z_tj     sum_rt = sum_j exp(z_tj - maximum_rt)     chosen_rt = z_{t, target}, 0 elsewhere
//   of all                top_t = max_r maximum_rt    total_t = sum_r sum_rt exp(maximum_rt - top_t)
//                         loss_t = log total_t + top_t - sum_r chosen_rt
//                         z_tj <- weight_t (exp(z_tj - top_t) / total_t - [j + first == target_t])      in place: the gradient of
//                                                                                                        sum_t weight_t loss_t
//
//   logits: [tokens, columns] f32 or bf16   targets: [tokens] i32, global ids   weights: [tokens] f32   loss_sum, weight_sum: [1] f64, added to
//   statistics: [ranks, 3, tokens] f32: maximum, sum, chosen
// Columns j >= valid are padding: ignored, and their gradient is 0. With `gradient` false, logits stay as they are. Deterministic for one
// thread count.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

struct VocabularySlice {
  int64_t first = 0;  // global id of column 0
  int64_t valid = 0;  // columns that are not padding
};

// The whole vocabulary on this rank: each logit is read once and written once, as far as a row stays in cache. statistics: [1, 3, tokens].
void cross_entropy(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, TensorView statistics,
                   ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice, bool gradient);

// A part of the vocabulary: this rank's statistics, [3, tokens]; those of all ranks side by side; then loss and gradient.
void cross_entropy_statistics(Stream& stream, TensorView statistics, ConstTensorView logits, ConstTensorView targets,
                              const VocabularySlice& slice);
void cross_entropy_loss(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, ConstTensorView statistics,
                        ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice, bool gradient);

}  // namespace drover
