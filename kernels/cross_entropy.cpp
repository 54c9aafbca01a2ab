#include "kernels/cross_entropy.h"

#include "kernels/checks.h"
#include "kernels/cpu/cross_entropy.h"
#include "kernels/cuda/ops.h"

namespace drover {
namespace {

void check(const Stream& stream, const char* op, ConstTensorView logits, ConstTensorView targets, const VocabularySlice& slice) {
  require_float(op, "logits", logits);
  require_rank(op, "logits", logits, 2);
  require_tensor(stream, op, "logits", logits, logits.dtype, logits.shape);
  require_tensor(stream, op, "targets", targets, DType::i32, {logits.shape[0]});
  DROVER_CHECK(slice.first >= 0 && slice.valid >= 0 && slice.valid <= logits.shape[1],
               std::string(op) + ": slice of the vocabulary");
}

void check_loss(const Stream& stream, const char* op, ConstTensorView loss_sum, ConstTensorView weight_sum, ConstTensorView logits,
                ConstTensorView statistics, ConstTensorView weights) {
  require_tensor(stream, op, "loss_sum", loss_sum, DType::f64, {1});
  require_tensor(stream, op, "weight_sum", weight_sum, DType::f64, {1});
  require_rank(op, "statistics", statistics, 3);
  require_tensor(stream, op, "statistics", statistics, DType::f32, {statistics.shape[0], 3, logits.shape[0]});
  require_tensor(stream, op, "weights", weights, DType::f32, {logits.shape[0]});
}

}  // namespace

void cross_entropy(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, TensorView statistics,
                   ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice, bool gradient) {
  constexpr const char* kOp = "cross_entropy";
  check(stream, kOp, logits, targets, slice);
  check_loss(stream, kOp, loss_sum, weight_sum, logits, statistics, weights);
  DROVER_CHECK(statistics.shape[0] == 1, "cross_entropy: statistics of one rank");
  const Timed timed =
      stream.charge({OpKind::cross_entropy, (gradient ? 8 : 4) * logits.count(), (gradient ? 2 : 1) * logits.bytes()});
  if (on_gpu(stream, kOp)) {
    cuda::cross_entropy(stream.gpu(), logits, statistics, targets, weights, slice, gradient);
    return cuda::cross_entropy_sums(stream.gpu(), loss_sum, weight_sum, statistics, weights);
  }
  cpu::cross_entropy(logits, statistics, targets, weights, slice, gradient);
  cpu::cross_entropy_sums(loss_sum, weight_sum, statistics, weights);
}

void cross_entropy_statistics(Stream& stream, TensorView statistics, ConstTensorView logits, ConstTensorView targets,
                              const VocabularySlice& slice) {
  constexpr const char* kOp = "cross_entropy_statistics";
  check(stream, kOp, logits, targets, slice);
  require_tensor(stream, kOp, "statistics", statistics, DType::f32, {3, logits.shape[0]});
  const Timed timed = stream.charge({OpKind::cross_entropy, 4 * logits.count(), logits.bytes()});
  if (on_gpu(stream, kOp)) return cuda::cross_entropy_statistics(stream.gpu(), statistics, logits, targets, slice);
  cpu::cross_entropy_statistics(statistics, logits, targets, slice);
}

void cross_entropy_loss(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, ConstTensorView statistics,
                        ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice, bool gradient) {
  constexpr const char* kOp = "cross_entropy_loss";
  check(stream, kOp, logits, targets, slice);
  check_loss(stream, kOp, loss_sum, weight_sum, logits, statistics, weights);
  const Timed timed = stream.charge({OpKind::cross_entropy, gradient ? 4 * logits.count() : 0, gradient ? 2 * logits.bytes() : 0});
  if (on_gpu(stream, kOp)) {
    cuda::cross_entropy_sums(stream.gpu(), loss_sum, weight_sum, statistics, weights);
    if (gradient) cuda::cross_entropy_gradient(stream.gpu(), logits, statistics, targets, weights, slice);
    return;
  }
  cpu::cross_entropy_sums(loss_sum, weight_sum, statistics, weights);
  if (gradient) cpu::cross_entropy_gradient(logits, statistics, targets, weights, slice);
}

}  // namespace drover
