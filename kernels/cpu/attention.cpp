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

// What sixteen queries side by side, from a row on, see of a block's first `count` keys: all of them [from, to), and maybe some of the rest.
struct Sight {
  static constexpr int64_t kStep = 4;  // keys at a time: `from`, `to` and `count` are multiples
  const int32_t *first, *end;          // of each lane, counted from the sample's beginning
  int64_t key, from, to, count;

  [[gnu::always_inline]] Sight(const QueryTile& tile, int64_t row, int64_t block)
      : first(tile.first + row), end(tile.end + row), key(block), count(tile.keys(row, block)) {
    int32_t last = 0, least = end[0];
#pragma omp simd reduction(max : last) reduction(min : least)
    for (int64_t l = 0; l < kLanes; ++l) {
      last = first[l] > last ? first[l] : last;
      least = end[l] < least ? end[l] : least;
    }
    from = std::clamp<int64_t>(round_up(last - key, kStep), 0, count);
    to = std::clamp<int64_t>((least - key) / kStep * kStep, from, count);
  }
  // body(first key, end, whether every lane sees all of them), in order.
  template <class Body> [[gnu::always_inline]] void for_parts(Body&& body) const {
    if (from > 0) body(int64_t{0}, from, std::false_type());
    if (from < to) body(from, to, std::true_type());
    if (to < count) body(to, count, std::false_type());
  }
  [[gnu::always_inline]] bool sees(int64_t lane, int64_t j) const {
    const auto at = static_cast<int32_t>(key + j);
    return at >= first[lane] && at < end[lane];
  }
};

// Scores become 2^(score scale - maximum), 0 where a query may not look; running maxima and sums follow, and what `turned` holds so far is
// scaled to the new maximum.
DROVER_VECTOR void softmax(const Sums& s, const QueryTile& tile, int64_t key, int64_t width, float scale) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  for (int64_t row = 0; row < tile.padded_rows(); row += kLanes) {
    const Sight sight(tile, row, key);
    float *score = s.p + row, *maximum = s.maximum + row, *sum = s.sum + row;
    alignas(64) float largest[Sight::kStep][kLanes], keep[kLanes], added[Sight::kStep][kLanes] = {};
    std::fill_n(largest[0], Sight::kStep * kLanes, kNone);
    sight.for_parts([&](int64_t begin, int64_t end, auto all) __attribute__((always_inline)) {
      for (int64_t j = begin; j < end; j += Sight::kStep)
#pragma GCC unroll 4
        for (int64_t i = 0; i < Sight::kStep; ++i)
#pragma omp simd
          for (int64_t l = 0; l < kLanes; ++l) {
            const float x = all || sight.sees(l, j + i) ? score[(j + i) * kTile + l] : kNone;
            largest[i][l] = x > largest[i][l] ? x : largest[i][l];
          }
    });
    bool scaled = false;
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) {
      const float a = largest[0][l] > largest[1][l] ? largest[0][l] : largest[1][l];
      const float b = largest[2][l] > largest[3][l] ? largest[2][l] : largest[3][l];
      const float before = maximum[l], block = (a > b ? a : b) * scale, now = block > before ? block : before;
      keep[l] = now == before ? 1.0f : exp2_f32(before - now);
      maximum[l] = now;
    }
    sight.for_parts([&](int64_t begin, int64_t end, auto all) __attribute__((always_inline)) {
      for (int64_t j = begin; j < end; j += Sight::kStep)
#pragma GCC unroll 4
        for (int64_t i = 0; i < Sight::kStep; ++i)
#pragma omp simd
          for (int64_t l = 0; l < kLanes; ++l) {
            const float e = exp2_f32(score[(j + i) * kTile + l] * scale - maximum[l]);
            const float p = all || sight.sees(l, j + i) ? e : 0.0f;
            score[(j + i) * kTile + l] = p;
            added[i][l] += p;
          }
    });
    for (int64_t l = 0; l < kLanes; ++l) {
      sum[l] = sum[l] * keep[l] + ((added[0][l] + added[1][l]) + (added[2][l] + added[3][l]));
      scaled = scaled || keep[l] != 1.0f;
    }
    if (!scaled || key == tile.first_key) continue;
    for (int64_t d = 0; d < width; ++d)
#pragma omp simd
      for (int64_t l = 0; l < kLanes; ++l) s.turned[d * kTile + row + l] *= keep[l];
  }
}

