#include "trainer/model/shape.h"

#include <algorithm>
#include <cmath>

#include "kernels/gemm.h"

namespace drover {

ModelShape model_shape(const Config& config, const Mesh& mesh, int rank) {
  const ModelConfig& model = config.model;
  const int64_t tp = mesh.size(Axis::tp), coordinate = mesh.coordinate(rank, Axis::tp);
  ModelShape shape;
  shape.dtype = config.precision.compute == Precision::bf16 ? DType::bf16 : DType::f32;
  shape.micro_batch = config.train.micro_batch;
  shape.sequence = config.train.sequence;
  shape.tokens = shape.micro_batch * shape.sequence;
  shape.tp = tp;
  shape.own_tokens = shape.tokens / tp;
  shape.hidden = model.hidden;
  shape.head_dim = model.head_dim;
  shape.documents = config.data.document_mask ? std::min(config.data.max_documents_per_sample, config.train.sequence) : 1;
  shape.deterministic_attention = config.train.deterministic_attention;
  shape.heads = model.heads / tp;
  shape.kv_heads = model.kv_heads / tp;
  shape.ffn = model.ffn / tp;
  shape.vocabulary_rows = (model.vocab + tp - 1) / tp;
  shape.vocabulary.first = coordinate * shape.vocabulary_rows;
  shape.vocabulary.valid = std::clamp<int64_t>(model.vocab - shape.vocabulary.first, 0, shape.vocabulary_rows);
  shape.threads = static_cast<int>(config.run.threads);
  shape.eps = static_cast<float>(model.norm_eps);
  shape.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(model.head_dim)));
  constexpr int64_t kLogits =
      int64_t{1} << 25;  // elements of one chunk: large enough for full-speed products, small beside a block
  shape.loss_chunk = std::clamp<int64_t>(kLogits / shape.vocabulary_rows, std::min<int64_t>(64, shape.tokens), shape.tokens);
  return shape;
}

std::vector<int> layers_per_stage(int64_t layers, int stages) {
  std::vector<int> counts(static_cast<size_t>(stages), static_cast<int>(layers / stages));
  std::vector<int> order;
  for (int stage = 1; stage + 1 < stages; ++stage) order.push_back(stage);
  order.push_back(0);
  for (int64_t extra = 0; extra < layers % stages; ++extra) ++counts[static_cast<size_t>(order[static_cast<size_t>(extra)])];
  return counts;
}

int64_t microbatches(const Config& config) { return config.train.global_batch / (config.parallel.dp * config.train.micro_batch); }

int64_t model_gemm_scratch(const ModelShape& shape, Device device) {
  const int64_t t = shape.tokens, h = shape.hidden, chunk = shape.loss_chunk;
  const DType d = shape.dtype;
  int64_t bytes = 0;
  const auto linear = [&](int64_t rows, int64_t out, int64_t in) {  // forward, backward_input, backward_weight
    bytes = std::max({bytes, gemm_scratch_bytes(d, rows, out, in, shape.threads, device),
                      gemm_scratch_bytes(d, rows, in, out, shape.threads, device),
                      gemm_scratch_bytes(d, out, in, rows, shape.threads, device)});
  };
  linear(t, shape.qkv_heads() * shape.head_dim, h);
  linear(t, h, shape.heads * shape.head_dim);
  linear(t, 2 * shape.ffn, h);
  linear(t, h, shape.ffn);
  linear(chunk, shape.vocabulary_rows, h);
  return bytes;
}

}  // namespace drover
