// The sizes that one rank works with: the model's, divided by the layout.
#pragma once
#include <cstdint>
#include <vector>

#include "configs/config.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/view.h"
#include "parallel/mesh.h"

namespace drover {

struct ModelShape {
  DType dtype = DType::f32;  // weights and activations
  int64_t micro_batch = 0, sequence = 0;
  int64_t tokens = 0;  // micro_batch * sequence
  int64_t tp = 1;
  int64_t own_tokens = 0;  // tokens / tp: between the layers
  int64_t hidden = 0, head_dim = 0;
  int64_t heads = 0, kv_heads = 0, ffn = 0;  // of this rank: the model's / tp
  int64_t vocabulary_rows = 0;               // of this rank, padding included
  VocabularySlice vocabulary;
  float eps = 0, attention_scale = 0;
  int64_t documents = 0;  // most of a sample
  bool deterministic_attention = true;
  int64_t loss_chunk = 0;  // tokens whose logits exist at once
  int threads = 0;         // run.threads

  int64_t qkv_heads() const { return heads + 2 * kv_heads; }
  AttentionShape attention() const {
    return {micro_batch, sequence, heads, kv_heads, head_dim, documents, deterministic_attention};
  }
};

ModelShape model_shape(const Config& config, const Mesh& mesh, int rank);

// Layers of each pipeline stage. When pp does not divide them, the middle stages take one more first, the last never: the first also
// embeds and holds most micro-batches, the last also has the head.
std::vector<int> layers_per_stage(int64_t layers, int stages);

// Micro-batches of one data-parallel rank and step.
int64_t microbatches(const Config& config);

// Bound of every matrix product of this shape, for the library's scratch.
int64_t model_gemm_scratch(const ModelShape& shape, Device device);

}  // namespace drover
