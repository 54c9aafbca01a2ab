// One transformer block of the Llama family: stateless, every weight, activation and gradient is an argument.
//
//   x2 = x + out(attention(rope(qkv(norm1(x)))))      y = x2 + down(swiglu(gate_up(norm2(x2))))
//
// Shapes (T tokens of the micro-batch, t = T / tp of this rank, H hidden; heads and ffn are this rank's):
//   x, x2, y, d: [t, H]   qkv: [T, heads + 2 kv_heads, head_dim]   attention: [T, heads * head_dim]   gate_up: [T, 2 ffn]
#pragma once
#include "data/batch.h"
#include "kernels/arena.h"
#include "parallel/tensor_parallel.h"
#include "trainer/model/shape.h"

namespace drover {

template <class View> struct BlockParameters {
  View norm1, norm2;  // [H]
  View qkv;           // [(heads + 2 kv_heads) head_dim, H]
  View bias;          // [(heads + 2 kv_heads) head_dim], or empty
  View o;             // [H, heads * head_dim]
  View gate_up;       // [2 ffn, H]
  View down;          // [H, ffn]
};
using BlockWeights = BlockParameters<ConstTensorView>;  // compute dtype
using BlockGradients = BlockParameters<TensorView>;     // f32

// What the backward pass reads, apart from the input x.
struct BlockSaved {
  TensorView rstd1, qkv, attention, lse, x2, rstd2, gate_up;
};

// Buffers that live within one action, or from backward_input to backward_weight.
struct Workspace {
  TensorView norm1, norm2, dy, dx2;              // full [T, H]: gathered operands of the weight gradients
  TensorView partial;                            // full [T, H]: what a reduction sums
  TensorView activation, dactivation, dgate_up;  // [T, ffn], [T, ffn], [T, 2 ffn]
  TensorView dattention, dqkv;
  TensorView norm_scratch, attention_scratch, gemm_scratch;
  TensorView cosine, sine;  // [sequence, head_dim / 2] f32: tables of the rotary embedding
};

BlockSaved carve_saved(Arena& arena, const std::string& name, const ModelShape& shape);
Workspace carve_workspace(Arena& arena, const ModelShape& shape);

class TransformerBlock {
 public:
  TransformerBlock(const ModelShape& shape, const BlockWeights& weights, const BlockGradients& gradients)
      : shape_(shape), weights_(weights), gradients_(gradients) {}

  void forward(const TensorParallel& tp, TensorView y, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
               const Workspace& work) const;
  // Fills `saved` again, to the same bits, from x.
  void recompute(const TensorParallel& tp, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
                 const Workspace& work) const;
  // d: the gradient of y on entry, of x on return. Adds to the norms' gradients; leaves the operands of backward_weight in `work`.
  void backward_input(const TensorParallel& tp, TensorView d, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
                      const Workspace& work) const;
  // Matrix products into f32 accumulators, which are written (beta 0) or added to (1); no communication.
  void backward_weight(const TensorParallel& tp, const BlockSaved& saved, const Workspace& work, float beta) const;

 private:
  void attention_half(const TensorParallel& tp, ConstTensorView x, const Batch& batch, const BlockSaved& saved,
                      const Workspace& work) const;

  ModelShape shape_;
  BlockWeights weights_;
  BlockGradients gradients_;
};

}  // namespace drover
