#include "kernels/cpu/attention_tiles.h"

#include <cstring>

namespace drover::cpu {
namespace {

// [padded, width], zero beyond the rows and the head.
template <class T> void load_rows(T* to, const Rows<const T>& from, int64_t padded, int64_t width) {
  const size_t dim = static_cast<size_t>(from.dim) * sizeof(T), rest = static_cast<size_t>(width) * sizeof(T) - dim;
  for (int64_t r = 0; r < from.count; ++r) {
    std::memcpy(to + r * width, from.data + r * from.stride, dim);
    std::memset(static_cast<void*>(to + r * width + from.dim), 0, rest);
  }
  std::memset(static_cast<void*>(to + from.count * width), 0, static_cast<size_t>((padded - from.count) * width) * sizeof(T));
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

void Operands<float>::scores(const Sums& s, int64_t rows, int64_t key) const {
  const int64_t width = extent_.width;
  tile_product(s.p, kTile, {q_, width, 1}, kt_ + key * width, kTile, rows, kTile, width);
}

void Operands<float>::add_values(const Sums& s, int64_t rows, int64_t key) const {
  const int64_t width = extent_.width;
  tile_product(s.out, width, {s.p, kTile, 1}, v_ + key * width, width, rows, width, kTile);
}

void Operands<float>::value_scores(const Sums& s, int64_t rows, int64_t key) const {
  const int64_t width = extent_.width;
  tile_product(s.ds, kTile, {dout_, width, 1}, vt_ + key * width, kTile, rows, kTile, width);
}

void Operands<float>::add_gradients(const Sums& s, int64_t rows, int64_t key) const {
  const int64_t width = extent_.width;
  tile_product(s.dv + key * width, width, {s.p, 1, kTile}, dout_, width, kTile, width, rows);
  tile_product(s.dk + key * width, width, {s.ds, 1, kTile}, q_, width, kTile, width, rows);
  tile_product(s.dq, width, {s.ds, kTile, 1}, k_ + key * width, width, rows, width, kTile);
}

Operands<Bf16>::Operands(Cutter& cutter, const Extent& extent)
    : extent_(extent), staged_(cutter.words(extent.rows * half())), kt_(cutter.words(extent.rows * half())),
      vt_(cutter.words(extent.rows * half())), kz_(cutter.words(extent.rows * half())), vz_(cutter.words(extent.rows * half())),
      q_(cutter.words(kTile * half())), dout_(cutter.words(kTile * half())), qz_(cutter.words(kTile * half())),
      doutz_(cutter.words(kTile * half())), narrow_(cutter.words(kTile * kTile / 2)), zipped_(cutter.words(kTile * kTile / 2)) {}

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

void Operands<Bf16>::scores(const Sums& s, int64_t rows, int64_t key) const {
  tile_product(s.p, kTile, {q_, half(), 1}, kt_ + key * half(), kTile, rows, kTile, half());
}

void Operands<Bf16>::add_values(const Sums& s, int64_t rows, int64_t key) const {
  narrow(as_bf16(narrow_), s.p, kTile * kTile);
  tile_product(s.out, extent_.width, {narrow_, kTile / 2, 1}, vz_ + key * half(), extent_.width, rows, extent_.width, kTile / 2);
}

void Operands<Bf16>::value_scores(const Sums& s, int64_t rows, int64_t key) const {
  tile_product(s.ds, kTile, {dout_, half(), 1}, vt_ + key * half(), kTile, rows, kTile, half());
}

// Rows of p and ds beyond `rows` are zero, so an odd last query makes a pair with nothing.
void Operands<Bf16>::add_gradients(const Sums& s, int64_t rows, int64_t key) const {
  const int64_t width = extent_.width, pairs = (rows + 1) / 2;
  zip_rows(zipped_, s.p, kTile, kTile);
  tile_product(s.dv + key * width, width, {zipped_, 1, kTile}, doutz_, width, kTile, width, pairs);
  zip_rows(zipped_, s.ds, kTile, kTile);
  tile_product(s.dk + key * width, width, {zipped_, 1, kTile}, qz_, width, kTile, width, pairs);
  narrow(as_bf16(narrow_), s.ds, kTile * kTile);
  tile_product(s.dq, width, {narrow_, kTile / 2, 1}, kz_ + key * half(), width, rows, width, kTile / 2);
}

}  // namespace drover::cpu