// P from the log-sum-exp, then dS = P (dP scale - D scale), in place.
DROVER_VECTOR void score_gradients(const Sums& s, const QueryTile& tile, int64_t key, float scale) {
  for (int64_t row = 0; row < tile.padded_rows(); row += kLanes) {
    const Sight sight(tile, row, key);
    const float *lse = s.maximum + row, *d = s.sum + row;
    sight.for_parts([&](int64_t begin, int64_t end, auto all) __attribute__((always_inline)) {
      for (int64_t j = begin; j < end; ++j) {
        float *p = s.p + j * kTile + row, *dp = s.ds + j * kTile + row;
#pragma omp simd
        for (int64_t l = 0; l < kLanes; ++l) {
          const float e = exp2_f32(p[l] * (scale * kLog2E) - lse[l]);
          p[l] = all || sight.sees(l, j) ? e : 0.0f;
          dp[l] = p[l] * (dp[l] * scale - d[l]);
        }
      }
    });
  }
}

// rows [query, head] = turned^T, each row times its factor.
DROVER_VECTOR void turn_back(const Sums& s, const float* factor, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; row += kLanes)
    for (int64_t d = 0; d < width; d += kLanes) {
      Lanes square[kLanes];
      const Lanes factors = load_lanes(factor + row);
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i) square[i] = load_lanes(s.turned + (d + i) * kTile + row) * factors;
      transpose_lanes(square);
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i) store_lanes(s.rows + (row + i) * width + d, square[i]);
    }
}

template <class T>
void forward_tile(const Operands<T>& operands, const Sums& s, const QueryTile& tile, int64_t width, float scale) {
  std::fill(s.maximum, s.maximum + kTile, -std::numeric_limits<float>::infinity());
  std::fill(s.sum, s.sum + kTile, 0.0f);
  for (int64_t key = tile.first_key; key < tile.end_key(); key += kTile) {
    operands.scores(s, tile, key);
    softmax(s, tile, key, width, scale * kLog2E);
    operands.add_values(s, tile, key);
  }
  float factor[kTile];
  for (int64_t row = 0; row < kTile; ++row) factor[row] = 1.0f / s.sum[row];
  turn_back(s, factor, tile.rows, width);
}

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

template <class T> void backward_tile(const Operands<T>& operands, const Sums& s, const QueryTile& tile, int64_t width, float scale,
                                      const float* lse, bool first_head) {
  for (int64_t row = 0; row < kTile; ++row) {
    s.maximum[row] = row < tile.rows ? lse[tile.begin + row] * kLog2E : 0.0f;
    s.sum[row] *= scale;
  }
  for (int64_t key = tile.first_key; key < tile.end_key(); key += kTile) {
    operands.scores(s, tile, key);
    operands.value_scores(s, tile, key);
    score_gradients(s, tile, key, scale);
    operands.add_gradients(s, tile, key, first_head);
  }
  float factor[kTile];
  std::fill(factor, factor + kTile, 1.0f);
  turn_back(s, factor, tile.rows, width);
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
        body(head, QueryTile(begin, std::min(kTile, s.sequence - begin), Operands<T>::strip(), documents + sample * s.sequence));
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
      w.operands.load_queries(w.qkv_rows(qkv, sample, head, tile.begin, tile.rows), false);
      forward_tile(w.operands, w.sums, tile, w.extent.width, scale);
      store_rows(w.out_rows(out, sample, head, tile), w.sums.rows, w.extent.width);
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
    w.for_each_tile(documents.as<int32_t>(), sample, kv, [&](int64_t head, const QueryTile& tile) {
      const Rows<const T> gradients = w.out_rows(dout, sample, head, tile);
      w.operands.load_queries(w.qkv_rows(qkv, sample, head, tile.begin, tile.rows), true);
      w.operands.load_gradients(gradients);
      std::fill(w.sums.sum, w.sums.sum + kTile, 0.0f);
      row_products(w.sums.sum, gradients, w.out_rows(out, sample, head, tile));
      backward_tile(w.operands, w.sums, tile, width, scale, lse.as<float>() + (sample * s.heads + head) * s.sequence,
                    head % (s.heads / s.kv_heads) == 0);
      store_rows(w.qkv_rows(dqkv, sample, head, tile.begin, tile.rows), w.sums.rows, width);
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
