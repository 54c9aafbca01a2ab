// Embedding and language-model head whose vocabulary is divided over the tensor-parallel group (Shoeybi et al. 2019, section 3).
// Each rank holds `rows` consecutive vocabulary entries, of which `slice.valid` are real: the vocabulary is padded in memory to a
// multiple of tp.
//
//   tokens, targets: [T] i32   weights: [T] f32   weight: [rows, hidden], x dtype   dweight: [rows, hidden] f32
#pragma once
#include "kernels/cross_entropy.h"
#include "parallel/tensor_parallel.h"

namespace drover {

// y_full: [T, hidden]; on return this rank's rows hold the embeddings of its tokens.
void vocabulary_embedding_forward(const TensorParallel& tp, TensorView y_full, ConstTensorView tokens, ConstTensorView weight,
                                  const VocabularySlice& slice);
// dy_full: this rank's rows are valid on entry. Added to dweight.
void vocabulary_embedding_backward(const TensorParallel& tp, TensorView dweight, TensorView dy_full, ConstTensorView tokens,
                                   const VocabularySlice& slice);

// Buffers of one chunk of tokens: the whole [T, vocabulary] never exists.
struct LossChunk {
  TensorView logits;      // [chunk, rows], x dtype
  TensorView statistics;  // [3 tp chunk] f32
};

struct LossSums {
  TensorView loss;    // [1] f64, added to
  TensorView weight;  // [1] f64, added to
};

// Loss, and with `dx_full` and `dweight` given the gradient of sum_t weight_t loss_t, chunk by chunk. x_full: this
// rank's rows are valid on entry; dx_full: its rows hold the gradient on return. beta 0: dweight is written, 1: added to. Pass empty views to
// evaluate only.
void vocabulary_loss(const TensorParallel& tp, const LossSums& sums, TensorView dx_full, TensorView dweight, TensorView x_full,
                     ConstTensorView weight, ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice,
                     const LossChunk& chunk, float beta);

}  // namespace drover
