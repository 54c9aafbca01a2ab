// What attention's algorithm works on: tiles of 64 queries by 64 keys of one (sample, query head), and the products between them for
// either element type. Queries lie side by side: scores are [keys, queries] and what is summed for queries is [head, queries], so that softmax
// goes down columns, a query a lane. Scores, sums and gradients are f32 in both types. bf16 operands stay bf16, and so the probabilities and
// score gradients are rounded to bf16 before they are multiplied, as on tensor cores (Dao 2023, section 3).
#pragma once
#include <algorithm>
#include <utility>

#include "kernels/attention.h"
#include "kernels/cpu/tile.h"

namespace drover::cpu {

constexpr int64_t kTile = 64;

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Rows are padded to whole tiles, heads to whole vectors of operands: 16 f32, or 16 pairs of bf16.
struct Extent {
  int64_t rows, width;  // padded sequence and head
  template <class T> static Extent of(const AttentionShape& s) {
    return {round_up(s.sequence, kTile), round_up(s.head_dim, 64 / static_cast<int64_t>(sizeof(T)))};
  }
};

// What one tile of queries may see. Tiles and blocks of keys begin at multiples of kTile; products stop at the diagonal in steps of `strip`
// queries or keys, a multiple of 16 that divides kTile.
struct QueryTile {
  int64_t begin, rows, strip;                    // queries [begin, begin + rows) of the sample
  int64_t first_key;                             // of the first block of which any query sees a key
  alignas(64) int32_t first[kTile], end[kTile];  // the keys that each query sees: [first, end), none beyond rows

  // documents: of the sample, [sequence]
  QueryTile(int64_t first_row, int64_t count, int64_t step, const int32_t* documents) : begin(first_row), rows(count), strip(step) {
    for (int64_t row = 0; row < kTile; ++row) {
      first[row] = row < rows ? documents[begin + row] : 0;
      end[row] = row < rows ? static_cast<int32_t>(begin + row + 1) : 0;
    }
    first_key = *std::min_element(first, first + rows) / kTile * kTile;
  }
  int64_t end_key() const { return begin + rows; }
  int64_t padded_rows() const { return round_up(rows, strip); }
  // Keys of a block, whole strips, beyond which no query of `row`'s strip sees any.
  int64_t keys(int64_t row, int64_t key_block) const { return key_block < begin ? kTile : row / strip * strip + strip; }

  // body(first key of the block, count of keys, first query that sees any of them): all keys of a block below the diagonal at once,
  // on it in strips.
  template <class Body> void for_keys(int64_t key_block, Body&& body) const {
    if (key_block < begin) return body(int64_t{0}, kTile, int64_t{0});
    for (int64_t key = 0; key < padded_rows(); key += strip) body(key, strip, key);
  }
  // body(first query, count of queries, count of the block's keys that they may see), likewise.
  template <class Body> void for_queries(int64_t key_block, Body&& body) const {
    if (key_block < begin) return body(int64_t{0}, padded_rows(), kTile);
    for (int64_t row = 0; row < padded_rows(); row += strip) body(row, strip, row + strip);
  }
};

// Rows of a tensor, `stride` elements apart.
template <class T> struct Rows {
  T* data;
  int64_t stride, count, dim;
};

// Cuts one worker's buffers from the planned scratch; on null it counts.
class Cutter {
 public:
  explicit Cutter(float* memory) : next_(memory) {}
  float* floats(int64_t count) {
    used_ += count;
    return next_ == nullptr ? nullptr : std::exchange(next_, next_ + count);
  }
  // cppcheck-suppress invalidPointerCast  // memory for either
  uint32_t* words(int64_t count) { return reinterpret_cast<uint32_t*>(floats(count)); }
  int64_t used() const { return used_; }  // floats

