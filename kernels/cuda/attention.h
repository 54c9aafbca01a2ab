// The ways to do attention on a GPU, and the kernels around cuDNN's.
#pragma once
#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {

// Kernels of our own (attention.cu): any dtype, head_dim up to 256.
void plain_attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv,
                             ConstTensorView document_begin, const AttentionShape& shape, float scale);
void plain_attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                              ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                              TensorView scratch);

// cuDNN's, bf16 only (cudnn_attention.cpp). Null in a build without its headers. False, and one line to stderr for the process, where it cannot.
DROVER_CUDA_SIDE bool cudnn_attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv,
                                              ConstTensorView document_begin, const AttentionShape& shape, float scale,
                                              TensorView scratch);
DROVER_CUDA_SIDE bool cudnn_attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out,
                                               ConstTensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                                               const AttentionShape& shape, float scale, TensorView scratch);

// The engines of a shape; -1 where cuDNN has none within the bound.
struct CudnnEngine {
  int64_t number = -1, workspace = 0, bound = 0;  // bytes
};
struct CudnnEngines {
  CudnnEngine forward, backward;
};
DROVER_CUDA_SIDE CudnnEngines cudnn_attention_engines(const AttentionShape& shape);
DROVER_CUDA_SIDE std::string cudnn_library();  // "cuDNN 9.19.0"; "" where it cannot be used

// One line for the process: bf16 attention by our own kernels, and why.
void say_plain_attention(const AttentionShape& shape, const std::string& why);

// Where the documents of each sample lie (documents.cu). Sample b's are entries b * documents on; those that are not there have length 0.
struct DocumentLists {
  int32_t* length;  // [entries]
  int64_t *of_qkv, *of_out, *of_kv,
      *of_tokens;  // [entries + 1]: first element of an entry in tensors of that many elements a token
};
void list_documents(StreamHandle stream, const DocumentLists& lists, ConstTensorView document_begin, const AttentionShape& shape);
// [batch, heads, sequence] and [batch * sequence, heads], f32.
void heads_last(StreamHandle stream, float* by_token, const float* by_head, const AttentionShape& shape);
void heads_first(StreamHandle stream, float* by_head, const float* by_token, const AttentionShape& shape);
// dk and dv, [batch * sequence, kv_heads, head_dim] bf16 each, into dqkv.
void place_kv_gradients(StreamHandle stream, TensorView dqkv, const std::byte* dk, const std::byte* dv,
                        const AttentionShape& shape);

}  // namespace drover::cuda
