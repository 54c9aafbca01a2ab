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
      kt_(cutter.floats(extent.rows * extent.width)), vt_(cutter.floats(extent.rows * extent.width)),
      q_(cutter.floats(kTile * extent.width)), dout_(cutter.floats(kTile * extent.width)) {}

void Operands<float>::load_keys(const Rows<const float>& k, const Rows<const float>& v, bool backward) {
  load_rows(k_, k, extent_.rows, extent_.width);
  load_rows(v_, v, extent_.rows, extent_.width);
  transpose_blocks(kt_, k_, extent_.rows, extent_.width);
  if (backward) transpose_blocks(vt_, v_, extent_.rows, extent_.width);
}

void Operands<float>::load_queries(const Rows<const float>& q) { load_rows(q_, q, kTile, extent_.width); }
void Operands<float>::load_gradients(const Rows<const float>& dout) { load_rows(dout_, dout, kTile, extent_.width); }

void Operands<float>::scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  const int64_t width = extent_.width, end = tile.strip_end(strip);
  tile_product(s.p + strip * kTile, kTile, {q_ + strip * width, width, 1}, kt_ + key * width, kTile, end - strip,
               tile.columns(end, key), width, false);
}

void Operands<float>::add_values(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  const int64_t width = extent_.width, end = tile.strip_end(strip);
  tile_product(s.out + strip * width, width, {s.p + strip * kTile, kTile, 1}, v_ + key * width, width, end - strip, width,
               tile.columns(end, key), key != tile.first_key);
}

void Operands<float>::value_scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  const int64_t width = extent_.width, end = tile.strip_end(strip);
  tile_product(s.ds + strip * kTile, kTile, {dout_ + strip * width, width, 1}, vt_ + key * width, kTile, end - strip,
               tile.columns(end, key), width, false);
}

void Operands<float>::add_gradients(const Sums& s, const QueryTile& tile, int64_t key) const {
  const int64_t width = extent_.width;
  for (int64_t column = 0; column < tile.columns(tile.rows, key); column += kStrip) {
    const int64_t first = tile.first_row(column, key), place = first * kTile + column, to = (key + column) * width;
    tile_product(s.dv + to, width, {s.p + place, 1, kTile}, dout_ + first * width, width, kStrip, width, tile.rows - first, true);
    tile_product(s.dk + to, width, {s.ds + place, 1, kTile}, q_ + first * width, width, kStrip, width, tile.rows - first, true);
  }
  for (int64_t strip = 0; strip < tile.rows; strip += kStrip) {
    const int64_t end = tile.strip_end(strip);
    tile_product(s.dq + strip * width, width, {s.ds + strip * kTile, kTile, 1}, k_ + key * width, width, end - strip, width,
                 tile.columns(end, key), key != tile.first_key);
  }
}

Operands<Bf16>::Operands(Cutter& cutter, const Extent& extent)
    : extent_(extent), staged_(cutter.words(extent.rows * half())), kt_(cutter.words(extent.rows * half())),
      vt_(cutter.words(extent.rows * half())), kz_(cutter.words(extent.rows * half())), vz_(cutter.words(extent.rows * half())),
      q_(cutter.words(kTile * half())), dout_(cutter.words(kTile * half())), qz_(cutter.words(kTile * half())),
      doutz_(cutter.words(kTile * half())), narrow_(cutter.words(kStrip * kTile / 2)), zipped_(cutter.words(kTile * kTile / 2)) {}

void Operands<Bf16>::load_keys(const Rows<const Bf16>& k, const Rows<const Bf16>& v, bool backward) {
  load_rows(as_bf16(staged_), k, extent_.rows, extent_.width);
  transpose_blocks(kt_, staged_, extent_.rows, half());
  if (backward) zip_rows(kz_, as_bf16(staged_), extent_.rows, extent_.width);
  load_rows(as_bf16(staged_), v, extent_.rows, extent_.width);
  if (backward)
    transpose_blocks(vt_, staged_, extent_.rows, half());
  else
    zip_rows(vz_, as_bf16(staged_), extent_.rows, extent_.width);
}

void Operands<Bf16>::load_queries(const Rows<const Bf16>& q) {
  load_rows(as_bf16(q_), q, kTile, extent_.width);
  zip_rows(qz_, as_bf16(q_), kTile, extent_.width);
}

void Operands<Bf16>::load_gradients(const Rows<const Bf16>& dout) {
  load_rows(as_bf16(dout_), dout, kTile, extent_.width);
  zip_rows(doutz_, as_bf16(dout_), kTile, extent_.width);
}

void Operands<Bf16>::scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  const int64_t end = tile.strip_end(strip);
  tile_product(s.p + strip * kTile, kTile, {q_ + strip * half(), half(), 1}, kt_ + key * half(), kTile, end - strip,
               tile.columns(end, key), half(), false);
}

void Operands<Bf16>::add_values(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  add_rows(s.out, s.p, vz_, tile, strip, key);
}

void Operands<Bf16>::value_scores(const Sums& s, const QueryTile& tile, int64_t strip, int64_t key) const {
  const int64_t end = tile.strip_end(strip);
  tile_product(s.ds + strip * kTile, kTile, {dout_ + strip * half(), half(), 1}, vt_ + key * half(), kTile, end - strip,
               tile.columns(end, key), half(), false);
}

void Operands<Bf16>::add_gradients(const Sums& s, const QueryTile& tile, int64_t key) const {
  add_columns(s.dv, s.p, doutz_, tile, key);
  add_columns(s.dk, s.ds, qz_, tile, key);
  for (int64_t strip = 0; strip < tile.rows; strip += kStrip) add_rows(s.dq, s.ds, kz_, tile, strip, key);
}

void Operands<Bf16>::add_rows(float* to, const float* p, const uint32_t* keys, const QueryTile& tile, int64_t strip,
                              int64_t key) const {
  const int64_t width = extent_.width, end = tile.strip_end(strip);
  narrow(as_bf16(narrow_), p + strip * kTile, (end - strip) * kTile);
  tile_product(to + strip * width, width, {narrow_, kTile / 2, 1}, keys + key * half(), width, end - strip, width,
               tile.columns(end, key) / 2, key != tile.first_key);
}

// An odd last query makes a pair with nothing.
void Operands<Bf16>::add_columns(float* to, float* p, const uint32_t* queries, const QueryTile& tile, int64_t key) const {
  const int64_t width = extent_.width, rows = round_up(tile.rows, 2);
  std::fill(p + tile.rows * kTile, p + rows * kTile, 0.0f);
  zip_rows(zipped_, p, rows, kTile);
  for (int64_t column = 0; column < tile.columns(tile.rows, key); column += kStrip) {
    const int64_t first = tile.first_row(column, key);
    tile_product(to + (key + column) * width, width, {zipped_ + first / 2 * kTile + column, 1, kTile}, queries + first / 2 * width,
                 width, kStrip, width, (rows - first) / 2, true);
  }
}

}  // namespace drover::cpu