 private:
  float* next_;
  int64_t used_ = 0;
};

// f32 of one worker: gradients of one (sample, kv head), and one tile of queries with its scores against a block of keys.
struct Sums {
  Sums(Cutter& cutter, const Extent& e)
      : dk(cutter.floats(e.rows * e.width)), dv(cutter.floats(e.rows * e.width)), turned(cutter.floats(kTile * e.width)),
        rows(cutter.floats(kTile * e.width)), p(cutter.floats(kTile * kTile)), ds(cutter.floats(kTile * kTile)),
        maximum(cutter.floats(kTile)), sum(cutter.floats(kTile)) {}
  float *dk, *dv;        // [rows, width]
  float* turned;         // [width, kTile]: the output, or the gradient of q
  float* rows;           // [kTile, width]: the same in rows
  float *p, *ds;         // [kTile keys, kTile queries]
  float *maximum, *sum;  // [kTile]; backward: the log-sum-exp of base 2, and D scale
};

// Operands of one worker, packed, and the products of a tile of queries with the block of keys from `key` on.
template <class T> class Operands;

template <> class Operands<float> {
 public:
  Operands(Cutter& cutter, const Extent& extent);
  static int64_t strip() { return 16; }
  void load_keys(const Rows<const float>& k, const Rows<const float>& v, bool backward);
  void load_queries(const Rows<const float>& q, bool backward);
  void load_gradients(const Rows<const float>& dout);
  void scores(const Sums& s, const QueryTile& tile, int64_t key) const;        // p = k q^T
  void add_values(const Sums& s, const QueryTile& tile, int64_t key) const;    // turned += v^T p, = for the first block
  void value_scores(const Sums& s, const QueryTile& tile, int64_t key) const;  // ds = v dout^T
  // turned += k^T ds, = for the first block; dv += p dout and dk += ds q, = on the diagonal for the first head.
  void add_gradients(const Sums& s, const QueryTile& tile, int64_t key, bool first_head) const;

 private:
  Extent extent_;
  float *k_, *v_;     // [rows, width]
  float *q_, *dout_;  // [kTile, width]
  float *qt_, *dot_;  // [width, kTile]
};

template <> class Operands<Bf16> {
 public:
  Operands(Cutter& cutter, const Extent& extent);
  static int64_t strip() { return pair_strip(); }
  void load_keys(const Rows<const Bf16>& k, const Rows<const Bf16>& v, bool backward);
  void load_queries(const Rows<const Bf16>& q, bool backward);
  void load_gradients(const Rows<const Bf16>& dout);
  void scores(const Sums& s, const QueryTile& tile, int64_t key) const;
  void add_values(const Sums& s, const QueryTile& tile, int64_t key) const;
  void value_scores(const Sums& s, const QueryTile& tile, int64_t key) const;
  void add_gradients(const Sums& s, const QueryTile& tile, int64_t key, bool first_head) const;

 private:
  int64_t half() const { return extent_.width / 2; }
  // turned [width, kTile] (+)= turned_ p
  void add_turned(float* turned, const float* p, const QueryTile& tile, int64_t key) const;
  // to [rows, width] (+)= p queries
  void add_rows(float* to, const float* p, const uint32_t* queries, const QueryTile& tile, int64_t key, bool first_head) const;

  Extent extent_;
  uint32_t *k_, *v_;       // [rows, width / 2]: pairs along the head
  uint32_t* staged_;       // [kTile / 2, width]
  uint32_t* turned_;       // [block][width][kTile / 2]: pairs of keys, of v forward and of k backward
  uint32_t *q_, *dout_;    // [kTile, width / 2]: pairs along the head
  uint32_t *qt_, *dot_;    // [width / 2, kTile]: pairs along the head
  uint32_t *qz_, *doutz_;  // [kTile / 2, width]: pairs of queries
  uint32_t* pairs_;        // [kTile, kTile / 2] or [kTile / 2, kTile]: p or ds, pairs of queries or of keys
};

}  // namespace drover::cpu
