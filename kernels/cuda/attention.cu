// Attention without a library: a warp takes one query of one head (backward also one key of one kv head), 32 partners at a time. It reads
// keys and values from the caches again and again: what training uses is cuDNN's, and this where that is not to be had.
#include <cmath>
#include <cstdio>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/block.h"

namespace drover::cuda {
namespace {

constexpr int kMostOfALane = 8;  // elements of a head
constexpr int64_t kMostHead = kMostOfALane * kWarp;

// Where things lie.
struct Place {
  AttentionShape s;
  __device__ int64_t row() const { return (s.heads + 2 * s.kv_heads) * s.head_dim; }
  __device__ int64_t query(int64_t token, int64_t head) const { return token * row() + head * s.head_dim; }
  __device__ int64_t key(int64_t token, int64_t kv) const { return query(token, s.heads + kv); }
  __device__ int64_t value(int64_t token, int64_t kv) const { return query(token, s.heads + s.kv_heads + kv); }
  __device__ int64_t out(int64_t token, int64_t head) const { return (token * s.heads + head) * s.head_dim; }
  __device__ int64_t lse(int64_t token, int64_t head) const {
    return (token / s.sequence * s.heads + head) * s.sequence + token % s.sequence;
  }
};

template <class T> __device__ float dot(const float* a, const T* b, int64_t dim) {
  float sum = 0;
  for (int64_t d = 0; d < dim; ++d) sum += a[d] * to_f32(b[d]);
  return sum;
}

template <class T> __device__ void load_vector(float* to, const T* from, int64_t dim) {
  for (int64_t d = threadIdx.x; d < dim; d += kWarp) to[d] = to_f32(from[d]);
}

// sums[i] = sums[i] keep + sum over 32 partners of factor[partner] rows[partner], for this lane's elements of a head.
template <class T> __device__ void add_rows(float* sums, float keep, const float* factor, const T* rows, int64_t stride,
                                            int64_t partners, int64_t dim) {
  for (int i = 0; i < kMostOfALane && i * kWarp + threadIdx.x < dim; ++i) {
    float sum = sums[i] * keep;
    for (int64_t partner = 0; partner < partners; ++partner)
      sum += factor[partner] * to_f32(rows[partner * stride + i * kWarp + threadIdx.x]);
    sums[i] = sum;
  }
}

template <class T> __device__ void store_vector(T* to, const float* sums, float factor, int64_t dim) {
  for (int i = 0; i < kMostOfALane && i * kWarp + threadIdx.x < dim; ++i)
    to[i * kWarp + threadIdx.x] = from_f32<T>(sums[i] * factor);
}

template <class T> __global__ void attention_forward_kernel(T* out, float* lse, const T* qkv, const int32_t* document_begin,
                                                            Place place, float scale) {
  const AttentionShape& s = place.s;
  float* const q = shared_memory<float>();
  float* const p = q + s.head_dim;
  const int64_t token = blockIdx.x, head = blockIdx.y, kv = head / (s.heads / s.kv_heads), t = token % s.sequence,
                sample = token - t;
  load_vector(q, qkv + place.query(token, head), s.head_dim);
  __syncthreads();
  float sums[kMostOfALane] = {}, maximum = -INFINITY, total = 0;
  for (int64_t first = document_begin[token]; first <= t; first += kWarp) {
    const int64_t partners = min(static_cast<int64_t>(kWarp), t + 1 - first);
    const bool mine = threadIdx.x < partners;
    const float score = mine ? scale * dot(q, qkv + place.key(sample + first + threadIdx.x, kv), s.head_dim) : -INFINITY;
    const float now = Maximum{}(reduce_block(score, static_cast<float*>(nullptr), Maximum{}), maximum);
    const float keep = expf(maximum - now), probability = mine ? expf(score - now) : 0.0f;
    maximum = now;
    total = total * keep + reduce_block(probability, static_cast<float*>(nullptr), Sum{});
    p[threadIdx.x] = probability;
    __syncthreads();
    add_rows(sums, keep, p, qkv + place.value(sample + first, kv), place.row(), partners, s.head_dim);
    __syncthreads();
  }
  store_vector(out + place.out(token, head), sums, 1.0f / total, s.head_dim);
  if (threadIdx.x == 0) lse[place.lse(token, head)] = maximum + logf(total);
}

// dq of a query, and D = dout out for the keys' gradients.
template <class T> __global__ void attention_query_gradient_kernel(T* dqkv, float* row_part, const T* dout, const T* out,
                                                                   const float* lse, const T* qkv, const int32_t* document_begin,
                                                                   Place place, float scale) {
  const AttentionShape& s = place.s;
  float* const q = shared_memory<float>();
  float* const upstream = q + s.head_dim;
  float* const ds = upstream + s.head_dim;
  const int64_t token = blockIdx.x, head = blockIdx.y, kv = head / (s.heads / s.kv_heads), t = token % s.sequence,
                sample = token - t;
  load_vector(q, qkv + place.query(token, head), s.head_dim);
  load_vector(upstream, dout + place.out(token, head), s.head_dim);
  __syncthreads();
  float part = 0;
  for (int64_t d = threadIdx.x; d < s.head_dim; d += kWarp) part += upstream[d] * to_f32(out[place.out(token, head) + d]);
  part = reduce_block(part, static_cast<float*>(nullptr), Sum{});
  if (threadIdx.x == 0) row_part[place.lse(token, head)] = part;
  float sums[kMostOfALane] = {};
  for (int64_t first = document_begin[token]; first <= t; first += kWarp) {
    const int64_t partners = min(static_cast<int64_t>(kWarp), t + 1 - first), key = sample + first + threadIdx.x;
    if (threadIdx.x < partners) {
      const float p = expf(scale * dot(q, qkv + place.key(key, kv), s.head_dim) - lse[place.lse(token, head)]);
      ds[threadIdx.x] = p * (dot(upstream, qkv + place.value(key, kv), s.head_dim) - part) * scale;
    }
    __syncthreads();
    add_rows(sums, 1.0f, ds, qkv + place.key(sample + first, kv), place.row(), partners, s.head_dim);
    __syncthreads();
  }
  store_vector(dqkv + place.query(token, head), sums, 1.0f, s.head_dim);
}

// dk and dv of a key: the queries from it on, until one is of a later document, of every head that reads it.
template <class T> __global__ void attention_key_gradient_kernel(T* dqkv, const float* row_part, const T* dout, const float* lse,
                                                                 const T* qkv, const int32_t* document_begin, Place place,
                                                                 float scale) {
  const AttentionShape& s = place.s;
  float* const k = shared_memory<float>();
  float* const v = k + s.head_dim;
  float* const p = v + s.head_dim;
  float* const ds = p + kWarp;
  const int64_t token = blockIdx.x, kv = blockIdx.y, u = token % s.sequence, sample = token - u, group = s.heads / s.kv_heads;
  load_vector(k, qkv + place.key(token, kv), s.head_dim);
  load_vector(v, qkv + place.value(token, kv), s.head_dim);
  __syncthreads();
  float dk[kMostOfALane] = {}, dv[kMostOfALane] = {};
  for (int64_t head = kv * group; head < (kv + 1) * group; ++head)
    for (int64_t first = u; first < s.sequence && document_begin[sample + first] <= u; first += kWarp) {
      const int64_t partners = min(static_cast<int64_t>(kWarp), s.sequence - first), query = sample + first + threadIdx.x;
      if (threadIdx.x < partners) {
        const bool sees = document_begin[query] <= u;
        const int64_t at = place.lse(query, head);
        const float probability = sees ? expf(scale * dot(k, qkv + place.query(query, head), s.head_dim) - lse[at]) : 0.0f;
        p[threadIdx.x] = probability;
        ds[threadIdx.x] = sees ? probability * (dot(v, dout + place.out(query, head), s.head_dim) - row_part[at]) * scale : 0.0f;
      }
      __syncthreads();
      add_rows(dv, 1.0f, p, dout + place.out(sample + first, head), s.heads * s.head_dim, partners, s.head_dim);
      add_rows(dk, 1.0f, ds, qkv + place.query(sample + first, head), place.row(), partners, s.head_dim);
      __syncthreads();
    }
  store_vector(dqkv + place.key(token, kv), dk, 1.0f, s.head_dim);
  store_vector(dqkv + place.value(token, kv), dv, 1.0f, s.head_dim);
}

// A block is one warp; `vectors` of a head and `lists` of 32 partners in its shared memory.
Grid warps(const AttentionShape& s, int64_t heads, int64_t vectors, int64_t lists) {
  DROVER_CHECK(s.head_dim <= kMostHead,
               "attention without cuDNN: head_dim " + std::to_string(s.head_dim) + " is above " + std::to_string(kMostHead));
  return {s.batch * s.sequence, kWarp, (vectors * s.head_dim + lists * kWarp) * static_cast<int64_t>(sizeof(float)), heads};
}

}  // namespace

void plain_attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv,
                             ConstTensorView document_begin, const AttentionShape& shape, float scale) {
  by_type_and_width(qkv.dtype, false, [&]<class T, class W>(T*, W) {
    launch(attention_forward_kernel<T>, warps(shape, shape.heads, 1, 1), stream, out.as<T>(), lse.as<float>(), qkv.as<T>(),
           document_begin.as<int32_t>(), Place{shape}, scale);
  });
}

