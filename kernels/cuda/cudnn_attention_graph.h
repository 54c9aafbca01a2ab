// The graphs of attention that cuDNN's engines know.
#pragma once
#include <tuple>

#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/cudnn_graph.h"

namespace drover::cuda {

// Of the tensors in memory, to CudnnPlan::run. Constants are f32.
enum AttentionId : int64_t {
  kQ = 1,
  kK,
  kV,
  kOut,
  kLse,
  kDout,
  kDq,
  kDk,
  kDv,
  kScale,
  kMinusInfinity,
  kOne,
  kBegin,
  kLength,
  kOfQkv,
  kOfOut,
  kOfKv,
  kOfTokens,
  kRowSum,
  kDqSum,
  kDkFull,
  kDvFull,
};

enum class AttentionMask { causal, begins, ragged };

// What one plan computes: some samples and kv heads of a shape. Ragged: each entry of the lists of documents is a sample.
struct AttentionPart {
  AttentionShape s;
  int64_t batch, kv_heads;
  AttentionMask mask;
  bool backward;

  int64_t heads() const { return kv_heads * (s.heads / s.kv_heads); }
  int64_t row() const { return (s.heads + 2 * s.kv_heads) * s.head_dim; }
  auto key() const {
    return std::tuple(batch, kv_heads, mask, backward, s.batch, s.sequence, s.heads, s.kv_heads, s.head_dim, s.deterministic);
  }
  bool operator<(const AttentionPart& other) const { return key() < other.key(); }
};

CudnnGraph attention_graph(const AttentionPart& part);

}  // namespace drover::cuda
