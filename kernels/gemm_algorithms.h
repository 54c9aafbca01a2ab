// Which of its algorithms the library multiplies with on a GPU. cuBLASLt proposes several for a product; which one is the fastest, only a
// measurement tells, and which one is taken decides the last bits. So a run times the candidates of its products before its first step, and
// every rank, and the run resumed, uses the same ones.
//
// A product whose algorithm was not set is computed by the library's first proposal.
#pragma once
#include <array>
#include <compare>
#include <span>
#include <string>
#include <vector>

#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// The arguments of gemm (kernels/gemm.h).
struct GemmCall {
  TensorView c;       // [m, n]
  ConstTensorView a;  // [m, k], or [k, m] when transpose_a
  bool transpose_a = false;
  ConstTensorView b;  // [k, n], or [n, k] when transpose_b
  bool transpose_b = false;
  float beta = 0;
  TensorView scratch;    // u8
  ConstTensorView bias;  // [n] or empty; cuda::adds_bias
};

// While it lives, gemm notes the products on this stream and computes none.
class NotedProducts {
 public:
  explicit NotedProducts(Stream& stream) : stream_(stream) { stream.note_products(&calls_); }
  ~NotedProducts() { stream_.note_products(nullptr); }
  NotedProducts(const NotedProducts&) = delete;
  NotedProducts& operator=(const NotedProducts&) = delete;
  const std::vector<GemmCall>& calls() const { return calls_; }

 private:
  Stream& stream_;
  std::vector<GemmCall> calls_;
};

// What an algorithm is chosen by.
struct GemmShape {
  DType output = DType::f32, input = DType::f32;
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  int64_t align_a = 0, align_b = 0, align_c = 0;  // bytes: the largest power of two, at most 256, that divides the address
  bool bias = false;
  auto operator<=>(const GemmShape&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
};
GemmShape shape_of(const GemmCall& call);
std::string to_string(const GemmShape& shape);  // "bf16 [64, 32] times [32, 96]^T to f32"

// As the library describes it (cublasLtMatmulAlgo_t): for the library's version and the kind of GPU that it is of.
using GemmAlgorithm = std::array<std::byte, 64>;

struct TimedAlgorithm {
  GemmAlgorithm algorithm{};
  double seconds = 0;                 // median of a product, in a stream that has nothing else to do
  int candidate = 0, candidates = 0;  // which of the library's proposals it was, the first is 0; how many were timed
};

// Times the library's first kMostCandidates proposals in turn on these operands and returns the fastest. c and scratch are overwritten; a and b
// should hold what a step's tensors hold, because a GPU multiplies zeros with less power, and so faster. A proposal that fails is passed over.
// All proposals give the same bits in every run, and need no more than the planned scratch. Throws Error(hardware) when none works.
constexpr int kMostCandidates = 8;
TimedAlgorithm fastest_algorithm(Stream& stream, const GemmCall& call);

// The earliest candidate that takes at most 1 % longer than the fastest: differences below that are noise, and a choice should not follow it.
// Infinite: a candidate that failed.
size_t fastest_of(std::span<const double> seconds);

// From here on, products of this shape are computed by it. False, and nothing changes, where the library on this GPU refuses it.
bool set_algorithm(Device device, const GemmShape& shape, const GemmAlgorithm& algorithm);

}  // namespace drover