void plain_attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                              ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                              TensorView scratch) {
  float* const part = reinterpret_cast<float*>(scratch.data);
  by_type_and_width(qkv.dtype, false, [&]<class T, class W>(T*, W) {
    launch(attention_query_gradient_kernel<T>, warps(shape, shape.heads, 2, 1), stream, dqkv.as<T>(), part, dout.as<T>(),
           out.as<T>(), lse.as<float>(), qkv.as<T>(), document_begin.as<int32_t>(), Place{shape}, scale);
    launch(attention_key_gradient_kernel<T>, warps(shape, shape.kv_heads, 2, 2), stream, dqkv.as<T>(), part, dout.as<T>(),
           lse.as<float>(), qkv.as<T>(), document_begin.as<int32_t>(), Place{shape}, scale);
  });
}

namespace {

bool try_cudnn(ConstTensorView qkv, const AttentionShape& shape) {
  if (qkv.dtype != DType::bf16) return false;
  if (cudnn_attention_forward != nullptr) return true;
  say_plain_attention(shape, "this program was built without cuDNN's headers");
  return false;
}

}  // namespace

void say_plain_attention(const AttentionShape& s, const std::string& why) {
  static const bool first = [&] {
    std::fprintf(
        stderr,
        "drover: attention of batch %lld, sequence %lld, heads %lld over %lld, head_dim %lld runs without cuDNN, many times "
        "slower: %s\n",
        static_cast<long long>(s.batch), static_cast<long long>(s.sequence), static_cast<long long>(s.heads),
        static_cast<long long>(s.kv_heads), static_cast<long long>(s.head_dim), why.c_str());
    return true;
  }();
  static_cast<void>(first);
}

std::string attention_library() {
  const std::string name = cudnn_library == nullptr ? "" : cudnn_library();
  return name.empty() ? "attention without cuDNN" : name;
}

void attention_forward(StreamHandle stream, TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch) {
  if (try_cudnn(qkv, shape) && cudnn_attention_forward(stream, out, lse, qkv, document_begin, shape, scale, scratch)) return;
  plain_attention_forward(stream, out, lse, qkv, document_begin, shape, scale);
}

void attention_backward(StreamHandle stream, TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                        ConstTensorView qkv, ConstTensorView document_begin, const AttentionShape& shape, float scale,
                        TensorView scratch) {
  if (try_cudnn(qkv, shape) && cudnn_attention_backward(stream, dqkv, dout, out, lse, qkv, document_begin, shape, scale, scratch))
    return;
  plain_attention_backward(stream, dqkv, dout, out, lse, qkv, document_begin, shape, scale, scratch);
}

}  // namespace drover::cuda
