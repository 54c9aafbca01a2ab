// Attention spelled out, operation by operation, in the pattern by which an engine knows it (that of NVIDIA's cudnn-frontend). tests/cudnn asks the
// engines for an H100 about each graph, on machines without one.
#include "kernels/cuda/cudnn_attention_graph.h"

#include <optional>
#include <utility>

namespace drover::cuda {
namespace {

using Tensor = CudnnGraph::Tensor;
using Four = CudnnGraph::Four;
using Id = AttentionId;
using Mask = AttentionMask;

class GraphOfPart {
 public:
  explicit GraphOfPart(const AttentionPart& part) : p_(part), n_(part.s.sequence), d_(part.s.head_dim) {
    scale_ = g_.constant(kScale);
    minus_infinity_ = g_.constant(kMinusInfinity);
    if (p_.mask == Mask::begins) begin_ = g_.outside(kBegin, CUDNN_DATA_INT32, {p_.batch, 1, n_, 1}, {n_, n_, 1, 1});
    if (p_.mask == Mask::ragged) {
      length_ = g_.outside(kLength, CUDNN_DATA_INT32, {p_.batch, 1, 1, 1}, {1, 1, 1, 1});
      of_qkv_ = offsets(kOfQkv);
      of_out_ = offsets(kOfOut);
      of_tokens_ = offsets(kOfTokens);
    }
    q_ = rows(kQ, p_.heads(), p_.row(), of_qkv_);
    const int64_t row = p_.row();
    k_transposed_ = g_.outside(kK, CUDNN_DATA_BFLOAT16, {p_.batch, p_.kv_heads, d_, n_}, {n_ * row, d_, 1, row}, maybe(of_qkv_));
  }

  CudnnGraph forward() {
    const Tensor v = rows(kV, p_.kv_heads, p_.row(), of_qkv_);
    const Tensor out = rows(kOut, p_.heads(), p_.s.heads * d_, of_out_), lse = statistics(kLse);
    const Four one_a_row{p_.batch, p_.heads(), n_, 1};
    const Tensor score = masked(scores());
    const Tensor maximum = g_.reduce(CUDNN_REDUCE_TENSOR_MAX, score, one_a_row);
    const Tensor less = g_.apply(CUDNN_POINTWISE_SUB, score, &maximum);
    const Tensor power = g_.apply(CUDNN_POINTWISE_EXP, less);
    const Tensor sum = g_.reduce(CUDNN_REDUCE_TENSOR_ADD, power, one_a_row);
    const Tensor logarithm = g_.apply(CUDNN_POINTWISE_LOG, sum);
    g_.apply(CUDNN_POINTWISE_ADD, maximum, &logarithm, &lse);
    const Tensor p = g_.apply(CUDNN_POINTWISE_DIV, power, &sum, nullptr, CUDNN_DATA_BFLOAT16);
    g_.matmul(p, v, lengths_m_k(), &out);
    return std::move(g_);
  }

  CudnnGraph backward() {
    const int64_t heads = p_.heads(), row = p_.row();
    const Tensor v_transposed =
        g_.outside(kV, CUDNN_DATA_BFLOAT16, {p_.batch, p_.kv_heads, d_, n_}, {n_ * row, d_, 1, row}, maybe(of_qkv_));
    const Tensor out = rows(kOut, heads, p_.s.heads * d_, of_out_), dout = rows(kDout, heads, p_.s.heads * d_, of_out_);
    const Tensor lse = statistics(kLse), row_sum = statistics(kRowSum), one = g_.constant(kOne);

    const Tensor products = g_.apply(CUDNN_POINTWISE_MUL, dout, &out);
    const Tensor sums = g_.reduce(CUDNN_REDUCE_TENSOR_ADD, products, {p_.batch, heads, n_, 1});
    g_.apply(CUDNN_POINTWISE_MUL, sums, &one, &row_sum);

    const Tensor p = g_.apply(CUDNN_POINTWISE_EXP, masked(minus(scores(), lse)));
    if (p_.mask == Mask::ragged) of_kv_ = offsets(kOfKv);
    gradient_of_keys(kDv, kDvFull, p, dout);
    const Tensor dp = g_.matmul(dout, v_transposed, lengths_m_n());
    const Tensor centred = minus(dp, row_sum);
    const Tensor ds = g_.apply(CUDNN_POINTWISE_MUL, centred, &p);
    const Tensor scaled = g_.apply(CUDNN_POINTWISE_MUL, ds, &scale_);
    gradient_of_keys(kDk, kDkFull, scaled, q_);

    const Tensor dq = rows(kDq, heads, row, of_qkv_), k = g_.transpose(k_transposed_, CUDNN_DATA_BFLOAT16, maybe(of_qkv_));
    if (p_.s.deterministic) {
      g_.matmul(scaled, k, lengths_m_k(), &dq);
    } else {
      const Four dim{p_.batch, heads, n_, d_};
      const Four stride = p_.mask == Mask::ragged ? dq.stride : Four{heads * n_ * d_, n_ * d_, d_, 1};
      const Tensor dq_sum = g_.outside(kDqSum, CUDNN_DATA_FLOAT, dim, stride, maybe(of_qkv_));
      g_.matmul(scaled, k, lengths_m_k(), &dq_sum);
      g_.apply(CUDNN_POINTWISE_IDENTITY, dq_sum, nullptr, &dq);
    }
    return std::move(g_);
  }

