// Attention in tiles of 64 queries by 64 keys, all in f32. One worker takes all of a (sample, kv head): its group of query heads reads the
// same keys, and no two workers add into the same element, so the bits do not depend on the number of threads.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/base/threads.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

constexpr int64_t kWorkers = 64;  // more threads than kWorkers are not used

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Buffers of one worker, cut from the planned scratch.
struct Buffers {
  float *k, *kt, *v, *vt, *dk, *dv;  // whole (sample, kv head): [sequence, width], or [block][width][kTile] for the transposed ones
  float *q, *dout, *out, *dq;        // one tile of queries: [kTile, width]
  float *p, *ds;                     // [kTile, kTile]
  float *maximum, *sum;              // [kTile]
};

int64_t worker_floats(const AttentionShape& s) {
  const int64_t width = round_up(s.head_dim, 16), rows = round_up(s.sequence, kTile);
  return 6 * rows * width + 4 * kTile * width + 2 * kTile * kTile + 2 * kTile;
}

Buffers cut(float* memory, const AttentionShape& s) {
  const int64_t width = round_up(s.head_dim, 16), rows = round_up(s.sequence, kTile);
  const auto take = [&](int64_t count) { return std::exchange(memory, memory + count); };
  Buffers b{};
  for (float** whole : {&b.k, &b.kt, &b.v, &b.vt, &b.dk, &b.dv}) *whole = take(rows * width);
  for (float** tile : {&b.q, &b.dout, &b.out, &b.dq}) *tile = take(kTile * width);
  for (float** square : {&b.p, &b.ds}) *square = take(kTile * kTile);
  b.maximum = take(kTile);
  b.sum = take(kTile);
  return b;
}

// Rows of a tensor [.., stride] as f32 [rows up to a multiple of kTile, width], zero beyond `rows` and head_dim.
template <class T> [[gnu::always_inline]] inline void copy_rows_in(float* to, const T* from, int64_t stride, int64_t rows,
                                                                   int64_t padded, int64_t dim, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = 0; d < dim; ++d) to[r * width + d] = load(from + r * stride + d);
    for (int64_t d = dim; d < width; ++d) to[r * width + d] = 0;
  }
  std::fill(to + rows * width, to + padded * width, 0.0f);
}
DROVER_VECTOR void load_rows(float* to, const float* from, int64_t stride, int64_t rows, int64_t padded, int64_t dim,
                             int64_t width) {
  copy_rows_in(to, from, stride, rows, padded, dim, width);
}
DROVER_VECTOR void load_rows(float* to, const Bf16* from, int64_t stride, int64_t rows, int64_t padded, int64_t dim,
                             int64_t width) {
  copy_rows_in(to, from, stride, rows, padded, dim, width);
}

template <class T> [[gnu::always_inline]] inline void copy_rows_out(T* to, const float* from, int64_t stride, int64_t rows,
                                                                    int64_t dim, int64_t width) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < dim; ++d) store(to + r * stride + d, from[r * width + d]);
}
DROVER_VECTOR void store_rows(float* to, const float* from, int64_t stride, int64_t rows, int64_t dim, int64_t width) {
  copy_rows_out(to, from, stride, rows, dim, width);
}
DROVER_VECTOR void store_rows(Bf16* to, const float* from, int64_t stride, int64_t rows, int64_t dim, int64_t width) {
  copy_rows_out(to, from, stride, rows, dim, width);
}

// What one tile of queries may see.
struct QueryTile {
  int64_t begin, rows;      // queries [begin, begin + rows) of the sample
  const int32_t* document;  // of the sample, [sequence]
  int64_t first_key() const { return *std::min_element(document + begin, document + begin + rows) / kTile * kTile; }
  int64_t low(int64_t row, int64_t key_block) const { return std::clamp<int64_t>(document[begin + row] - key_block, 0, kTile); }
  int64_t high(int64_t row, int64_t key_block) const { return std::clamp<int64_t>(begin + row + 1 - key_block, 0, kTile); }
};

// One block of scores becomes exp(score scale - maximum), 0 where a query may not look; running maxima and sums follow, and what `out`
// holds so far is scaled to the new maximum.
DROVER_VECTOR void softmax_block(const Buffers& b, const QueryTile& tile, int64_t key, int64_t width, float scale) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    float* score = b.p + row * kTile;
    const int32_t low = static_cast<int32_t>(tile.low(row, key)), high = static_cast<int32_t>(tile.high(row, key));
    if (low >= high) {
      std::fill(score, score + kTile, 0.0f);
      continue;
    }
    float maximum = b.maximum[row];
