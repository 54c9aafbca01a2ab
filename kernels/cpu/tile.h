// Products of small tiles, for attention: C [m, n] = A [m, k] B [k, n], or C += with `accumulate`. C in f32, n a multiple of 16, rows of B
// and C on multiples of 64 bytes. A's elements are broadcast one by one, so any strides of A cost the same: its transpose needs no copy.
//
// bf16 operands are taken in pairs along k, the unit in which processors multiply them: a word holds elements 2i (low half) and 2i + 1.
// A row of a row-major bf16 matrix is such a row of words; B is `zip_rows` of its rows. Products are exact, sums are f32; the order of
// additions depends on the instruction set.
#pragma once
#include <cstdint>

#include "kernels/bf16.h"

namespace drover::cpu {

template <class Element> struct StridedTile {
  const Element* data;
  int64_t row, column;  // strides, in elements
};

void tile_product(float* c, int64_t ldc, const StridedTile<float>& a, const float* b, int64_t ldb, int64_t m, int64_t n, int64_t k,
                  bool accumulate);

// A thread multiplies pairs while it has one of these, and does nothing else that may want the processor's tiles (oneDNN).
class PairProducts {
 public:
  PairProducts();
  ~PairProducts();
  PairProducts(const PairProducts&) = delete;
  PairProducts& operator=(const PairProducts&) = delete;
};
void tile_product(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb, int64_t m, int64_t n,
                  int64_t pairs, bool accumulate);
// Rows, columns and elements of the sum of which products of pairs are best multiples.
int64_t pair_strip();

// The same without AMX (kernels/cpu/tile_amx.h), and the same by instructions that every processor has: what the others are compared with,
// and fall back to.
void tile_product_vectors(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb, int64_t m,
                          int64_t n, int64_t pairs, bool accumulate);
void tile_product_portable(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb, int64_t m,
                           int64_t n, int64_t pairs, bool accumulate);

// to [columns, rows] = from [rows, columns] transposed, rows `ldto` and `ldfrom` apart; words keep their pairs. rows, columns: multiples of 16.
void transpose(float* to, int64_t ldto, const float* from, int64_t ldfrom, int64_t rows, int64_t columns);
void transpose(uint32_t* to, int64_t ldto, const uint32_t* from, int64_t ldfrom, int64_t rows, int64_t columns);

// Rounded to nearest even; results that are denormal may be 0, in zip_rows too.
void narrow(Bf16* to, const float* from, int64_t count);

// to [rows / 2, width]: rows 2i and 2i + 1 of `from` side by side, f32 rounded to bf16 first. rows: even.
void zip_rows(uint32_t* to, const Bf16* from, int64_t rows, int64_t width);
void zip_rows(uint32_t* to, const float* from, int64_t rows, int64_t width);

}  // namespace drover::cpu
