// Attention in tiles of 64 queries by 64 keys. One worker takes all of a (sample, kv head): its group of query heads reads the same keys,
// and no two workers add into the same element, so the bits do not depend on the number of threads.
#include "kernels/cpu/attention.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/base/threads.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

constexpr int64_t kWorkers = 64;  // more threads than kWorkers are not used

template <class T> [[gnu::always_inline]] inline void copy_out(const Rows<T>& to, const float* from, int64_t width) {
  for (int64_t r = 0; r < to.count; ++r)
    for (int64_t d = 0; d < to.dim; ++d) store(to.data + r * to.stride + d, from[r * width + d]);
}
DROVER_VECTOR void store_rows(const Rows<float>& to, const float* from, int64_t width) { copy_out(to, from, width); }
DROVER_VECTOR void store_rows(const Rows<Bf16>& to, const float* from, int64_t width) { copy_out(to, from, width); }

// What a row sees of a block's first `columns` keys, a multiple of kLanes: [low, high).
struct Visible {
  int32_t low, high, columns;
  Visible(const QueryTile& tile, int64_t row, int64_t key, int64_t count)
      : low(static_cast<int32_t>(tile.low(row, key))), high(static_cast<int32_t>(tile.high(row, key))),
        columns(static_cast<int32_t>(count)) {}
  bool all() const { return low == 0 && high >= columns; }
};

// Sixteen rows side by side: lane l of row r is of column l, l + 16, ... of r. Reduced over its lanes, each row is one lane of the result.
struct Square {
  alignas(64) float row[kLanes][kLanes];
  [[gnu::always_inline]] void transpose() {
    Lanes lanes[kLanes];
#pragma GCC unroll 16
    for (int64_t r = 0; r < kLanes; ++r) lanes[r] = load_lanes(row[r]);
    transpose_lanes(lanes);
#pragma GCC unroll 16
    for (int64_t r = 0; r < kLanes; ++r) store_lanes(row[r], lanes[r]);
  }
};

template <bool All> [[gnu::always_inline]] inline void largest_scores(float* largest, const float* score, const Visible& v) {
  const int32_t low = v.low, high = v.high;
  for (int32_t begin = 0; begin < v.columns; begin += kLanes)
#pragma omp simd
    for (int32_t l = 0; l < kLanes; ++l) {
      const float visible =
          All || (begin + l >= low && begin + l < high) ? score[begin + l] : -std::numeric_limits<float>::infinity();
      largest[l] = visible > largest[l] ? visible : largest[l];
    }
}

// Scores become 2^(score scale - maximum), 0 where a query may not look.
template <bool All>
[[gnu::always_inline]] inline void probabilities(float* sum, float* score, const Visible& v, float scale, float maximum) {
  const int32_t low = v.low, high = v.high;
  for (int32_t begin = 0; begin < v.columns; begin += kLanes)
#pragma omp simd
    for (int32_t l = 0; l < kLanes; ++l) {
      const float e = exp2_f32(score[begin + l] * scale - maximum);
      const float p = All || (begin + l >= low && begin + l < high) ? e : 0.0f;
      score[begin + l] = p;
      sum[l] += p;
    }
}

