// The CUDA side of the checked entries in kernels/*.cpp: arguments as in the public headers, already checked, on the stream's device.
// The functions are null in programs that the CUDA side is not linked to; no stream of such a program is on a GPU (kernels/cuda/device.h).
#pragma once
#include <string>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm_algorithms.h"
#include "kernels/view.h"

#define DROVER_CUDA_SIDE [[gnu::weak]]

namespace drover::cuda {

using StreamHandle = CUstream_st*;

DROVER_CUDA_SIDE void rmsnorm_forward(StreamHandle stream, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                                      float eps);
DROVER_CUDA_SIDE void add_rmsnorm_forward(StreamHandle stream, TensorView sum, TensorView y, TensorView rstd, ConstTensorView x,
                                          ConstTensorView residual, ConstTensorView weight, float eps);
DROVER_CUDA_SIDE void rmsnorm_backward(StreamHandle stream, TensorView dx, TensorView dweight, ConstTensorView dy,
                                       ConstTensorView x, ConstTensorView rstd, ConstTensorView weight, bool accumulate,
                                       TensorView scratch);
DROVER_CUDA_SIDE void rope(StreamHandle stream, TensorView qkv, ConstTensorView positions, ConstTensorView cosine,
                           ConstTensorView sine, int64_t kv_heads, float sign);
DROVER_CUDA_SIDE void swiglu_forward(StreamHandle stream, TensorView y, ConstTensorView gate_up);
DROVER_CUDA_SIDE void swiglu_backward(StreamHandle stream, TensorView dgate_up, TensorView y, ConstTensorView dy,
                                      ConstTensorView gate_up);
DROVER_CUDA_SIDE void embedding_forward(StreamHandle stream, TensorView y, ConstTensorView tokens, ConstTensorView weight,
                                        int64_t first);
DROVER_CUDA_SIDE void embedding_backward(StreamHandle stream, TensorView dweight, ConstTensorView dy, ConstTensorView tokens,
                                         int64_t first);
DROVER_CUDA_SIDE void fill_zero(StreamHandle stream, TensorView y);
DROVER_CUDA_SIDE void copy(StreamHandle stream, TensorView y, ConstTensorView x);
DROVER_CUDA_SIDE void cast(StreamHandle stream, TensorView y, ConstTensorView x);
DROVER_CUDA_SIDE void add(StreamHandle stream, TensorView y, ConstTensorView a, ConstTensorView b);
DROVER_CUDA_SIDE void bias_forward(StreamHandle stream, TensorView y, ConstTensorView bias);
DROVER_CUDA_SIDE void bias_backward(StreamHandle stream, TensorView dbias, ConstTensorView dy);
DROVER_CUDA_SIDE void sum_of_squares(StreamHandle stream, TensorView sum, ConstTensorView x, TensorView scratch);
// Of one rank's whole vocabulary: statistics and, on request, the gradient in one pass.
DROVER_CUDA_SIDE void cross_entropy(StreamHandle stream, TensorView logits, TensorView statistics, ConstTensorView targets,
                                    ConstTensorView weights, const VocabularySlice& slice, bool gradient);
DROVER_CUDA_SIDE void cross_entropy_statistics(StreamHandle stream, TensorView statistics, ConstTensorView logits,
                                               ConstTensorView targets, const VocabularySlice& slice);
DROVER_CUDA_SIDE void cross_entropy_gradient(StreamHandle stream, TensorView logits, ConstTensorView statistics,
                                             ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice);
DROVER_CUDA_SIDE void cross_entropy_sums(StreamHandle stream, TensorView loss_sum, TensorView weight_sum,
                                         ConstTensorView statistics, ConstTensorView weights);
DROVER_CUDA_SIDE void prepare_update(StreamHandle stream, TensorView control, ConstTensorView sums, const AdamW& adamw,
                                     double max_norm);
DROVER_CUDA_SIDE void adamw_update(StreamHandle stream, TensorView master, TensorView m, TensorView v, TensorView weights,
                                   ConstTensorView gradient, ConstTensorView control, const UpdateFactors& factors);

// Kernels of cuBLASLt that add a bias read 16 bytes of it at a time, and no preference tells it to choose others.
constexpr uintptr_t kBiasAlignment = 16;
inline bool adds_bias(ConstTensorView bias) {
  return !bias.empty() && reinterpret_cast<uintptr_t>(bias.data) % kBiasAlignment == 0;
}
// c = op(a) op(b) + beta c or + bias, by cuBLASLt with a workspace of kGemmScratchBytes.
DROVER_CUDA_SIDE void gemm(StreamHandle stream, const GemmCall& call);
DROVER_CUDA_SIDE std::string gemm_library();
constexpr int64_t kGemmScratchBytes = int64_t{32} << 20;
// The library's proposals, the one that it thinks the fastest first; at least one.
DROVER_CUDA_SIDE std::vector<GemmAlgorithm> gemm_candidates(const GemmShape& shape, int most);
// Median seconds of the product by each of them; infinite where it fails.
DROVER_CUDA_SIDE std::vector<double> time_gemm(StreamHandle stream, const GemmCall& call,
                                               std::span<const GemmAlgorithm> candidates);
DROVER_CUDA_SIDE bool set_gemm_algorithm(const GemmShape& shape, const GemmAlgorithm& algorithm);

DROVER_CUDA_SIDE void attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv,
                                        ConstTensorView document_begin, const AttentionShape& shape, float scale,
                                        TensorView scratch);
DROVER_CUDA_SIDE std::string attention_library();
DROVER_CUDA_SIDE void attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out,
                                         ConstTensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                                         const AttentionShape& shape, float scale, TensorView scratch);

// Partial results that reductions leave in their scratch, in elements: fixed, so that bits do not depend on the GPU.
constexpr int64_t kNormPartials = 264;  // two blocks for each of an H100's multiprocessors

}  // namespace drover::cuda
