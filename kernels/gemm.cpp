#include "kernels/gemm.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/cpu/gemm.h"

namespace drover {

int64_t gemm_scratch_bytes(DType input, DType output, int64_t m, int64_t n, int64_t k) {
  // Room for both operands in a packed copy and the result in f32, and a fixed part for the tiles of every thread.
  constexpr int64_t kFixed = int64_t{4} << 20;
  return (m * k + k * n) * std::max(size_of(input), size_of(DType::f32)) + m * n * std::max(size_of(output), size_of(DType::f32)) +
         kFixed;
}

void gemm(Stream& stream, TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
          TensorView scratch) {
  DROVER_CHECK(c.shape.rank == 2 && a.shape.rank == 2 && b.shape.rank == 2, "gemm of matrices");
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  DROVER_CHECK(a.shape[transpose_a ? 1 : 0] == m && b.shape[transpose_b ? 1 : 0] == k && b.shape[transpose_b ? 0 : 1] == n,
               "gemm: " + to_string(c.shape) + " from " + to_string(a.shape) + (transpose_a ? "^T" : "") + " and " +
                   to_string(b.shape) + (transpose_b ? "^T" : ""));
  DROVER_CHECK(a.dtype == b.dtype && (a.dtype == DType::f32 || a.dtype == DType::bf16), "gemm: operands f32 or bf16, the same");
  DROVER_CHECK(c.dtype == DType::f32 || c.dtype == DType::bf16, "gemm: result f32 or bf16");
  DROVER_CHECK(beta == 0 || beta == 1, "gemm: beta 0 or 1");
  DROVER_CHECK(scratch.bytes() >= gemm_scratch_bytes(a.dtype, c.dtype, m, n, k),
               "gemm: scratch of " + std::to_string(scratch.bytes()));
  stream.charge({OpKind::gemm, 2 * m * n * k, a.bytes() + b.bytes() + (beta == 0 ? 1 : 2) * c.bytes()});
  cpu::gemm(c, a, transpose_a, b, transpose_b, beta, scratch);
}

std::string gemm_library() { return cpu::gemm_library(); }

double measure_gemm_rate(Stream& stream, DType dtype) {
  constexpr int64_t kSize = 768;
  const Shape shape{kSize, kSize};
  std::vector<std::byte> a(static_cast<size_t>(kSize * kSize * size_of(dtype))), b(a.size()),
      c(static_cast<size_t>(kSize * kSize * 4));
  std::vector<std::byte> scratch(static_cast<size_t>(gemm_scratch_bytes(dtype, DType::f32, kSize, kSize, kSize)));
  const auto view = [](std::vector<std::byte>& memory, DType type, const Shape& of) {
    return TensorView{memory.data(), type, {}, of};
  };
  double best = 0;
  for (int repetition = 0; repetition < 8; ++repetition) {
    const auto begin = std::chrono::steady_clock::now();
    gemm(stream, view(c, DType::f32, shape), view(a, dtype, shape), false, view(b, dtype, shape), true, 0,
         view(scratch, DType::u8, {static_cast<int64_t>(scratch.size())}));
    stream.synchronize();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count());
  }
  return best;
}

}  // namespace drover