#pragma omp simd reduction(max : maximum)
    for (int32_t j = 0; j < kTile; ++j) {
      score[j] *= scale;
      const float visible = j >= low && j < high ? score[j] : -std::numeric_limits<float>::infinity();
      maximum = visible > maximum ? visible : maximum;
    }
    for (int32_t j = 0; j < kTile; ++j) {
      const float e = exp_f32(score[j] - maximum);
      score[j] = j >= low && j < high ? e : 0.0f;
    }
    const float keep = exp_f32(b.maximum[row] - maximum);
    b.sum[row] = b.sum[row] * keep + lane_sum<float>(
                                         kTile, [=](int64_t j) __attribute__((always_inline)) { return score[j]; });
    b.maximum[row] = maximum;
    float* out = b.out + row * width;
    for (int64_t d = 0; d < width; ++d) out[d] *= keep;
  }
}

DROVER_VECTOR void divide_rows(float* out, const float* sum, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = 1.0f / sum[row];
    for (int64_t d = 0; d < width; ++d) out[row * width + d] *= factor;
  }
}

void forward_tile(const Buffers& b, const QueryTile& tile, int64_t width, float scale) {
  std::fill(b.out, b.out + kTile * width, 0.0f);
  std::fill(b.maximum, b.maximum + kTile, -std::numeric_limits<float>::infinity());
  std::fill(b.sum, b.sum + kTile, 0.0f);
  for (int64_t key = tile.first_key(); key < tile.begin + tile.rows; key += kTile) {
    std::fill(b.p, b.p + kTile * kTile, 0.0f);
    tile_product(b.p, kTile, {b.q, width, 1}, b.kt + key * width, kTile, tile.rows, kTile, width);
    softmax_block(b, tile, key, width, scale);
    tile_product(b.out, width, {b.p, kTile, 1}, b.v + key * width, width, tile.rows, width, kTile);
  }
  divide_rows(b.out, b.sum, tile.rows, width);
}

// P from the log-sum-exp, then dS = P (dP - D) scale, in place.
DROVER_VECTOR void score_gradients(const Buffers& b, const QueryTile& tile, int64_t key, float scale, const float* lse) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    float *p = b.p + row * kTile, *dp = b.ds + row * kTile;
    const float norm = lse[tile.begin + row], d = b.sum[row];
    const int32_t low = static_cast<int32_t>(tile.low(row, key)), high = static_cast<int32_t>(tile.high(row, key));
    for (int32_t j = 0; j < kTile; ++j) {
      const float e = exp_f32(p[j] * scale - norm);
      p[j] = j >= low && j < high ? e : 0.0f;
      dp[j] = p[j] * (dp[j] - d) * scale;
    }
  }
}

// D = rowsum(dO O), the part of the softmax's gradient that all keys share.
DROVER_VECTOR void row_products(float* d, const float* dout, const float* out, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row)
    d[row] = static_cast<float>(lane_sum<double>(
        width, [&](int64_t i)
                   __attribute__((always_inline)) { return static_cast<double>(dout[row * width + i]) * out[row * width + i]; }));
}

void backward_tile(const Buffers& b, const QueryTile& tile, int64_t width, float scale, const float* lse) {
  std::fill(b.dq, b.dq + kTile * width, 0.0f);
  row_products(b.sum, b.dout, b.out, tile.rows, width);
  for (int64_t key = tile.first_key(); key < tile.begin + tile.rows; key += kTile) {
    std::fill(b.p, b.p + kTile * kTile, 0.0f);
    std::fill(b.ds, b.ds + kTile * kTile, 0.0f);
    tile_product(b.p, kTile, {b.q, width, 1}, b.kt + key * width, kTile, tile.rows, kTile, width);
    tile_product(b.ds, kTile, {b.dout, width, 1}, b.vt + key * width, kTile, tile.rows, kTile, width);
    score_gradients(b, tile, key, scale, lse);
    tile_product(b.dv + key * width, width, {b.p, 1, kTile}, b.dout, width, kTile, width, tile.rows);
    tile_product(b.dk + key * width, width, {b.ds, 1, kTile}, b.q, width, kTile, width, tile.rows);
    tile_product(b.dq, width, {b.ds, kTile, 1}, b.k + key * width, width, tile.rows, width, kTile);
  }
}

// Runs body(sample, kv head, buffers) for all pairs, a contiguous share of them on each worker.
template <class Body> void for_each_pair(const AttentionShape& s, TensorView scratch, Body&& body) {
  const int64_t pairs = s.batch * s.kv_heads, workers = std::min({pairs, kWorkers, static_cast<int64_t>(threads())});
  float* memory = reinterpret_cast<float*>(scratch.data);
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(workers)) if (workers > 1)
  for (int64_t worker = 0; worker < workers; ++worker) {
    const Buffers buffers = cut(memory + worker * worker_floats(s), s);
    for (int64_t pair = pairs * worker / workers; pair < pairs * (worker + 1) / workers; ++pair)
      body(pair / s.kv_heads, pair % s.kv_heads, buffers);
  }
}

