#include "kernels/cross_entropy.h"

#include "kernels/checks.h"
#include "kernels/cpu/cross_entropy.h"
#include "kernels/cuda/ops.h"

namespace drover {
namespace {

void check(const Stream& stream, const char* op, ConstTensorView logits, const VocabularySlice& slice) {
  require_float(op, "logits", logits);
  require_rank(op, "logits", logits, 2);
  require_tensor(stream, op, "logits", logits, logits.dtype, logits.shape);
  DROVER_CHECK(slice.first >= 0 && slice.valid >= 0 && slice.valid <= logits.shape[1],
               std::string(op) + ": slice of the vocabulary");
}

}  // namespace

void cross_entropy_maximum(Stream& stream, TensorView maximum, ConstTensorView logits, const VocabularySlice& slice) {
  constexpr const char* kOp = "cross_entropy_maximum";
  check(stream, kOp, logits, slice);
  require_tensor(stream, kOp, "maximum", maximum, DType::f32, {logits.shape[0]});
  const Timed timed = stream.charge({OpKind::cross_entropy, logits.count(), logits.bytes()});
  if (on_gpu(stream, kOp)) return cuda::cross_entropy_maximum(stream.gpu(), maximum, logits, slice);
  cpu::cross_entropy_maximum(maximum, logits, slice);
}

void cross_entropy_sums(Stream& stream, TensorView sums, ConstTensorView logits, ConstTensorView maximum, ConstTensorView targets,
                        const VocabularySlice& slice) {
  constexpr const char* kOp = "cross_entropy_sums";
  const Shape tokens{logits.shape[0]};
  check(stream, kOp, logits, slice);
  require_tensor(stream, kOp, "sums", sums, DType::f32, {2, logits.shape[0]});
  require_tensor(stream, kOp, "maximum", maximum, DType::f32, tokens);
  require_tensor(stream, kOp, "targets", targets, DType::i32, tokens);
  const Timed timed = stream.charge({OpKind::cross_entropy, 3 * logits.count(), logits.bytes()});
  if (on_gpu(stream, kOp)) return cuda::cross_entropy_sums(stream.gpu(), sums, logits, maximum, targets, slice);
  cpu::cross_entropy_sums(sums, logits, maximum, targets, slice);
}

void cross_entropy_loss(Stream& stream, TensorView loss_sum, TensorView weight_sum, TensorView logits, ConstTensorView maximum,
                        ConstTensorView sums, ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice,
                        bool gradient) {
  constexpr const char* kOp = "cross_entropy_loss";
  const Shape tokens{logits.shape[0]};
  check(stream, kOp, logits, slice);
  require_tensor(stream, kOp, "loss_sum", loss_sum, DType::f64, {1});
  require_tensor(stream, kOp, "weight_sum", weight_sum, DType::f64, {1});
  require_tensor(stream, kOp, "maximum", maximum, DType::f32, tokens);
  require_tensor(stream, kOp, "sums", sums, DType::f32, {2, logits.shape[0]});
  require_tensor(stream, kOp, "targets", targets, DType::i32, tokens);
  require_tensor(stream, kOp, "weights", weights, DType::f32, tokens);
  const Timed timed = stream.charge({OpKind::cross_entropy, gradient ? 4 * logits.count() : 0, gradient ? 2 * logits.bytes() : 0});
  if (on_gpu(stream, kOp)) {
    cuda::cross_entropy_loss(stream.gpu(), loss_sum, weight_sum, maximum, sums, weights);
    if (gradient) cuda::cross_entropy_gradient(stream.gpu(), logits, maximum, sums, targets, weights, slice);
    return;
  }
  cpu::cross_entropy_loss(loss_sum, weight_sum, maximum, sums, weights);
  if (gradient) cpu::cross_entropy_gradient(logits, maximum, sums, targets, weights, slice);
}

}  // namespace drover
