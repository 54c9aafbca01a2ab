#include "kernels/embedding.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

void embedding_forward(Stream& stream, TensorView y, ConstTensorView tokens, ConstTensorView weight, int64_t first) {
  constexpr const char* kOp = "embedding_forward";
  require_float(kOp, "weight", weight);
  require_rank(kOp, "weight", weight, 2);
  require_rank(kOp, "tokens", tokens, 1);
  require_tensor(stream, kOp, "tokens", tokens, DType::i32, tokens.shape);
  require_tensor(stream, kOp, "weight", weight, weight.dtype, weight.shape);
  require_tensor(stream, kOp, "y", y, weight.dtype, {tokens.shape[0], weight.shape[1]});
  const Timed timed = stream.charge({OpKind::embedding, 0, 2 * y.bytes() + tokens.bytes()});
  if (on_gpu(stream, kOp)) return cuda::embedding_forward(stream.gpu(), y, tokens, weight, first);
  cpu::embedding_forward(y, tokens, weight, first);
}

void embedding_backward(Stream& stream, TensorView dweight, ConstTensorView dy, ConstTensorView tokens, int64_t first) {
  constexpr const char* kOp = "embedding_backward";
  require_float(kOp, "dy", dy);
  require_rank(kOp, "dweight", dweight, 2);
  require_rank(kOp, "tokens", tokens, 1);
  require_tensor(stream, kOp, "tokens", tokens, DType::i32, tokens.shape);
  require_tensor(stream, kOp, "dweight", dweight, DType::f32, dweight.shape);
  require_tensor(stream, kOp, "dy", dy, dy.dtype, {tokens.shape[0], dweight.shape[1]});
  const Timed timed =
      stream.charge({OpKind::embedding, dy.count(), dy.bytes() + 2 * dy.count() * size_of(DType::f32) + tokens.bytes()});
  if (on_gpu(stream, kOp)) return cuda::embedding_backward(stream.gpu(), dweight, dy, tokens, first);
  cpu::embedding_backward(dweight, dy, tokens, first);
}

}  // namespace drover