template <class T> struct Problem {
  AttentionShape s;
  const T* qkv;
  const int32_t* documents;
  int64_t width, padded, stride, group;  // stride: elements of a token's qkv row

  Problem(const AttentionShape& shape, ConstTensorView qkv_view, ConstTensorView document_begin)
      : s(shape), qkv(qkv_view.as<T>()), documents(document_begin.as<int32_t>()), width(round_up(s.head_dim, 16)),
        padded(round_up(s.sequence, kTile)), stride((s.heads + 2 * s.kv_heads) * s.head_dim), group(s.heads / s.kv_heads) {}

  int64_t head_offset(int64_t sample, int64_t head) const { return sample * s.sequence * stride + head * s.head_dim; }  // in qkv
  int64_t out_offset(int64_t sample, int64_t head, int64_t query) const {
    return ((sample * s.sequence + query) * s.heads + head) * s.head_dim;
  }
  void load_keys(const Buffers& b, int64_t sample, int64_t kv) const {
    load_rows(b.k, qkv + head_offset(sample, s.heads + kv), stride, s.sequence, padded, s.head_dim, width);
    load_rows(b.v, qkv + head_offset(sample, s.heads + s.kv_heads + kv), stride, s.sequence, padded, s.head_dim, width);
    transpose_blocks(b.kt, b.k, padded, width);
  }
  template <class Body> void for_each_tile(int64_t sample, Body&& body) const {
    for (int64_t begin = 0; begin < s.sequence; begin += kTile)
      body(QueryTile{begin, std::min(kTile, s.sequence - begin), documents + sample * s.sequence});
  }
  void load_queries(const Buffers& b, const QueryTile& tile, int64_t sample, int64_t head) const {
    load_rows(b.q, qkv + head_offset(sample, head) + tile.begin * stride, stride, tile.rows, kTile, s.head_dim, width);
  }
};

template <class T> void forward(TensorView out, TensorView lse, const Problem<T>& problem, float scale, TensorView scratch) {
  const AttentionShape& s = problem.s;
  for_each_pair(s, scratch, [&](int64_t sample, int64_t kv, const Buffers& b) {
    problem.load_keys(b, sample, kv);
    for (int64_t head = kv * problem.group; head < (kv + 1) * problem.group; ++head)
      problem.for_each_tile(sample, [&](const QueryTile& tile) {
        problem.load_queries(b, tile, sample, head);
        forward_tile(b, tile, problem.width, scale);
        store_rows(out.as<T>() + problem.out_offset(sample, head, tile.begin), b.out, s.heads * s.head_dim, tile.rows, s.head_dim,
                   problem.width);
        for (int64_t row = 0; row < tile.rows; ++row)
          lse.as<float>()[(sample * s.heads + head) * s.sequence + tile.begin + row] = b.maximum[row] + std::log(b.sum[row]);
      });
  });
}

template <class T> void backward(TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse,
                                 const Problem<T>& problem, float scale, TensorView scratch) {
  const AttentionShape& s = problem.s;
  const int64_t width = problem.width, row = s.heads * s.head_dim;
  for_each_pair(s, scratch, [&](int64_t sample, int64_t kv, const Buffers& b) {
    problem.load_keys(b, sample, kv);
    transpose_blocks(b.vt, b.v, problem.padded, width);
    std::fill(b.dk, b.dk + problem.padded * width, 0.0f);
    std::fill(b.dv, b.dv + problem.padded * width, 0.0f);
    for (int64_t head = kv * problem.group; head < (kv + 1) * problem.group; ++head)
      problem.for_each_tile(sample, [&](const QueryTile& tile) {
        const int64_t place = problem.out_offset(sample, head, tile.begin);
        problem.load_queries(b, tile, sample, head);
        load_rows(b.dout, dout.as<T>() + place, row, tile.rows, kTile, s.head_dim, width);
        load_rows(b.out, out.as<T>() + place, row, tile.rows, kTile, s.head_dim, width);
        backward_tile(b, tile, width, scale, lse.as<float>() + (sample * s.heads + head) * s.sequence);
        store_rows(dqkv.as<T>() + problem.head_offset(sample, head) + tile.begin * problem.stride, b.dq, problem.stride, tile.rows,
                   s.head_dim, width);
      });
    store_rows(dqkv.as<T>() + problem.head_offset(sample, s.heads + kv), b.dk, problem.stride, s.sequence, s.head_dim, width);
    store_rows(dqkv.as<T>() + problem.head_offset(sample, s.heads + s.kv_heads + kv), b.dv, problem.stride, s.sequence, s.head_dim,
               width);
  });
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionShape& shape) {
  return std::min(shape.batch * shape.kv_heads, kWorkers) * worker_floats(shape) * static_cast<int64_t>(sizeof(float));
}

void attention_forward(TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch) {
  by_float_type(qkv.dtype, "attention",
                [&]<class T>(T*) { forward(out, lse, Problem<T>(shape, qkv, document_begin), scale, scratch); });
}

void attention_backward(TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse, ConstTensorView qkv,
                        ConstTensorView document_begin, const AttentionShape& shape, float scale, TensorView scratch) {
  by_float_type(qkv.dtype, "attention",
                [&]<class T>(T*) { backward(dqkv, dout, out, lse, Problem<T>(shape, qkv, document_begin), scale, scratch); });
}

}  // namespace drover::cpu
