// Kernels of the cpu on one thread, at the shapes of launch/bench_against_torch: products of linear layers and attention.
#include "tests/kernels/in_turn/cases.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/gemm.h"

using namespace drover;

namespace {

struct Case {
  std::string name;
  std::function<void()> run;
};
std::vector<Case> cases;
std::byte* (*take)(size_t bytes);

TensorView zeros(DType dtype, const Shape& shape) {
  TensorView view{nullptr, dtype, {}, shape};
  view.data = take(static_cast<size_t>(shape.count() * size_of(dtype)));
  std::fill(view.data, view.data + view.bytes(), std::byte{});
  return view;
}

// Of the same size in both commits, so that what follows it lies at the same place.
TensorView scratch_of(int64_t bytes) {
  constexpr int64_t kStep = int64_t{64} << 20;
  TensorView scratch = zeros(DType::u8, {(bytes + kStep - 1) / kStep * kStep});
  scratch.shape = {bytes};
  return scratch;
}

// Values in [-1, 1] that do not repeat soon.
TensorView waves(DType dtype, const Shape& shape) {
  const TensorView view = zeros(dtype, shape);
  for (int64_t i = 0; i < view.count(); ++i) {
    const float value = std::sin(0.7f * static_cast<float>(i % 100003));
    if (dtype == DType::f32)
      view.as<float>()[i] = value;
    else
      view.as<Bf16>()[i] = Bf16(value);
  }
  return view;
}

void attention_cases(DType dtype, const AttentionShape& s) {
  const int64_t tokens = s.batch * s.sequence;
  const TensorView qkv = waves(dtype, {tokens, s.heads + 2 * s.kv_heads, s.head_dim}),
                   dout = waves(dtype, {tokens, s.heads, s.head_dim}), documents = zeros(DType::i32, {tokens});
  const TensorView out = zeros(dtype, dout.shape), lse = zeros(DType::f32, {s.batch, s.heads, s.sequence}),
                   dqkv = zeros(dtype, qkv.shape), scratch = scratch_of(cpu::attention_scratch_bytes(s, dtype));
  const std::string name = std::string("attention ") + name_of(dtype) + ", " + std::to_string(s.batch) + " x " +
                           std::to_string(s.sequence) + " tokens, " + std::to_string(s.heads) + " heads of " +
                           std::to_string(s.head_dim);
  const auto forward = [=] { cpu::attention_forward(out, lse, qkv, documents, s, 0.125f, scratch); };
  forward();
  cases.push_back({name + ", forward", forward});
  cases.push_back(
      {name + ", backward", [=] { cpu::attention_backward(dqkv, dout, out, lse, qkv, documents, s, 0.125f, scratch); }});
}

void product_cases(DType type, int64_t tokens, int64_t in, int64_t out) {
  const TensorView x = waves(type, {tokens, in}), w = waves(type, {out, in}), dy = waves(type, {tokens, out});
  const TensorView y = zeros(type, dy.shape), dx = zeros(type, x.shape), dw = zeros(DType::f32, w.shape);
  const int64_t most = std::max({tokens, in, out});
  const TensorView scratch = scratch_of(gemm_scratch_bytes(type, most, most, most, 1));
  const auto product = [=](TensorView c, ConstTensorView a, bool turn_a, ConstTensorView b, bool turn_b) {
    return [=] { cpu::gemm(c, a, turn_a, b, turn_b, 0, scratch, cpu::best_bf16_product()); };
  };
  const std::string name = std::string("product ") + name_of(type) + ", " + std::to_string(tokens) + " tokens, " +
                           std::to_string(in) + " to " + std::to_string(out);
  cases.push_back({name + ", forward", product(y, x, false, w, true)});
  cases.push_back({name + ", input gradient", product(dx, dy, false, w, false)});
  cases.push_back({name + ", weight gradient", product(dw, dy, true, x, false)});
}

}  // namespace

int drover_cases(std::byte* (*memory)(size_t bytes)) {
  take = memory;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const AttentionShape& shape : {AttentionShape{4, 512, 8, 4, 64}, {1, 1024, 16, 8, 64}, {4, 128, 4, 2, 32}})
      attention_cases(dtype, shape);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    product_cases(dtype, 2048, 512, 1408);
    product_cases(dtype, 2048, 512, 2816);
    product_cases(dtype, 2048, 1408, 512);
    product_cases(dtype, 1024, 1024, 5632);
    product_cases(dtype, 1024, 2816, 1024);
    product_cases(dtype, 1024, 1024, 8192);
  }
  return static_cast<int>(cases.size());
}
const char* drover_case_name(int number) { return cases[static_cast<size_t>(number)].name.c_str(); }
void drover_run_case(int number) { cases[static_cast<size_t>(number)].run(); }
