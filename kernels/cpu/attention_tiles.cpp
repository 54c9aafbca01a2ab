#include "kernels/cpu/attention_tiles.h"

#include <cstring>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"

namespace drover::cpu {
namespace {

// [padded, width] bytes of rows of `dim`, zero beyond the rows and the head. By vectors: a row is too short to call memcpy for it.
DROVER_VECTOR void load_bytes(std::byte* to, const Rows<const std::byte>& from, int64_t padded, int64_t width) {
  constexpr int64_t kVector = sizeof(Lanes);
  const int64_t whole = from.dim / kVector * kVector;
  for (int64_t r = 0; r < from.count; ++r) {
    std::byte* row = to + r * width;
    const std::byte* source = from.data + r * from.stride;
    for (int64_t d = 0; d < whole; d += kVector) {
      Lanes lanes;
      __builtin_memcpy(&lanes, source + d, sizeof lanes);
      __builtin_memcpy(row + d, &lanes, sizeof lanes);
    }
    if (whole == width) continue;
    std::memcpy(row + whole, source + whole, static_cast<size_t>(from.dim - whole));
    std::memset(row + from.dim, 0, static_cast<size_t>(width - from.dim));
  }
  std::memset(to + from.count * width, 0, static_cast<size_t>((padded - from.count) * width));
}
template <class T> void load_rows(T* to, const Rows<const T>& from, int64_t padded, int64_t width) {
  constexpr int64_t kSize = sizeof(T);
  load_bytes(reinterpret_cast<std::byte*>(to),
             {reinterpret_cast<const std::byte*>(from.data), from.stride * kSize, from.count, from.dim * kSize}, padded,
             width * kSize);
}

Bf16* as_bf16(uint32_t* words) { return reinterpret_cast<Bf16*>(words); }

}  // namespace

Operands<float>::Operands(Cutter& cutter, const Extent& extent)
    : extent_(extent), k_(cutter.floats(extent.rows * extent.width)), v_(cutter.floats(extent.rows * extent.width)),
      q_(cutter.floats(kTile * extent.width)), dout_(cutter.floats(kTile * extent.width)), qt_(cutter.floats(kTile * extent.width)),
      dot_(cutter.floats(kTile * extent.width)) {}

void Operands<float>::load_keys(const Rows<const float>& k, const Rows<const float>& v, bool) {
  load_rows(k_, k, extent_.rows, extent_.width);
  load_rows(v_, v, extent_.rows, extent_.width);
}

void Operands<float>::load_queries(const Rows<const float>& q, bool) {
  load_rows(q_, q, kTile, extent_.width);
  transpose(qt_, kTile, q_, extent_.width, kTile, extent_.width);
}

void Operands<float>::load_gradients(const Rows<const float>& dout) {
  load_rows(dout_, dout, kTile, extent_.width);
  transpose(dot_, kTile, dout_, extent_.width, kTile, extent_.width);
}

void Operands<float>::scores(const Sums& s, const QueryTile& tile, int64_t key) const {
  const int64_t width = extent_.width;
  tile.for_keys(key, [&](int64_t first, int64_t keys, int64_t row) {
    tile_product(s.p + first * kTile + row, kTile, {k_ + (key + first) * width, width, 1}, qt_ + row, kTile, keys,
                 tile.padded_rows() - row, width, false);
  });
}

void Operands<float>::value_scores(const Sums& s, const QueryTile& tile, int64_t key) const {
  const int64_t width = extent_.width;
  tile.for_keys(key, [&](int64_t first, int64_t keys, int64_t row) {
    tile_product(s.ds + first * kTile + row, kTile, {v_ + (key + first) * width, width, 1}, dot_ + row, kTile, keys,
                 tile.padded_rows() - row, width, false);
  });
}

void Operands<float>::add_values(const Sums& s, const QueryTile& tile, int64_t key) const {
  const int64_t width = extent_.width;
  tile.for_queries(key, [&](int64_t row, int64_t rows, int64_t keys) {
    tile_product(s.turned + row, kTile, {v_ + key * width, 1, width}, s.p + row, kTile, width, rows, keys, key != tile.first_key);
  });
}

void Operands<float>::add_gradients(const Sums& s, const QueryTile& tile, int64_t key, bool first_head) const {
  const int64_t width = extent_.width;
  tile.for_keys(key, [&](int64_t first, int64_t keys, int64_t row) {
    const int64_t place = first * kTile + row, to = (key + first) * width, queries = tile.padded_rows() - row;
    const bool accumulate = !first_head || key < tile.begin;
    tile_product(s.dv + to, width, {s.p + place, kTile, 1}, dout_ + row * width, width, keys, width, queries, accumulate);
    tile_product(s.dk + to, width, {s.ds + place, kTile, 1}, q_ + row * width, width, keys, width, queries, accumulate);
  });
  tile.for_queries(key, [&](int64_t row, int64_t rows, int64_t keys) {
    tile_product(s.turned + row, kTile, {k_ + key * width, 1, width}, s.ds + row, kTile, width, rows, keys, key != tile.first_key);
  });
}

Operands<Bf16>::Operands(Cutter& cutter, const Extent& extent)
    : extent_(extent), k_(cutter.words(extent.rows * half())), v_(cutter.words(extent.rows * half())),
      staged_(cutter.words(kTile * half())), turned_(cutter.words(extent.rows * half())), q_(cutter.words(kTile * half())),
      dout_(cutter.words(kTile * half())), qt_(cutter.words(kTile * half())), dot_(cutter.words(kTile * half())),
      qz_(cutter.words(kTile * half())), doutz_(cutter.words(kTile * half())), pairs_(cutter.words(kTile * kTile / 2)) {}

void Operands<Bf16>::load_keys(const Rows<const Bf16>& k, const Rows<const Bf16>& v, bool backward) {
  load_rows(as_bf16(k_), k, extent_.rows, extent_.width);
  load_rows(as_bf16(v_), v, extent_.rows, extent_.width);
  const uint32_t* from = backward ? k_ : v_;
  for (int64_t block = 0; block < extent_.rows * half(); block += kTile * half()) {
    zip_rows(staged_, reinterpret_cast<const Bf16*>(from + block), kTile, extent_.width);
    transpose(turned_ + block, kTile / 2, staged_, extent_.width, kTile / 2, extent_.width);
  }
}

void Operands<Bf16>::load_queries(const Rows<const Bf16>& q, bool backward) {
  load_rows(as_bf16(q_), q, kTile, extent_.width);
  transpose(qt_, kTile, q_, half(), kTile, half());
  if (backward) zip_rows(qz_, as_bf16(q_), kTile, extent_.width);
}

void Operands<Bf16>::load_gradients(const Rows<const Bf16>& dout) {
  load_rows(as_bf16(dout_), dout, kTile, extent_.width);
  transpose(dot_, kTile, dout_, half(), kTile, half());
  zip_rows(doutz_, as_bf16(dout_), kTile, extent_.width);
}

void Operands<Bf16>::scores(const Sums& s, const QueryTile& tile, int64_t key) const {
  tile.for_keys(key, [&](int64_t first, int64_t keys, int64_t row) {
    tile_product(s.p + first * kTile + row, kTile, {k_ + (key + first) * half(), half(), 1}, qt_ + row, kTile, keys,
                 tile.padded_rows() - row, half(), false);
  });
}

void Operands<Bf16>::value_scores(const Sums& s, const QueryTile& tile, int64_t key) const {
  tile.for_keys(key, [&](int64_t first, int64_t keys, int64_t row) {
    tile_product(s.ds + first * kTile + row, kTile, {v_ + (key + first) * half(), half(), 1}, dot_ + row, kTile, keys,
                 tile.padded_rows() - row, half(), false);
  });
}

void Operands<Bf16>::add_values(const Sums& s, const QueryTile& tile, int64_t key) const { add_turned(s.turned, s.p, tile, key); }

void Operands<Bf16>::add_gradients(const Sums& s, const QueryTile& tile, int64_t key, bool first_head) const {
  add_rows(s.dv, s.p, doutz_, tile, key, first_head);
  add_rows(s.dk, s.ds, qz_, tile, key, first_head);
  add_turned(s.turned, s.ds, tile, key);
}

void Operands<Bf16>::add_turned(float* turned, const float* p, const QueryTile& tile, int64_t key) const {
  zip_rows(pairs_, p, tile.keys(tile.rows - 1, key), kTile);
  tile.for_queries(key, [&](int64_t row, int64_t rows, int64_t count) {
    tile_product(turned + row, kTile, {turned_ + key * half(), kTile / 2, 1}, pairs_ + row, kTile, extent_.width, rows, count / 2,
                 key != tile.first_key);
  });
}

void Operands<Bf16>::add_rows(float* to, const float* p, const uint32_t* queries, const QueryTile& tile, int64_t key,
                              bool first_head) const {
  const int64_t width = extent_.width;
  narrow(as_bf16(pairs_), p, tile.keys(tile.rows - 1, key) * kTile);
  tile.for_keys(key, [&](int64_t first, int64_t count, int64_t row) {
    tile_product(to + (key + first) * width, width, {pairs_ + (first * kTile + row) / 2, kTile / 2, 1}, queries + row / 2 * width,
                 width, count, width, (tile.padded_rows() - row) / 2, !first_head || key < tile.begin);
  });
}

}  // namespace drover::cpu
