// Attention by cuDNN's fused engines. Its graphs spell attention out, operation by operation, as an engine knows it (the pattern of NVIDIA's
// cudnn-frontend); tests/cudnn asks the engines for an H100 about each of them, on machines without one.
//
//   no documents            causal mask
//   documents, bounded      each document is a sample of its own, of variable length, at an offset ("ragged"); backward only where not deterministic,
//                           as the matrix of ds would have sequence^2 elements for every document that there might be
//   documents otherwise     causal mask, and key u >= document_begin of the query
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn_graph.h"

namespace drover::cuda {
namespace {

using Tensor = CudnnGraph::Tensor;
using Four = CudnnGraph::Four;
using Arguments = std::vector<CudnnPlan::Argument>;

constexpr size_t kOldest = 91600;  // before it, sequences that are no multiple of 128 tokens need a workaround

enum Id : int64_t {
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

constexpr float kInfinity = -std::numeric_limits<float>::infinity(), kUnit = 1;

enum class Mask { causal, begins, ragged };

// What one plan computes: some samples and kv heads of a shape. Ragged: each entry of the lists of documents is a sample.
struct Part {
  AttentionShape s;
  int64_t batch, kv_heads;
  Mask mask;
  bool backward;

  int64_t heads() const { return kv_heads * (s.heads / s.kv_heads); }
  int64_t row() const { return (s.heads + 2 * s.kv_heads) * s.head_dim; }
  auto key() const {
    return std::tuple(batch, kv_heads, mask, backward, s.batch, s.sequence, s.heads, s.kv_heads, s.head_dim, s.deterministic);
  }
  bool operator<(const Part& other) const { return key() < other.key(); }
};

Part forward_part(const AttentionShape& s) {
  if (s.documents > 1) return {s, s.batch * s.documents, s.kv_heads, Mask::ragged, false};
  return {s, s.batch, s.kv_heads, s.documents == 1 ? Mask::causal : Mask::begins, false};
}
Part backward_part(const AttentionShape& s) {
  const AttentionScratch scratch{s};
  const Mask whole = s.documents == 1 ? Mask::causal : Mask::begins;
  switch (scratch.backward()) {
    case Backward::by_documents: return {s, scratch.entries(), s.kv_heads, Mask::ragged, true};
    case Backward::whole: return {s, s.batch, s.kv_heads, whole, true};
    case Backward::in_order: break;
  }
  return {s, scratch.samples_at_once(), scratch.kv_heads_at_once(), whole, true};
}

class GraphOfPart {
 public:
  explicit GraphOfPart(const Part& part) : p_(part), n_(part.s.sequence), d_(part.s.head_dim) {
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

  const Part& p_;
  int64_t n_, d_;
  CudnnGraph g_;
  Tensor scale_, minus_infinity_, q_, k_transposed_;
  std::optional<Tensor> begin_, length_, of_qkv_, of_out_, of_kv_, of_tokens_;
};

// cuDNN's handle, and the plans made so far: an engine's kernel is compiled in half a second. One for the process, which uses one GPU; used by the
// executor's thread only. It is never destroyed: at the process's end cuDNN may be gone before it.
class Library {
 public:
  static Library& instance() {
    static Library& library = *new Library;
    return library;
  }

  // Null, and said, where there is none.
  const CudnnPlan* plan(const Part& part, int64_t workspace_bound) {
    const auto found = plans_.find(part);
    if (found != plans_.end()) return found->second ? &*found->second : nullptr;
    std::optional<CudnnPlan>& plan = plans_[part];
    start();
    if (!unusable_.empty()) {
      say_plain_attention(part.s, unusable_);
      return nullptr;
    }
    try {
      GraphOfPart graph(part);
      plan.emplace(handle_, part.backward ? graph.backward() : graph.forward(), workspace_bound);
      return &*plan;
    } catch (const CudnnRefusal& refusal) {
      say_plain_attention(part.s, std::string("cuDNN ") + (part.backward ? "backward" : "forward") + ": " + refusal.what());
      return nullptr;
    }
  }

  std::string text() const { return unusable_.empty() ? "cuDNN " + version_text(cudnnGetVersion()) : ""; }

