#include "kernels/gemm.h"

#include <algorithm>
#include <utility>

#include "kernels/base/threads.h"
#include "kernels/checks.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cuda/ops.h"
#include "kernels/elementwise.h"
#include "kernels/gemm_algorithms.h"

namespace drover {

int64_t gemm_scratch_bytes(DType input, int64_t m, int64_t n, int64_t k, int threads, Device device) {
  if (device.type == DeviceType::cuda) return cuda::kGemmScratchBytes;
  // Packed tiles of every thread (oneDNN 2.6: up to 1.64 MiB), and of small products no more than all of it packed.
  constexpr int64_t kTiles = int64_t{2} << 20, kFixed = int64_t{4} << 20;
  const auto bytes = [](int64_t rows, int64_t columns, int64_t depth) {
    return size_of(DType::f32) * (rows * depth + depth * columns + rows * columns);
  };
  const int64_t packed = std::min(bytes(m, n, k) + kFixed, std::max(threads, 16) * kTiles);
  const auto edge = [](int64_t length) { return std::min(length, cpu::kWideBlock); };
  return packed + (input == DType::bf16 ? bytes(edge(m), edge(n), edge(k)) : 0);
}

void gemm(Stream& stream, TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
          TensorView scratch, ConstTensorView bias) {
  DROVER_CHECK(c.shape.rank == 2 && a.shape.rank == 2 && b.shape.rank == 2, "gemm of matrices");
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  DROVER_CHECK(a.shape[transpose_a ? 1 : 0] == m && b.shape[transpose_b ? 1 : 0] == k && b.shape[transpose_b ? 0 : 1] == n,
               "gemm: " + to_string(c.shape) + " from " + to_string(a.shape) + (transpose_a ? "^T" : "") + " and " +
                   to_string(b.shape) + (transpose_b ? "^T" : ""));
  for (const auto& [name, view] : {std::pair{"a", a}, std::pair{"b", b}, std::pair{"c", ConstTensorView(c)}}) {
    require_float("gemm", name, view);
    require_tensor(stream, "gemm", name, view, view.dtype, view.shape);
  }
  require_tensor(stream, "gemm", "scratch", scratch, DType::u8, scratch.shape);
  DROVER_CHECK(a.dtype == b.dtype, "gemm: operands of one dtype");
  DROVER_CHECK(beta == 0 || (beta == 1 && bias.empty()), "gemm: beta 0, or 1 without a bias");
  if (!bias.empty()) require_tensor(stream, "gemm", "bias", bias, c.dtype, {n});
  DROVER_CHECK(scratch.bytes() >= gemm_scratch_bytes(a.dtype, m, n, k, threads(), stream.device()),
               "gemm: scratch of " + std::to_string(scratch.bytes()));
  const bool gpu = on_gpu(stream, "gemm"), fused = gpu && cuda::adds_bias(bias);
  const GemmCall call{c, a, transpose_a, b, transpose_b, beta, scratch, fused ? bias : ConstTensorView{}};
  if (stream.noted_products() != nullptr) return stream.noted_products()->push_back(call);
  {
    const int64_t bytes = a.bytes() + b.bytes() + (beta == 0 ? 1 : 2) * c.bytes() + (fused ? bias.bytes() : 0);
    const Timed timed = stream.charge({OpKind::gemm, 2 * m * n * k, bytes});
    if (gpu)
      cuda::gemm(stream.gpu(), call);
    else
      cpu::gemm(c, a, transpose_a, b, transpose_b, beta, scratch, cpu::best_bf16_product());
  }
  if (!bias.empty() && !fused) bias_forward(stream, c, bias);
}

std::string gemm_library(Device device) { return device.type == DeviceType::cuda ? cuda::gemm_library() : cpu::gemm_library(); }

}  // namespace drover
