// Causal grouped-query attention inside documents, without a sequence-by-sequence buffer (Dao et al. 2022, algorithms 1 and 4).
//
//   query t of a sample may see key u of the same sample when document_begin[t] <= u <= t
//   p_tu = exp(scale q_t k_u - lse_t)      out_t = sum_u p_tu v_u      lse_t = log sum_u exp(scale q_t k_u)
//   D_t = sum_d dout_td out_td             ds_tu = p_tu (dout_t v_u - D_t)
//   dq_t = scale sum_u ds_tu k_u           dk_u = scale sum_t ds_tu q_t      dv_u = sum_t p_tu dout_t
//
//   qkv, dqkv: [batch * sequence, heads + 2 kv_heads, head_dim]: heads of q, then kv_heads of k, then kv_heads of v; q head h reads
//              kv head h / (heads / kv_heads)
//   out, dout: [batch * sequence, heads, head_dim]    the dtype of qkv, f32 or bf16
//   lse: [batch, heads, sequence] f32 (natural logarithm): partial results over chunks of keys merge by it
//   document_begin: [batch * sequence] i32: index, within its sample, of the first token of the token's document
// Softmax and sums in f32; with bf16, p and ds are rounded to bf16 where they are multiplied.
// Deterministic, for any thread count, unless the shape says otherwise. `scratch`: u8, at least attention_scratch_bytes(...).
#pragma once
#include <string>

#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

struct AttentionShape {
  int64_t batch = 0, sequence = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t documents = 0;      // most documents of a sample; 1: document_begin is 0 everywhere; 0: not known
  bool deterministic = true;  // false: on a GPU the backward pass may be faster, and sum dq in another order each time
};

// A fixed bound for forward and backward of this shape, for any thread count.
int64_t attention_scratch_bytes(const AttentionShape& shape, DType dtype, Device device = {});

// "cuDNN 9.19.0", or "attention without cuDNN" on a GPU where bf16 is done by kernels of our own; "" on the cpu.
std::string attention_library(Device device);

void attention_forward(Stream& stream, TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch);
void attention_backward(Stream& stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                        ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                        TensorView scratch);

}  // namespace drover