// One strip of scores; running maxima and sums follow, and what `out` holds so far is scaled to the new maximum.
DROVER_VECTOR void softmax_strip(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key, int64_t width, float scale) {
  const int64_t end = tile.strip_end(strip), columns = tile.columns(end, key);
  for (int64_t first = strip; first < end; first += kLanes) {
    const int64_t rows = std::min(kLanes, end - first);
    Square square;
    std::fill_n(square.row[0], kLanes * kLanes, -std::numeric_limits<float>::infinity());
    for (int64_t r = 0; r < rows; ++r) {
      const Visible visible(tile, first + r, key, columns);
      const float* score = s.p + (first + r) * kTile;
      visible.all() ? largest_scores<true>(square.row[r], score, visible) : largest_scores<false>(square.row[r], score, visible);
    }
    square.transpose();
    float *maximum = s.maximum + first, *sum = s.sum + first;
    alignas(64) float keep[kLanes] = {}, largest[kLanes];
    std::copy_n(square.row[0], kLanes, largest);
    for (int64_t l = 1; l < kLanes; ++l)
#pragma omp simd
      for (int64_t r = 0; r < kLanes; ++r) largest[r] = square.row[l][r] > largest[r] ? square.row[l][r] : largest[r];
#pragma omp simd
    for (int64_t r = 0; r < kLanes; ++r) {
      const float before = maximum[r], now = largest[r] * scale > before ? largest[r] * scale : before;
      keep[r] = now == before ? 1.0f : exp2_f32(before - now);
      maximum[r] = now;
    }
    std::fill_n(square.row[0], kLanes * kLanes, 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      const Visible visible(tile, first + r, key, columns);
      float* score = s.p + (first + r) * kTile;
      visible.all() ? probabilities<true>(square.row[r], score, visible, scale, maximum[r])
                    : probabilities<false>(square.row[r], score, visible, scale, maximum[r]);
    }
    square.transpose();
    for (int64_t r = 0; r < kLanes; ++r) sum[r] *= keep[r];
    for (int64_t l = 0; l < kLanes; ++l)
#pragma omp simd
      for (int64_t r = 0; r < kLanes; ++r) sum[r] += square.row[l][r];
    for (int64_t r = 0; r < rows && key != tile.first_key; ++r)
      if (keep[r] != 1.0f)
        for (int64_t d = 0; d < width; ++d) s.out[(first + r) * width + d] *= keep[r];
  }
}

DROVER_VECTOR void divide_rows(float* out, const float* sum, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = 1.0f / sum[row];
    for (int64_t d = 0; d < width; ++d) out[row * width + d] *= factor;
  }
}

template <class T>
void forward_tile(const Operands<T>& operands, const Sums& s, const QueryTile& tile, int64_t width, float scale) {
  std::fill(s.maximum, s.maximum + kTile, -std::numeric_limits<float>::infinity());
  std::fill(s.sum, s.sum + kTile, 0.0f);
  for (int64_t key = tile.first_key; key < tile.end_key(); key += kTile)
    for (int64_t strip = 0; strip < tile.rows; strip += kStrip) {
      operands.scores(s, tile, strip, key);
      softmax_strip(s, tile, strip, key, width, scale * kLog2E);
      operands.add_values(s, tile, strip, key);
    }
  divide_rows(s.out, s.sum, tile.rows, width);
}

template <bool All>
[[gnu::always_inline]] inline void gradient_row(float* p, float* dp, const Visible& v, float scale, float lse, float d) {
  const int32_t low = v.low, high = v.high;
#pragma omp simd
  for (int32_t j = 0; j < v.columns; ++j) {
    const float e = exp2_f32(p[j] * (scale * kLog2E) - lse * kLog2E);
    p[j] = All || (j >= low && j < high) ? e : 0.0f;
    dp[j] = p[j] * (dp[j] - d) * scale;
  }
}

// P from the log-sum-exp, then dS = P (dP - D) scale, in place.
DROVER_VECTOR void score_gradients(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key, float scale,
                                   const float* lse) {
  const int64_t end = tile.strip_end(strip), columns = tile.columns(end, key);
  for (int64_t row = strip; row < end; ++row) {
    const Visible visible(tile, row, key, columns);
    float *p = s.p + row * kTile, *dp = s.ds + row * kTile;
    if (visible.all())
      gradient_row<true>(p, dp, visible, scale, lse[tile.begin + row], s.sum[row]);
    else
      gradient_row<false>(p, dp, visible, scale, lse[tile.begin + row], s.sum[row]);
  }
}