  void run(const CudnnPlan& plan, StreamHandle stream, const Arguments& arguments, std::byte* workspace) const try {
    plan.run(handle_, stream, arguments, workspace);
  } catch (const CudnnRefusal& refusal) {
    throw Error(ExitCode::hardware, std::string("cuDNN's attention: ") + refusal.what());
  }

 private:
  // Without a handle, which would be of the GPU that is chosen now.
  Library() try {
    const size_t version = cudnnGetVersion();
    if (version < kOldest) unusable_ = "cuDNN " + version_text(version) + " is older than " + version_text(kOldest);
  } catch (const Error& missing) {
    unusable_ = missing.what();
  }

  void start() {
    if (handle_ != nullptr || !unusable_.empty()) return;
    const cudnnStatus_t status = cudnnCreate(&handle_);
    if (status != CUDNN_STATUS_SUCCESS) unusable_ = std::string("cuDNN does not start: ") + cudnnGetErrorString(status);
  }

  static std::string version_text(size_t version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
  }

  cudnnHandle_t handle_ = nullptr;
  std::string unusable_;  // why
  std::map<Part, std::optional<CudnnPlan>> plans_;
};

// Takes buffers from the scratch, one after the other.
class Carver {
 public:
  explicit Carver(TensorView scratch) : next_(scratch.data) {}
  std::byte* take(int64_t bytes) { return std::exchange(next_, next_ + bytes); }
  template <class T> T* take(int64_t bytes) { return reinterpret_cast<T*>(take(bytes)); }

