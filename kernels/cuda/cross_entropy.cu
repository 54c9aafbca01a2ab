// A block takes a token's row of logits. A rank that has the whole vocabulary reads it once and writes it once: the block keeps in shared memory
// what fits of the row until the gradient is made. Rows of many blocks would push each other out of the L2 cache: 132 of Llama 3's are 34 MB.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

constexpr int64_t kMostKept = 200 << 10;  // bytes of a row
constexpr int kWarps = 32;                // of a block, at most

struct Token {
  float top, total, chosen;
};

// body(first column) for this thread's packs of a row's first `columns` columns; the last pack may go beyond them.
template <int W, class Body> __device__ void for_packs(int64_t columns, Body&& body) {
  for (int64_t j = static_cast<int64_t>(threadIdx.x) * W; j < columns; j += static_cast<int64_t>(blockDim.x) * W) body(j);
}

// Sums of exponentials under different maxima, added as one thread goes and then by the block.
template <int W> struct Softmax {
  float top = -INFINITY, total = 0;

  template <class T> __device__ void add(const Pack<T, W>& z, int64_t valid) {
    float most = top;
    for (int e = 0; e < W; ++e)
      if (e < valid) most = Maximum{}(to_f32(z.element[e]), most);
    if (most > top) total *= expf(top - most);
    top = most;
    for (int e = 0; e < W; ++e)
      if (e < valid) total += expf(to_f32(z.element[e]) - top);
  }
  __device__ void over_block(float* scratch) {
    const float mine = top;
    top = reduce_block(mine, scratch, Maximum{});
    total = reduce_block(mine < top ? total * expf(mine - top) : total, scratch, Sum{});
  }
};

template <class T, int W>
__device__ Pack<T, W> gradient_of(Pack<T, W> z, const Token& token, float weight, int64_t target, int64_t valid) {
  const float factor = weight / token.total;
  for (int e = 0; e < W; ++e) {
    const float exponential = e < valid ? expf(to_f32(z.element[e]) - token.top) : 0.0f;
    // The target's gradient is rounded once, from p - 1.
    const float gradient = e == target ? weight * (exponential / token.total - 1.0f) : exponential * factor;
    z.element[e] = from_f32<T>(e < valid ? gradient : 0.0f);
  }
  return z;
}

// statistics: [3, tokens], of these columns. weights: null: no gradient. kept: columns that are kept for it, a multiple of W.
template <class T, int W> __global__ void row_kernel(T* logits, float* statistics, const int32_t* targets, const float* weights,
                                                     int64_t tokens, int64_t columns, int64_t first, int64_t valid, int64_t kept) {
  float* const scratch = shared_memory<float>();
  T* const cache = reinterpret_cast<T*>(scratch + kWarps);
  const int64_t t = blockIdx.x, target = targets[t] - first;
  T* row = logits + t * columns;
  Softmax<W> softmax;
  for_packs<W>(valid, [&](int64_t j) {
    const Pack<T, W> z = load_pack<W>(row + j);
    softmax.add(z, valid - j);
    if (j < kept) store_pack(cache + j, z);
  });
  softmax.over_block(scratch);
  const Token token{softmax.top, softmax.total, target >= 0 && target < valid ? to_f32(row[target]) : 0.0f};
  if (threadIdx.x == 0) {
    statistics[t] = token.top;
    statistics[tokens + t] = token.total;
    statistics[2 * tokens + t] = token.chosen;
  }
  if (weights == nullptr) return;
  __syncthreads();  // the target's logit was read
  for_packs<W>(columns, [&](int64_t j) {
    const Pack<T, W> z = load_pack<W>(j < kept ? cache + j : row + j);
    store_pack(row + j, gradient_of(z, token, weights[t], target - j, valid - j));
  });
}

// What the ranks' statistics come to for token t.
__device__ Token token_of(const float* statistics, int64_t ranks, int64_t tokens, int64_t t) {
  Token all{-INFINITY, 0, 0};
  for (int64_t r = 0; r < ranks; ++r) all.top = Maximum{}(statistics[3 * r * tokens + t], all.top);
  for (int64_t r = 0; r < ranks; ++r) {
    const float* mine = statistics + 3 * r * tokens + t;
    all.total += mine[0] < all.top ? mine[tokens] * expf(mine[0] - all.top) : mine[tokens];
    all.chosen += mine[2 * tokens];
  }
  return all;
}