// D = rowsum(dO O), the part of the softmax's gradient that all keys share.
template <class T> [[gnu::always_inline]] inline void dot_rows(float* d, const Rows<const T>& dout, const Rows<const T>& out) {
  for (int64_t first = 0; first < out.count; first += kLanes) {
    Square square;
    std::fill_n(square.row[0], kLanes * kLanes, 0.0f);
    for (int64_t r = 0; r < std::min(kLanes, out.count - first); ++r) {
      const T *left = dout.data + (first + r) * dout.stride, *right = out.data + (first + r) * out.stride;
      float* sum = square.row[r];
      const int64_t whole = out.dim / kLanes * kLanes;
      for (int64_t begin = 0; begin < whole; begin += kLanes)
#pragma omp simd
        for (int64_t l = 0; l < kLanes; ++l) sum[l] += load(left + begin + l) * load(right + begin + l);
      for (int64_t i = whole; i < out.dim; ++i) sum[i - whole] += load(left + i) * load(right + i);
    }
    square.transpose();
    std::fill_n(d + first, kLanes, 0.0f);
    for (int64_t l = 0; l < kLanes; ++l)
#pragma omp simd
      for (int64_t r = 0; r < kLanes; ++r) d[first + r] += square.row[l][r];
  }
}
DROVER_VECTOR void row_products(float* d, const Rows<const float>& dout, const Rows<const float>& out) { dot_rows(d, dout, out); }
DROVER_VECTOR void row_products(float* d, const Rows<const Bf16>& dout, const Rows<const Bf16>& out) { dot_rows(d, dout, out); }

template <class T>
void backward_tile(const Operands<T>& operands, const Sums& s, const QueryTile& tile, float scale, const float* lse) {
  for (int64_t key = tile.first_key; key < tile.end_key(); key += kTile) {
    for (int64_t strip = 0; strip < tile.rows; strip += kStrip) {
      operands.scores(s, tile, strip, key);
      operands.value_scores(s, tile, strip, key);
      score_gradients(s, tile, strip, key, scale, lse);
    }
    operands.add_gradients(s, tile, key);
  }
}

// One (sample, kv head) as a worker sees it: its operands and sums, and where the rows of a head lie.
template <class T> struct Worker {
  const AttentionShape& s;
  const Extent extent;
  Operands<T> operands;
  const Sums sums;

  Worker(const AttentionShape& shape, Cutter cutter)
      : s(shape), extent(Extent::of<T>(shape)), operands(cutter, extent), sums(cutter, extent) {}

  // `head` counts q's heads, then k's, then v's.
  template <class Element> Rows<Element> qkv_rows(Element* qkv, int64_t sample, int64_t head, int64_t first, int64_t count) const {
    const int64_t stride = (s.heads + 2 * s.kv_heads) * s.head_dim;
    return {qkv + (sample * s.sequence + first) * stride + head * s.head_dim, stride, count, s.head_dim};
  }
  template <class Element> Rows<Element> out_rows(Element* out, int64_t sample, int64_t head, const QueryTile& tile) const {
    const int64_t stride = s.heads * s.head_dim;
    return {out + (sample * s.sequence + tile.begin) * stride + head * s.head_dim, stride, tile.rows, s.head_dim};
  }
  void load_keys(const T* qkv, int64_t sample, int64_t kv, bool backward) {
    operands.load_keys(qkv_rows(qkv, sample, s.heads + kv, 0, s.sequence),
                       qkv_rows(qkv, sample, s.heads + s.kv_heads + kv, 0, s.sequence), backward);
  }
  // body(query head, tile) for every query head that reads `kv`.
  template <class Body> void for_each_tile(const int32_t* documents, int64_t sample, int64_t kv, Body&& body) const {
    const int64_t group = s.heads / s.kv_heads;
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head)
      for (int64_t begin = 0; begin < s.sequence; begin += kTile)
        body(head, QueryTile(begin, std::min(kTile, s.sequence - begin), documents + sample * s.sequence));
  }
};

template <class T> int64_t worker_floats(const AttentionShape& shape) {
  Cutter count(nullptr);
  const Extent extent = Extent::of<T>(shape);
  Operands<T> operands(count, extent);
  Sums sums(count, extent);
  return count.used();
}

// Runs body(worker, sample, kv head) for all pairs, a contiguous share of them on each worker.
template <class T, class Body> void for_each_pair(const AttentionShape& s, TensorView scratch, Body&& body) {
  const int64_t pairs = s.batch * s.kv_heads, workers = std::min({pairs, kWorkers, static_cast<int64_t>(threads())});
  const int64_t floats = worker_floats<T>(s);
  parallel_for(workers, 1, [&](int64_t first, int64_t last) {
    [[maybe_unused]] const std::conditional_t<std::is_same_v<T, Bf16>, PairProducts, int> products{};
    for (int64_t index = first; index < last; ++index) {
      Worker<T> worker(s, Cutter(reinterpret_cast<float*>(scratch.data) + index * floats));
      for (int64_t pair = pairs * index / workers; pair < pairs * (index + 1) / workers; ++pair)
        body(worker, pair / s.kv_heads, pair % s.kv_heads);
    }
  });
}