 private:
  std::byte* next_;
};

DocumentLists carve_lists(Carver& carver, const AttentionScratch& scratch) {
  const auto offsets = [&] { return carver.take<int64_t>(scratch.offset_bytes()); };
  int32_t* const length = carver.take<int32_t>(scratch.length_bytes());
  int64_t* const of_qkv = offsets();
  int64_t* const of_out = offsets();
  int64_t* const of_kv = offsets();
  return {length, of_qkv, of_out, of_kv, offsets()};
}

void add_lists(Arguments& arguments, const DocumentLists& lists) {
  arguments.insert(arguments.end(),
                   {{kLength, lists.length}, {kOfQkv, lists.of_qkv}, {kOfOut, lists.of_out}, {kOfTokens, lists.of_tokens}});
}

template <class View> auto* at(const View& view, int64_t element) { return view.data + element * size_of(view.dtype); }

// From sample `sample` and kv head `kv` on.
Arguments operands(const AttentionShape& s, ConstTensorView qkv, int64_t sample, int64_t kv, const float& scale) {
  const int64_t token = sample * s.sequence * (s.heads + 2 * s.kv_heads), group = s.heads / s.kv_heads;
  return {{kQ, at(qkv, (token + kv * group) * s.head_dim)},
          {kK, at(qkv, (token + s.heads + kv) * s.head_dim)},
          {kV, at(qkv, (token + s.heads + s.kv_heads + kv) * s.head_dim)},
          {kScale, &scale},
          {kMinusInfinity, &kInfinity}};
}

}  // namespace

std::string cudnn_library() { return Library::instance().text(); }

CudnnEngines cudnn_attention_engines(const AttentionShape& shape) {
  const AttentionScratch scratch{shape};
  const CudnnPlan* const forward = Library::instance().plan(forward_part(shape), scratch.forward_workspace());
  const CudnnPlan* const backward = Library::instance().plan(backward_part(shape), scratch.backward_workspace());
  CudnnEngines engines;
  if (forward != nullptr) engines.forward = {forward->engine(), forward->workspace_bytes(), scratch.forward_workspace()};
  if (backward != nullptr) engines.backward = {backward->engine(), backward->workspace_bytes(), scratch.backward_workspace()};
  return engines;
}

bool cudnn_attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv,
                             ConstTensorView document_begin, const AttentionShape& shape, float scale, TensorView scratch_view) {
  const AttentionScratch scratch{shape};
  const Part part = forward_part(shape);
  const CudnnPlan* const plan = Library::instance().plan(part, scratch.forward_workspace());
  if (plan == nullptr) return false;
  Carver carver(scratch_view);
  Arguments arguments = operands(shape, qkv, 0, 0, scale);
  arguments.push_back({kOut, out.data});
  if (part.mask == Mask::begins) arguments.push_back({kBegin, document_begin.data});
  if (part.mask != Mask::ragged) {
    arguments.push_back({kLse, lse.data});
    Library::instance().run(*plan, stream, arguments, carver.take(scratch.forward_workspace()));
    return true;
  }
  const DocumentLists lists = carve_lists(carver, scratch);
  float* const by_token = carver.take<float>(scratch.statistics_bytes());
  list_documents(stream, lists, document_begin, shape);
  add_lists(arguments, lists);
  arguments.push_back({kLse, by_token});
  Library::instance().run(*plan, stream, arguments, carver.take(scratch.forward_workspace()));
  heads_first(stream, lse.as<float>(), by_token, shape);
  return true;
}

bool cudnn_attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                              ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                              TensorView scratch_view) {
  const AttentionShape& s = shape;
  const AttentionScratch scratch{s};
  const Part part = backward_part(s);
  const CudnnPlan* const plan = Library::instance().plan(part, scratch.backward_workspace());
  if (plan == nullptr) return false;
  Carver carver(scratch_view);
  std::byte* const row_sum = carver.take(scratch.statistics_bytes());
  std::byte* const dq_sum = s.deterministic ? nullptr : carver.take(scratch.dq_sum_bytes());
  const int64_t group = s.heads / s.kv_heads, row = s.heads + 2 * s.kv_heads;

  if (part.mask == Mask::ragged) {
    const DocumentLists lists = carve_lists(carver, scratch);
    float* const by_token = carver.take<float>(scratch.statistics_bytes());
    std::byte* const dk = carver.take(scratch.kv_gradient_bytes());
    std::byte* const dv = carver.take(scratch.kv_gradient_bytes());
    Arguments arguments = operands(s, qkv, 0, 0, scale);
    list_documents(stream, lists, document_begin, s);
    heads_last(stream, by_token, lse.as<float>(), s);
    add_lists(arguments, lists);
    arguments.insert(arguments.end(), {{kOfKv, lists.of_kv},
                                       {kOut, out.data},
                                       {kDout, dout.data},
                                       {kLse, by_token},
                                       {kOne, &kUnit},
                                       {kRowSum, row_sum},
                                       {kDq, dqkv.data},
                                       {kDqSum, dq_sum},
                                       {kDk, dk},
                                       {kDv, dv}});
    if (group > 1) {
      arguments.push_back({kDkFull, carver.take(scratch.full_head_bytes())});
      arguments.push_back({kDvFull, carver.take(scratch.full_head_bytes())});
    }
    Library::instance().run(*plan, stream, arguments, carver.take(scratch.backward_workspace()));
    place_kv_gradients(stream, dqkv, dk, dv, s);
    return true;
  }

  std::byte* const workspace = carver.take(scratch.backward_workspace());
  for (int64_t sample = 0; sample < s.batch; sample += part.batch)
    for (int64_t kv = 0; kv < s.kv_heads; kv += part.kv_heads) {
      Arguments arguments = operands(s, qkv, sample, kv, scale);
      const int64_t head = kv * group, token = sample * s.sequence;
      const int64_t of_out = (token * s.heads + head) * s.head_dim, of_dqkv = (token * row + head) * s.head_dim;
      const int64_t of_dk = (token * row + s.heads + kv) * s.head_dim;
      arguments.insert(arguments.end(), {{kOut, at(out, of_out)},
                                         {kDout, at(dout, of_out)},
                                         {kLse, at(lse, (sample * s.heads + head) * s.sequence)},
                                         {kOne, &kUnit},
                                         {kRowSum, row_sum},
                                         {kDq, at(dqkv, of_dqkv)},
                                         {kDk, at(dqkv, of_dk)},
                                         {kDv, at(dqkv, of_dk + s.kv_heads * s.head_dim)}});
      if (dq_sum != nullptr) arguments.push_back({kDqSum, dq_sum});
      if (part.mask == Mask::begins) arguments.push_back({kBegin, at(document_begin, token)});
      Library::instance().run(*plan, stream, arguments, workspace);
    }
  return true;
}

}  // namespace drover::cuda
