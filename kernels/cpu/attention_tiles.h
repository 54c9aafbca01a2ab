// What attention's algorithm works on: tiles of 64 queries by 64 keys of one (sample, query head), and the products between them for
// either element type. Scores, sums and gradients are f32 in both. bf16 operands stay bf16, and so the probabilities and score gradients
// are rounded to bf16 before they are multiplied, as on tensor cores (Dao 2023, section 3).
#pragma once
#include <algorithm>
#include <utility>

#include "kernels/attention.h"
#include "kernels/cpu/tile.h"

namespace drover::cpu {

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Rows are padded to whole tiles, heads to whole vectors of operands: 16 f32, or 16 pairs of bf16.
struct Extent {
  int64_t rows, width;  // padded sequence and head
  template <class T> static Extent of(const AttentionShape& s) {
    return {round_up(s.sequence, kTile), round_up(s.head_dim, 64 / static_cast<int64_t>(sizeof(T)))};
  }
};

// Products stop at the diagonal in steps of kStrip queries or keys.
constexpr int64_t kStrip = 32;

// What one tile of queries may see. Tiles and blocks of keys begin at multiples of kTile.
struct QueryTile {
  int64_t begin, rows;      // queries [begin, begin + rows) of the sample
  const int32_t* document;  // of the sample, [sequence]
  int64_t first_key;        // of the first block of which any query sees a key

  QueryTile(int64_t first, int64_t count, const int32_t* documents)
      : begin(first), rows(count), document(documents),
        first_key(*std::min_element(documents + first, documents + first + count) / kTile * kTile) {}
  int64_t end_key() const { return begin + rows; }
  int64_t strip_end(int64_t strip) const { return std::min(rows, strip + kStrip); }
  // Keys of a block, whole strips, beyond which no row before `end` sees any.
  int64_t columns(int64_t end, int64_t key_block) const { return std::min(kTile, round_up(begin + end - key_block, kStrip)); }
  // The first row, at the edge of a strip, that sees keys of a block from `column` on.
  int64_t first_row(int64_t column, int64_t key_block) const { return std::max<int64_t>(0, key_block + column - begin); }
  int64_t low(int64_t row, int64_t key_block) const { return std::clamp<int64_t>(document[begin + row] - key_block, 0, kTile); }
  int64_t high(int64_t row, int64_t key_block) const { return std::clamp<int64_t>(begin + row + 1 - key_block, 0, kTile); }
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
      : dk(cutter.floats(e.rows * e.width)), dv(cutter.floats(e.rows * e.width)), out(cutter.floats(kTile * e.width)),
        dq(cutter.floats(kTile * e.width)), p(cutter.floats(kTile * kTile)), ds(cutter.floats(kTile * kTile)),
        maximum(cutter.floats(kTile)), sum(cutter.floats(kTile)) {}
  float *dk, *dv;        // [rows, width]
  float *out, *dq;       // [kTile, width]
  float *p, *ds;         // [kTile, kTile]
  float *maximum, *sum;  // [kTile]
};

// Operands of one worker, packed, and the products with them, of the strip of queries from `strip` on or of the whole tile, with the block
// of keys from `key` on.
template <class T> class Operands;

template <> class Operands<float> {
 public:
  Operands(Cutter& cutter, const Extent& extent);
  void load_keys(const Rows<const float>& k, const Rows<const float>& v, bool backward);
  void load_queries(const Rows<const float>& q);
  void load_gradients(const Rows<const float>& dout);
  void scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;        // p = q k^T
  void add_values(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;    // out += p v, = for the first block
  void value_scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;  // ds = dout v^T
  void add_gradients(const Sums& s, const QueryTile& tile, int64_t key) const;  // dv += p^T dout, dk += ds^T q, dq as out

 private:
  Extent extent_;
  float *k_, *v_;     // [rows, width]
  float *kt_, *vt_;   // [block][width][kTile]
  float *q_, *dout_;  // [kTile, width]
};

template <> class Operands<Bf16> {
 public:
  Operands(Cutter& cutter, const Extent& extent);
  void load_keys(const Rows<const Bf16>& k, const Rows<const Bf16>& v, bool backward);
  void load_queries(const Rows<const Bf16>& q);
  void load_gradients(const Rows<const Bf16>& dout);
  void scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;
  void add_values(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;
  void value_scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const;
  void add_gradients(const Sums& s, const QueryTile& tile, int64_t key) const;

 private:
  int64_t half() const { return extent_.width / 2; }
  void add_rows(float* to, const float* p, const uint32_t* keys, const QueryTile& tile, int64_t strip,
                int64_t key) const;                                                                          // p keys
  void add_columns(float* to, float* p, const uint32_t* queries, const QueryTile& tile, int64_t key) const;  // p^T queries

  Extent extent_;
  uint32_t* staged_;       // [rows, width / 2]: k or v, row-major
  uint32_t *kt_, *vt_;     // [block][width / 2][kTile]: pairs along the head
  uint32_t *kz_, *vz_;     // [rows / 2, width]: pairs of keys
  uint32_t *q_, *dout_;    // [kTile, width / 2]: pairs along the head
  uint32_t *qz_, *doutz_;  // [kTile / 2, width]: pairs of queries
  uint32_t* narrow_;       // [kStrip, kTile / 2]: p or ds, pairs of keys
  uint32_t* zipped_;       // [kTile / 2, kTile]: p or ds, pairs of queries
};

}  // namespace drover::cpu
