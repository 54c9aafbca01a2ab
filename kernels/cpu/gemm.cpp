#include "kernels/cpu/gemm.h"

#include <algorithm>

#include "kernels/base/threads.h"
#include "kernels/bf16.h"
#include "kernels/cpu/gemm_library.h"
#include "kernels/cpu/gemm_tiles.h"

namespace drover::cpu {
namespace {

// c = a b, or c + a b.
using Multiply = void (*)(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch);

// Cuts room for a matrix in f32 off the front of `scratch`.
Matrix take_f32(TensorView& scratch, int64_t rows, int64_t columns) {
  const int64_t bytes = rows * columns * size_of(DType::f32);
  DROVER_CHECK(bytes <= scratch.bytes(), "gemm: scratch of " + std::to_string(scratch.bytes()));
  const Matrix taken{scratch.data, DType::f32, rows, columns, columns, 1};
  scratch = {scratch.data + bytes, DType::u8, scratch.device, {scratch.bytes() - bytes}};
  return taken;
}

// body(row of `wide`, the same row of `x`): `wide` is f32, x bf16, and their columns lie side by side.
template <class Body> void for_rows(const Matrix& wide, const Matrix& x, Body&& body) {
  parallel_for(x.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(reinterpret_cast<float*>(wide.block(i, 1, 0, 1).data), reinterpret_cast<Bf16*>(x.block(i, 1, 0, 1).data));
  });
}

// A matrix of bf16 in f32, stored like it.
Matrix widen(TensorView& scratch, const Matrix& x) {
  if (x.column_stride != 1) return widen(scratch, x.transposed()).transposed();
  const Matrix wide = take_f32(scratch, x.rows, x.columns);
  for_rows(wide, x, [&](float* to, const Bf16* from) {
    for (int64_t j = 0; j < x.columns; ++j) to[j] = static_cast<float>(from[j]);
  });
  return wide;
}

void narrow(const Matrix& x, const Matrix& wide) {
  for_rows(wide, x, [&](const float* from, Bf16* to) {
    for (int64_t j = 0; j < x.columns; ++j) to[j] = Bf16(from[j]);
  });
}

// Block by block, each a sum in f32 of products of at most `depth` terms; with `widened` the operands' blocks become f32 first, so that they
// are never there twice as a whole.
void multiply_in_blocks(Multiply multiply, const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, int64_t depth,
                        bool widened, TensorView scratch) {
  const bool direct = c.dtype == DType::f32;
  const int64_t k = a.columns, height = direct && !widened ? c.rows : kWideBlock,
                width = direct && !widened ? c.columns : kWideBlock;
  for (int64_t i = 0; i < c.rows; i += height)
    for (int64_t j = 0; j < c.columns; j += width) {
      const Matrix block = c.block(i, std::min(height, c.rows - i), j, std::min(width, c.columns - j));
      TensorView rest = scratch;
      const Matrix sum = direct ? block : accumulate ? widen(rest, block) : take_f32(rest, block.rows, block.columns);
      for (int64_t l = 0; l < k; l += depth) {
        TensorView room = rest;
        Matrix left = a.block(i, block.rows, l, std::min(depth, k - l)), right = b.block(l, left.columns, j, block.columns);
        if (widened) {
          left = widen(room, left);
          right = widen(room, right);
        }
        multiply(sum, left, right, accumulate || l > 0, room);
      }
      if (!direct) narrow(block, sum);
    }
}

// Terms of a sum at a time, in equal parts of whole cache lines: longer ones are slower in oneDNN 2.6 (docs/benchmarks/cpu.md), and of
// operands packed as tiles too few rows would be near; fewer where results are f32, to which parts are added without more room.
constexpr int64_t kLongestF32Sum = 2048, kLongestBf16Sum = 8192, kLongestSumByTiles = 3072, kLongestF32SumByTiles = 1024;
int64_t longest_sum(bool tiles, DType operands, DType result) {
  if (!tiles) return operands == DType::f32 ? kLongestF32Sum : kLongestBf16Sum;
  return result == DType::f32 ? kLongestF32SumByTiles : kLongestSumByTiles;
}
int64_t depth_of(int64_t k, int64_t longest) {
  const int64_t parts = (k + longest - 1) / longest, even = (k + parts - 1) / parts;
  return std::min(k, (even + 63) / 64 * 64);
}

#ifdef DROVER_AMX
constexpr Multiply kTiles = multiply_tiles<AmxTiles>;
bool has_tiles() { return AmxTiles::available(); }
#else
constexpr Multiply kTiles = library_multiply;
bool has_tiles() { return false; }
#endif

}  // namespace

// Processors without bf16 instructions multiply f32 faster than they emulate bf16. The products of two bf16 are exact in f32, so only the
// order of additions is another.
Bf16Product best_bf16_product() {
  static const Bf16Product best = has_tiles()                       ? Bf16Product::tiles
                                  : library_has_bf16_instructions() ? Bf16Product::native
                                                                    : Bf16Product::widened;
  return best;
}

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta, TensorView scratch,
          Bf16Product bf16_product) {
  if (c.count() == 0) return;
  const bool tiles = a.dtype == DType::bf16 && bf16_product == Bf16Product::tiles;
  const bool widened = a.dtype == DType::bf16 && bf16_product == Bf16Product::widened;
  if (!tiles && !(widened ? library_multiplies(DType::f32, DType::f32) : library_multiplies(c.dtype, a.dtype)))
    return gemm_plain(c, a, transpose_a, b, transpose_b, beta);
  const Multiply multiply = tiles ? kTiles : library_multiply;
  const Matrix to = matrix_of(c, false), left = matrix_of(a, transpose_a), right = matrix_of(b, transpose_b);
  const int64_t depth = widened ? kWideBlock : depth_of(left.columns, longest_sum(tiles, a.dtype, to.dtype));
  if (widened || depth < left.columns)
    multiply_in_blocks(multiply, to, left, right, beta != 0, depth, widened, scratch);
  else
    multiply(to, left, right, beta != 0, scratch);
}

std::string gemm_library() {
  return library_name() + (best_bf16_product() == Bf16Product::tiles ? ", own AMX products of bf16" : "");
}

}  // namespace drover::cpu
