#include "kernels/gemm_algorithms.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/ops.h"

namespace drover {
namespace {

int64_t alignment_of(const std::byte* data) {
  constexpr uintptr_t kMost = 256;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data) | kMost;
  return static_cast<int64_t>(address & (~address + 1));
}

}  // namespace

GemmShape shape_of(const GemmCall& call) {
  return {.output = call.c.dtype,
          .input = call.a.dtype,
          .transpose_a = call.transpose_a,
          .transpose_b = call.transpose_b,
          .m = call.c.shape[0],
          .n = call.c.shape[1],
          .k = call.a.shape[call.transpose_a ? 0 : 1],
          .align_a = alignment_of(call.a.data),
          .align_b = alignment_of(call.b.data),
          .align_c = alignment_of(call.c.data),
          .bias = !call.bias.empty()};
}

std::string to_string(const GemmShape& s) {
  const auto matrix = [](int64_t rows, int64_t columns, bool transposed) {
    return transposed ? to_string(Shape{columns, rows}) + "^T" : to_string(Shape{rows, columns});
  };
  return std::string(name_of(s.input)) + " " + matrix(s.m, s.k, s.transpose_a) + " times " + matrix(s.k, s.n, s.transpose_b) +
         " to " + name_of(s.output) + (s.bias ? " with a bias" : "");
}

size_t fastest_of(std::span<const double> seconds) {
  constexpr double kNoise = 1.01;
  const double least = *std::min_element(seconds.begin(), seconds.end());
  const auto found = std::find_if(seconds.begin(), seconds.end(), [&](double each) { return each <= kNoise * least; });
  return static_cast<size_t>(found - seconds.begin());
}

TimedAlgorithm fastest_algorithm(Stream& stream, const GemmCall& call) {
  const GemmShape shape = shape_of(call);
  const std::vector<GemmAlgorithm> candidates = cuda::gemm_candidates(shape, kMostCandidates);
  const std::vector<double> seconds = cuda::time_gemm(stream.gpu(), call, candidates);
  const size_t best = fastest_of(seconds);
  if (std::isinf(seconds[best]))
    throw Error(ExitCode::hardware,
                "none of cuBLASLt's " + std::to_string(candidates.size()) + " algorithms for " + to_string(shape) + " works");
  return {candidates[best], seconds[best], static_cast<int>(best), static_cast<int>(candidates.size())};
}

bool set_algorithm(Device device, const GemmShape& shape, const GemmAlgorithm& algorithm) {
  DROVER_CHECK(device.type == DeviceType::cuda, "algorithms are set on GPUs");
  return cuda::set_gemm_algorithm(shape, algorithm);
}

}  // namespace drover
