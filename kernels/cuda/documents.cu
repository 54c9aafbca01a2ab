// What cuDNN wants to know about documents, made on the GPU from the place where each token's document begins, so that the host waits for nothing.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/block.h"

namespace drover::cuda {
namespace {

constexpr int kThreads = 256;

// A block is a sample. Each thread counts the documents that begin in its part of the sample, and numbers them.
__global__ void list_documents_kernel(DocumentLists lists, const int32_t* document_begin, AttentionShape s) {
  int32_t* const counts = shared_memory<int32_t>();
  int32_t* const begins = counts + kThreads;
  const int64_t sample = blockIdx.x, part = (s.sequence + kThreads - 1) / kThreads, first = min(threadIdx.x * part, s.sequence),
                last = min(first + part, s.sequence);
  const int32_t* const begin = document_begin + sample * s.sequence;
  int32_t mine = 0;
  for (int64_t t = first; t < last; ++t) mine += begin[t] == t ? 1 : 0;
  counts[threadIdx.x] = mine;
  for (int64_t i = threadIdx.x; i <= s.documents; i += kThreads) begins[i] = static_cast<int32_t>(s.sequence);
  __syncthreads();
  int64_t number = 0;
  for (unsigned before = 0; before < threadIdx.x; ++before) number += counts[before];
  for (int64_t t = first; t < last; ++t)
    if (begin[t] == t) {
      if (number >= s.documents) __trap();
      begins[number++] = static_cast<int32_t>(t);
    }
  __syncthreads();
  const int64_t entry = sample * s.documents;
  // The list's end, after the last sample's entries, is written by that sample too.
  const int64_t count = s.documents + (sample + 1 == s.batch ? 1 : 0);
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    const int64_t token = sample * s.sequence + begins[i];
    if (i < s.documents) lists.length[entry + i] = begins[i + 1] - begins[i];
    lists.of_qkv[entry + i] = token * (s.heads + 2 * s.kv_heads) * s.head_dim;
    lists.of_out[entry + i] = token * s.heads * s.head_dim;
    lists.of_kv[entry + i] = token * s.kv_heads * s.head_dim;
    lists.of_tokens[entry + i] = token * s.heads;
  }
}

__global__ void heads_last_kernel(float* by_token, const float* by_head, AttentionShape s) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x, token = i / s.heads, head = i % s.heads;
  if (token >= s.batch * s.sequence) return;
  by_token[i] = by_head[(token / s.sequence * s.heads + head) * s.sequence + token % s.sequence];
}

__global__ void heads_first_kernel(float* by_head, const float* by_token, AttentionShape s) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x, t = i % s.sequence, row = i / s.sequence;
  if (row >= s.batch * s.heads) return;
  by_head[i] = by_token[(row / s.heads * s.sequence + t) * s.heads + row % s.heads];
}

__global__ void place_kv_gradients_kernel(Bf16* dqkv, const Bf16* dk, const Bf16* dv, AttentionShape s) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x, width = s.kv_heads * s.head_dim, token = i / width;
  if (token >= s.batch * s.sequence) return;
  Bf16* const row = dqkv + (token * (s.heads + 2 * s.kv_heads) + s.heads) * s.head_dim + i % width;
  row[0] = dk[i];
  row[width] = dv[i];
}

Grid of_elements(int64_t count) { return {(count + kThreads - 1) / kThreads, kThreads}; }

}  // namespace

void list_documents(StreamHandle stream, const DocumentLists& lists, ConstTensorView document_begin, const AttentionShape& shape) {
  const int64_t shared = (kThreads + shape.documents + 1) * static_cast<int64_t>(sizeof(int32_t));
  launch(list_documents_kernel, {shape.batch, kThreads, shared}, stream, lists, document_begin.as<int32_t>(), shape);
}
void heads_last(StreamHandle stream, float* by_token, const float* by_head, const AttentionShape& shape) {
  launch(heads_last_kernel, of_elements(shape.batch * shape.sequence * shape.heads), stream, by_token, by_head, shape);
}
void heads_first(StreamHandle stream, float* by_head, const float* by_token, const AttentionShape& shape) {
  launch(heads_first_kernel, of_elements(shape.batch * shape.sequence * shape.heads), stream, by_head, by_token, shape);
}
void place_kv_gradients(StreamHandle stream, TensorView dqkv, const std::byte* dk, const std::byte* dv,
                        const AttentionShape& shape) {
  launch(place_kv_gradients_kernel, of_elements(shape.batch * shape.sequence * shape.kv_heads * shape.head_dim), stream,
         dqkv.as<Bf16>(), reinterpret_cast<const Bf16*>(dk), reinterpret_cast<const Bf16*>(dv), shape);
}

}  // namespace drover::cuda
