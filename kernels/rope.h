// Rotary position embedding (Su et al. 2021, eq. 34), in the rotate-half form of Hugging Face's Llama, in place on q and k of the
// packed qkv.
//
//   angle_tj = position_t * frequency_j      for j < head_dim / 2
//   (x_j, x_{j + d/2}) <- (x_j cos - x_{j+d/2} sin, x_{j+d/2} cos + x_j sin)
//
//   qkv: [tokens, heads + 2 kv_heads, head_dim], f32 or bf16; the v heads stay as they are
//   positions: [tokens] i32, in [0, positions of the table)
//   cosine, sine: [positions, head_dim / 2] f32, from rope_table
// Backward is the transposed rotation (sine negated), on dqkv.
#pragma once
#include <vector>

#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// Llama 3.1's frequency scaling ("rope_scaling": "llama3"); off when factor == 1.
struct RopeScaling {
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_positions = 8192;
};

// frequency_j = theta^(-2 j / head_dim), then scaled as Transformers' `_compute_llama3_parameters` does. f32 arithmetic where
// Transformers has it, so that angles agree.
std::vector<float> rope_frequencies(int64_t head_dim, double theta, const RopeScaling& scaling);
void rope_table(Stream& stream, TensorView cosine, TensorView sine, const std::vector<float>& frequencies);  // computed on the host

void rope_forward(Stream& stream, TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
                  int64_t kv_heads);
void rope_backward(Stream& stream, TensorView dqkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
                   int64_t kv_heads);

}  // namespace drover
