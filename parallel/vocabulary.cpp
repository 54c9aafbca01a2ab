#include "parallel/vocabulary.h"

#include <algorithm>

#include "kernels/embedding.h"
#include "kernels/gemm.h"

namespace drover {
namespace {

// Of logits that are divided by columns, or, in one pass over them, not divided.
void loss_of(const TensorParallel& tp, const LossSums& sums, TensorView logits, TensorView statistics, ConstTensorView targets,
             ConstTensorView weights, const VocabularySlice& slice, bool gradient) {
  if (tp.group.size() == 1)
    return cross_entropy(tp.stream, sums.loss, sums.weight, logits, statistics, targets, weights, slice, gradient);
  const int64_t tokens = logits.shape[0];
  cross_entropy_statistics(tp.stream, statistics.slice(tp.group.rank() * 3 * tokens, {3, tokens}), logits, targets, slice);
  tp.group.all_gather(tp.stream, statistics);
  cross_entropy_loss(tp.stream, sums.loss, sums.weight, logits, statistics, targets, weights, slice, gradient);
}

}  // namespace

void vocabulary_embedding_forward(const TensorParallel& tp, TensorView y_full, ConstTensorView tokens, ConstTensorView weight,
                                  const VocabularySlice& slice) {
  embedding_forward(tp.stream, y_full, tokens, weight, slice.first);
  tp.group.reduce_scatter(tp.stream, y_full);
}

void vocabulary_embedding_backward(const TensorParallel& tp, TensorView dweight, TensorView dy_full, ConstTensorView tokens,
                                   const VocabularySlice& slice) {
  tp.group.all_gather(tp.stream, dy_full);
  embedding_backward(tp.stream, dweight, dy_full, tokens, slice.first);
}

void vocabulary_loss(const TensorParallel& tp, const LossSums& sums, TensorView dx_full, TensorView dweight, TensorView x_full,
                     ConstTensorView weight, ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice,
                     const LossChunk& chunk, float beta) {
  const bool gradient = !dx_full.empty();
  const int64_t tokens = x_full.shape[0], size = chunk.logits.shape[0];
  tp.group.all_gather(tp.stream, x_full);
  for (int64_t begin = 0; begin < tokens; begin += size) {
    const int64_t rows = std::min(size, tokens - begin);
    const TensorView logits = chunk.logits.rows(0, rows);
    const ConstTensorView x = x_full.rows(begin, rows), target = targets.rows(begin, rows);
    gemm(tp.stream, logits, x, false, weight, true, 0, tp.gemm_scratch);
    loss_of(tp, sums, logits, chunk.statistics.slice(0, {tp.group.size(), 3, rows}), target, weights.rows(begin, rows), slice,
            gradient);
    if (!gradient) continue;
    gemm(tp.stream, dx_full.rows(begin, rows), logits, false, weight, false, 0, tp.gemm_scratch);
    gemm(tp.stream, dweight, logits, true, x, false, begin == 0 ? beta : 1, tp.gemm_scratch);
  }
  if (gradient) tp.group.reduce_scatter(tp.stream, dx_full);
}

}  // namespace drover