template <class T, int W> __global__ void gradient_kernel(T* logits, const float* statistics, const int32_t* targets,
                                                          const float* weights, int64_t ranks, int64_t tokens, int64_t columns,
                                                          int64_t first, int64_t valid) {
  const int64_t t = blockIdx.x, target = targets[t] - first;
  T* row = logits + t * columns;
  const Token token = token_of(statistics, ranks, tokens, t);
  for_packs<W>(columns, [&](int64_t j) {
    store_pack(row + j, gradient_of(load_pack<W>(row + j), token, weights[t], target - j, valid - j));
  });
}

// One block for all tokens: the two sums are few additions, in f64 and in a fixed order.
__global__ void sums_kernel(double* loss_sum, double* weight_sum, const float* statistics, const float* weights, int64_t ranks,
                            int64_t tokens) {
  double* const scratch = shared_memory<double>();
  double loss = 0, weight = 0;
  for (int64_t t = threadIdx.x; t < tokens; t += blockDim.x) {
    weight += weights[t];
    if (weights[t] == 0.0f) continue;
    const Token token = token_of(statistics, ranks, tokens, t);
    loss += weights[t] * (log(static_cast<double>(token.total)) + token.top - token.chosen);
  }
  loss = reduce_block(loss, scratch, Sum{});
  weight = reduce_block(weight, scratch, Sum{});
  if (threadIdx.x != 0) return;
  *loss_sum += loss;
  *weight_sum += weight;
}

bool packed(ConstTensorView logits) { return packs(logits.shape[1] * size_of(logits.dtype), logits.data); }

// Long rows, of which few are on the GPU at once, have the most threads that a block can have.
int threads_of(ConstTensorView logits) { return logits.shape[1] * size_of(logits.dtype) > kMostKept / 4 ? kWarps * kWarp : 256; }

// weights: null: statistics alone, and logits stay as they are.
void rows(StreamHandle stream, ConstTensorView logits, TensorView statistics, ConstTensorView targets, const float* weights,
          const VocabularySlice& slice) {
  by_type_and_width(logits.dtype, packed(logits), [&]<class T, class W>(T*, W) {
    constexpr int64_t kMost = kMostKept / static_cast<int64_t>(sizeof(T));
    const int64_t tokens = logits.shape[0], columns = logits.shape[1], fit = columns < kMost ? columns : kMost,
                  kept = weights == nullptr ? 0 : fit / W::value * W::value;
    const int64_t shared = kWarps * static_cast<int64_t>(sizeof(float)) + kept * static_cast<int64_t>(sizeof(T));
    launch(row_kernel<T, W::value>, {tokens, threads_of(logits), shared}, stream, const_cast<T*>(logits.as<T>()),
           statistics.as<float>(), targets.as<int32_t>(), weights, tokens, columns, slice.first, slice.valid, kept);
  });
}

}  // namespace

void cross_entropy(StreamHandle stream, TensorView logits, TensorView statistics, ConstTensorView targets, ConstTensorView weights,
                   const VocabularySlice& slice, bool gradient) {
  rows(stream, logits, statistics, targets, gradient ? weights.as<float>() : nullptr, slice);
}

void cross_entropy_statistics(StreamHandle stream, TensorView statistics, ConstTensorView logits, ConstTensorView targets,
                              const VocabularySlice& slice) {
  rows(stream, logits, statistics, targets, nullptr, slice);
}

void cross_entropy_gradient(StreamHandle stream, TensorView logits, ConstTensorView statistics, ConstTensorView targets,
                            ConstTensorView weights, const VocabularySlice& slice) {
  by_type_and_width(logits.dtype, packed(logits), [&]<class T, class W>(T*, W) {
    launch(gradient_kernel<T, W::value>, {logits.shape[0], threads_of(logits)}, stream, logits.as<T>(), statistics.as<float>(),
           targets.as<int32_t>(), weights.as<float>(), statistics.shape[0], logits.shape[0], logits.shape[1], slice.first,
           slice.valid);
  });
}

void cross_entropy_sums(StreamHandle stream, TensorView loss_sum, TensorView weight_sum, ConstTensorView statistics,
                        ConstTensorView weights) {
  constexpr int kThreads = 256;
  launch(sums_kernel, {1, kThreads, reduce_bytes(kThreads, sizeof(double))}, stream, loss_sum.as<double>(), weight_sum.as<double>(),
         statistics.as<float>(), weights.as<float>(), statistics.shape[0], statistics.shape[2]);
}

}  // namespace drover::cuda