 private:
  static const Tensor* maybe(const std::optional<Tensor>& tensor) { return tensor ? &*tensor : nullptr; }
  CudnnGraph::Lengths lengths_m_n() const { return {maybe(length_), maybe(length_), nullptr}; }
  CudnnGraph::Lengths lengths_m_k() const { return {maybe(length_), nullptr, maybe(length_)}; }

  Tensor offsets(Id id) { return g_.outside(id, CUDNN_DATA_INT64, {p_.batch + 1, 1, 1, 1}, {1, 1, 1, 1}); }
  // [batch, heads, sequence, head_dim] of bf16, tokens `row` elements apart.
  Tensor rows(Id id, int64_t heads, int64_t row, const std::optional<Tensor>& offset) {
    return g_.outside(id, CUDNN_DATA_BFLOAT16, {p_.batch, heads, n_, d_}, {n_ * row, d_, row, 1}, maybe(offset));
  }
  // An f32 a query: by head, or by token where documents have offsets.
  Tensor statistics(Id id) {
    const int64_t heads = p_.heads();
    const Four stride = p_.mask == Mask::ragged ? Four{heads * n_, 1, heads, 1} : Four{heads * n_, n_, 1, 1};
    return g_.outside(id, CUDNN_DATA_FLOAT, {p_.batch, heads, n_, 1}, stride, maybe(of_tokens_));
  }
  Tensor scores() {
    const Tensor products = g_.matmul(q_, k_transposed_, lengths_m_n());
    return g_.apply(CUDNN_POINTWISE_MUL, products, &scale_);
  }
  Tensor minus(const Tensor& x, const Tensor& of_row) { return g_.apply(CUDNN_POINTWISE_SUB, x, &of_row); }

  Tensor masked(Tensor score) {
    if (p_.mask == Mask::ragged) {
      const Tensor row_is = g_.compare(CUDNN_POINTWISE_CMP_LT, g_.index(score, 2), *length_);
      const Tensor column_is = g_.compare(CUDNN_POINTWISE_CMP_LT, g_.index(score, 3), *length_);
      score = g_.select(score, minus_infinity_, g_.both(row_is, column_is));
    }
    if (p_.mask == Mask::begins)
      score = g_.select(score, minus_infinity_, g_.compare(CUDNN_POINTWISE_CMP_GE, g_.index(score, 3), *begin_));
    const Tensor row = g_.index(score, 2), column = g_.index(score, 3);
    return g_.select(score, minus_infinity_, g_.compare(CUDNN_POINTWISE_CMP_GE, row, column));
  }

  // Of k or v: matrix^T rows, summed over the query heads of a kv head.
  void gradient_of_keys(Id id, Id full_id, const Tensor& matrix, const Tensor& of_rows) {
    const bool ragged = p_.mask == Mask::ragged;
    const int64_t width = ragged ? p_.s.kv_heads * d_ : p_.row(), group = p_.heads() / p_.kv_heads;
    const Tensor gradient = rows(id, p_.kv_heads, width, of_kv_);
    const Tensor transposed = g_.transpose(matrix, CUDNN_DATA_BFLOAT16);
    if (group == 1) {
      g_.matmul(transposed, of_rows, lengths_m_k(), &gradient);
      return;
    }
    const Four dim{p_.batch, p_.heads(), n_, d_};
    // cuDNN multiplies the offsets of dk and dv by the heads that are summed.
    const Tensor full =
        ragged ? g_.outside(full_id, CUDNN_DATA_BFLOAT16, dim, {n_ * width * group, d_, width * group, 1}, maybe(of_kv_))
               : g_.between(CUDNN_DATA_BFLOAT16, dim);
    g_.matmul(transposed, of_rows, lengths_m_k(), &full);
    g_.reduce(CUDNN_REDUCE_TENSOR_ADD, full, gradient.dim, &gradient);
  }

  const AttentionPart& p_;
  int64_t n_, d_;
  CudnnGraph g_;
  Tensor scale_, minus_infinity_, q_, k_transposed_;
  std::optional<Tensor> begin_, length_, of_qkv_, of_out_, of_kv_, of_tokens_;
};

}  // namespace

CudnnGraph attention_graph(const AttentionPart& part) {
  GraphOfPart graph(part);
  return part.backward ? graph.backward() : graph.forward();
}

}  // namespace drover::cuda
