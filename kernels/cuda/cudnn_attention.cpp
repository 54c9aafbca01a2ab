// Attention by cuDNN's fused engines.
//
//   no documents            causal mask
//   documents, bounded      each document is a sample of its own, of variable length, at an offset ("ragged"); backward only where not deterministic,
//                           as the matrix of ds would have sequence^2 elements for every document that there might be
//   documents otherwise     causal mask, and key u >= document_begin of the query
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn_attention_graph.h"

namespace drover::cuda {
namespace {

using Arguments = std::vector<CudnnPlan::Argument>;

constexpr size_t kOldest = 91600;  // before it, sequences that are no multiple of 128 tokens need a workaround

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity(), kUnit = 1;

using Part = AttentionPart;
using Mask = AttentionMask;

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
      plan.emplace(handle_, attention_graph(part), workspace_bound);
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
  Library() {
    try {
      const size_t version = cudnnGetVersion();
      if (version < kOldest) unusable_ = "cuDNN " + version_text(version) + " is older than " + version_text(kOldest);
    } catch (const Error& missing) {
      unusable_ = missing.what();
    }
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
          {kMinusInfinity, &kNegativeInfinity}};
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
