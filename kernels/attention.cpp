#include "kernels/attention.h"

#include "kernels/checks.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/ops.h"

namespace drover {
namespace {

std::string describe(const AttentionShape& s) {
  return "attention of batch " + std::to_string(s.batch) + ", sequence " + std::to_string(s.sequence) + ", heads " +
         std::to_string(s.heads) + " over " + std::to_string(s.kv_heads) + ", head_dim " + std::to_string(s.head_dim);
}

void check(const Stream& stream, const char* op, const AttentionShape& s, ConstTensorView qkv, ConstTensorView out,
           ConstTensorView lse, ConstTensorView document_begin, ConstTensorView scratch) {
  const int64_t tokens = s.batch * s.sequence;
  DROVER_CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0, describe(s));
  require_float(op, "qkv", qkv);
  require_tensor(stream, op, "qkv", qkv, qkv.dtype, {tokens, s.heads + 2 * s.kv_heads, s.head_dim});
  require_tensor(stream, op, "out", out, qkv.dtype, {tokens, s.heads, s.head_dim});
  require_tensor(stream, op, "lse", lse, DType::f32, {s.batch, s.heads, s.sequence});
  require_tensor(stream, op, "document_begin", document_begin, DType::i32, {tokens});
  require_tensor(stream, op, "scratch", scratch, DType::u8, scratch.shape);
  DROVER_CHECK(scratch.bytes() >= attention_scratch_bytes(s, qkv.dtype, stream.device()),
               describe(s) + ": scratch of " + std::to_string(scratch.bytes()));
}

// Products over the causal half: two of them forward, five backward (scores again, dP, dV, dQ, dK).
OpCost cost(const AttentionShape& s, int64_t products, int64_t bytes) {
  return {OpKind::attention, products * s.batch * s.heads * s.sequence * (s.sequence + 1) * s.head_dim, bytes};
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionShape& shape, DType dtype, Device device) {
  if (device.type != DeviceType::cuda) return cpu::attention_scratch_bytes(shape, dtype);
  const cuda::AttentionScratch scratch{shape};
  return dtype == DType::bf16 ? scratch.bytes() : scratch.statistics_bytes();
}

std::string attention_library(Device device) { return device.type == DeviceType::cuda ? cuda::attention_library() : ""; }

void attention_forward(Stream& stream, TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch) {
  check(stream, "attention_forward", shape, qkv, out, lse, document_begin, scratch);
  const Timed timed = stream.charge(cost(shape, 2, qkv.bytes() + out.bytes()));
  if (on_gpu(stream, "attention_forward"))
    return cuda::attention_forward(stream.gpu(), out, lse, qkv, document_begin, shape, scale, scratch);
  cpu::attention_forward(out, lse, qkv, document_begin, shape, scale, scratch);
}

void attention_backward(Stream& stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                        ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                        TensorView scratch) {
  check(stream, "attention_backward", shape, qkv, out, lse, document_begin, scratch);
  check(stream, "attention_backward's gradients", shape, dqkv, dout, lse, document_begin, scratch);
  DROVER_CHECK(dqkv.dtype == qkv.dtype, describe(shape) + ": dqkv is " + name_of(dqkv.dtype));
  const Timed timed = stream.charge(cost(shape, 5, 2 * qkv.bytes() + 2 * out.bytes()));
  if (on_gpu(stream, "attention_backward"))
    return cuda::attention_backward(stream.gpu(), dqkv, dout, out, lse, qkv, document_begin, shape, scale, scratch);
  cpu::attention_backward(dqkv, dout, out, lse, qkv, document_begin, shape, scale, scratch);
}

}  // namespace drover