template <class T> void forward(TensorView out_view, TensorView lse_view, ConstTensorView qkv_view, ConstTensorView documents,
                                const AttentionShape& s, float scale, TensorView scratch) {
  T* out = out_view.as<T>();
  const T* qkv = qkv_view.as<T>();
  for_each_pair<T>(s, scratch, [&](Worker<T>& w, int64_t sample, int64_t kv) {
    w.load_keys(qkv, sample, kv, false);
    w.for_each_tile(documents.as<int32_t>(), sample, kv, [&](int64_t head, const QueryTile& tile) {
      w.operands.load_queries(w.qkv_rows(qkv, sample, head, tile.begin, tile.rows));
      forward_tile(w.operands, w.sums, tile, w.extent.width, scale);
      store_rows(w.out_rows(out, sample, head, tile), w.sums.out, w.extent.width);
      float* lse = lse_view.as<float>() + (sample * s.heads + head) * s.sequence + tile.begin;
      for (int64_t row = 0; row < tile.rows; ++row) lse[row] = w.sums.maximum[row] * kLn2 + std::log(w.sums.sum[row]);
    });
  });
}

template <class T> void backward(TensorView dqkv_view, ConstTensorView dout_view, ConstTensorView out_view, ConstTensorView lse,
                                 ConstTensorView qkv_view, ConstTensorView documents, const AttentionShape& s, float scale,
                                 TensorView scratch) {
  T* dqkv = dqkv_view.as<T>();
  const T *qkv = qkv_view.as<T>(), *dout = dout_view.as<T>(), *out = out_view.as<T>();
  for_each_pair<T>(s, scratch, [&](Worker<T>& w, int64_t sample, int64_t kv) {
    const int64_t width = w.extent.width;
    w.load_keys(qkv, sample, kv, true);
    std::fill(w.sums.dk, w.sums.dk + w.extent.rows * width, 0.0f);
    std::fill(w.sums.dv, w.sums.dv + w.extent.rows * width, 0.0f);
    w.for_each_tile(documents.as<int32_t>(), sample, kv, [&](int64_t head, const QueryTile& tile) {
      const Rows<const T> gradients = w.out_rows(dout, sample, head, tile);
      w.operands.load_queries(w.qkv_rows(qkv, sample, head, tile.begin, tile.rows));
      w.operands.load_gradients(gradients);
      row_products(w.sums.sum, gradients, w.out_rows(out, sample, head, tile));
      backward_tile(w.operands, w.sums, tile, scale, lse.as<float>() + (sample * s.heads + head) * s.sequence);
      store_rows(w.qkv_rows(dqkv, sample, head, tile.begin, tile.rows), w.sums.dq, width);
    });
    store_rows(w.qkv_rows(dqkv, sample, s.heads + kv, 0, s.sequence), w.sums.dk, width);
    store_rows(w.qkv_rows(dqkv, sample, s.heads + s.kv_heads + kv, 0, s.sequence), w.sums.dv, width);
  });
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionShape& shape, DType dtype) {
  const int64_t floats = dtype == DType::bf16 ? worker_floats<Bf16>(shape) : worker_floats<float>(shape);
  return std::min(shape.batch * shape.kv_heads, kWorkers) * floats * static_cast<int64_t>(sizeof(float));
}

void attention_forward(TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch) {
  by_float_type(qkv.dtype, "attention", [&]<class T>(T*) { forward<T>(out, lse, qkv, document_begin, shape, scale, scratch); });
}

void attention_backward(TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse, ConstTensorView qkv,
                        ConstTensorView document_begin, const AttentionShape& shape, float scale, TensorView scratch) {
  by_float_type(qkv.dtype, "attention",
                [&]<class T>(T*) { backward<T>(dqkv, dout, out, lse, qkv, document_begin, shape, scale, scratch); });
}

}  // namespace drover::cpu
