#include "trainer/model/block.h"

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace drover {

BlockSaved carve_saved(Arena& arena, const std::string& name, const ModelShape& s) {
  const auto carve = [&](const char* what, DType dtype, const Shape& shape) {
    return arena.carve("activations", name + " " + what, dtype, shape);
  };
  return {.rstd1 = carve("rstd1", DType::f32, {s.own_tokens}),
          .qkv = carve("qkv", s.dtype, {s.tokens, s.qkv_heads(), s.head_dim}),
          .attention = carve("attention", s.dtype, {s.tokens, s.heads * s.head_dim}),
          .lse = carve("lse", DType::f32, {s.micro_batch, s.heads, s.sequence}),
          .x2 = carve("x2", s.dtype, {s.own_tokens, s.hidden}),
          .rstd2 = carve("rstd2", DType::f32, {s.own_tokens}),
          .gate_up = carve("gate_up", s.dtype, {s.tokens, 2 * s.ffn})};
}

Workspace carve_workspace(Arena& arena, const ModelShape& s) {
  const auto carve = [&](const char* what, DType dtype, const Shape& shape) {
    return arena.carve("workspace", what, dtype, shape);
  };
  const Shape full{s.tokens, s.hidden}, ffn{s.tokens, s.ffn}, table{s.sequence, s.head_dim / 2};
  return {
      .norm1 = carve("gathered norm1", s.dtype, full),
      .norm2 = carve("gathered norm2", s.dtype, full),
      .dy = carve("gathered dy", s.dtype, full),
      .dx2 = carve("gathered dx2", s.dtype, full),
      .partial = carve("partial sums", s.dtype, full),
      .activation = carve("activation", s.dtype, ffn),
      .dactivation = carve("dactivation", s.dtype, ffn),
      .dgate_up = carve("dgate_up", s.dtype, {s.tokens, 2 * s.ffn}),
      .dattention = carve("dattention", s.dtype, {s.tokens, s.heads * s.head_dim}),
      .dqkv = carve("dqkv", s.dtype, {s.tokens, s.qkv_heads(), s.head_dim}),
      .norm_scratch = carve("norm scratch", DType::f32, {rmsnorm_backward_scratch(s.hidden, arena.device())}),
      .attention_scratch = carve("attention scratch", DType::u8, {attention_scratch_bytes(s.attention(), s.dtype, arena.device())}),
      .gemm_scratch = carve("gemm scratch", DType::u8, {model_gemm_scratch(s, arena.device())}),
      .cosine = carve("rope cosine", DType::f32, table),
      .sine = carve("rope sine", DType::f32, table)};
}

void TransformerBlock::attention_half(const TensorParallel& tp, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
                                      const Workspace& work) const {
  const ModelShape& s = shape_;
  const Shape heads{s.tokens, s.heads, s.head_dim}, rows{s.tokens, s.qkv_heads() * s.head_dim};
  rmsnorm_forward(tp.stream, own_rows(tp, work.norm1), saved.rstd1, x, weights_.norm1, s.eps);
  column_forward(tp, saved.qkv.reshape(rows), work.norm1, weights_.qkv, weights_.bias);
  rope_forward(tp.stream, saved.qkv, batch.position, work.cosine, work.sine, s.kv_heads);
  attention_forward(tp.stream, saved.attention.reshape(heads), saved.lse, saved.qkv, batch.document_begin, s.attention(),
                    s.attention_scale, work.attention_scratch);
  row_forward(tp, work.partial, saved.attention, weights_.o);
  add_rmsnorm_forward(tp.stream, saved.x2, own_rows(tp, work.norm2), saved.rstd2, x, own_rows(tp, work.partial), weights_.norm2,
                      s.eps);
  column_forward(tp, saved.gate_up, work.norm2, weights_.gate_up);
}

void TransformerBlock::forward(const TensorParallel& tp, TensorView y, ConstTensorView x, const Batch& batch,
                               const BlockSaved& saved, const Workspace& work) const {
  attention_half(tp, x, batch, saved, work);
  swiglu_forward(tp.stream, work.activation, saved.gate_up);
  row_forward(tp, work.partial, work.activation, weights_.down);
  add(tp.stream, y, saved.x2, own_rows(tp, work.partial));
}

void TransformerBlock::recompute(const TensorParallel& tp, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
                                 const Workspace& work) const {
  attention_half(tp, x, batch, saved, work);
}

void TransformerBlock::backward_input(const TensorParallel& tp, TensorView d, ConstTensorView x, const Batch& batch,
                                      const BlockSaved& saved, const Workspace& work) const {
  const ModelShape& s = shape_;
  const Shape heads{s.tokens, s.heads, s.head_dim}, rows{s.tokens, s.qkv_heads() * s.head_dim};
  // The norms' outputs are made again rather than kept: two cheap passes instead of two buffers a block and micro-batch.
  rmsnorm_forward(tp.stream, own_rows(tp, work.norm1), saved.rstd1, x, weights_.norm1, s.eps);
  tp.group.all_gather(tp.stream, work.norm1);
  rmsnorm_forward(tp.stream, own_rows(tp, work.norm2), saved.rstd2, saved.x2, weights_.norm2, s.eps);
  tp.group.all_gather(tp.stream, work.norm2);

  copy(tp.stream, own_rows(tp, work.dy), d);
  row_backward_input(tp, work.dactivation, work.dy, weights_.down);
  swiglu_backward(tp.stream, work.dgate_up, work.activation, work.dactivation, saved.gate_up);
  column_backward_input(tp, work.partial, work.dgate_up, weights_.gate_up);
  rmsnorm_backward(tp.stream, d, gradients_.norm2, own_rows(tp, work.partial), saved.x2, saved.rstd2, weights_.norm2, true,
                   work.norm_scratch);

  copy(tp.stream, own_rows(tp, work.dx2), d);
  row_backward_input(tp, work.dattention, work.dx2, weights_.o);
  attention_backward(tp.stream, work.dqkv, work.dattention.reshape(heads), saved.attention.reshape(heads), saved.lse, saved.qkv,
                     batch.document_begin, s.attention(), s.attention_scale, work.attention_scratch);
  rope_backward(tp.stream, work.dqkv, batch.position, work.cosine, work.sine, s.kv_heads);
  column_backward_input(tp, work.partial, work.dqkv.reshape(rows), weights_.qkv);
  rmsnorm_backward(tp.stream, d, gradients_.norm1, own_rows(tp, work.partial), x, saved.rstd1, weights_.norm1, true,
                   work.norm_scratch);
}

void TransformerBlock::backward_weight(const TensorParallel& tp, const BlockSaved& saved, const Workspace& work, float beta) const {
  const TensorView dqkv = work.dqkv.reshape({shape_.tokens, shape_.qkv_heads() * shape_.head_dim});
  row_backward_weight(tp, gradients_.down, work.dy, work.activation, beta);
  column_backward_weight(tp, gradients_.gate_up, work.dgate_up, work.norm2, beta);
  row_backward_weight(tp, gradients_.o, work.dx2, saved.attention, beta);
  column_backward_weight(tp, gradients_.qkv, dqkv, work.norm1, beta);
  if (!gradients_.bias.empty()) bias_backward(tp.stream, gradients_.bias, dqkv);
}

}  // namespace drover
