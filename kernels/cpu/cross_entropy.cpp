#include "kernels/cpu/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

struct Token {
  float top, total, chosen;
};

template <class T> [[gnu::always_inline]] inline Token token_of(const T* row, int64_t target, int64_t valid) {
  float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < valid; ++j) top = load(row + j) > top ? load(row + j) : top;
  const float total = lane_sum<float>(
      valid, [=](int64_t j) __attribute__((always_inline)) { return exp_f32(load(row + j) - top); });
  return {top, total, target >= 0 && target < valid ? load(row + target) : 0.0f};
}

// What the ranks' statistics come to for one token.
[[gnu::always_inline]] inline Token token_of(const float* statistics, int64_t ranks, int64_t tokens, int64_t t) {
  Token all{-std::numeric_limits<float>::infinity(), 0, 0};
  for (int64_t r = 0; r < ranks; ++r) {
    const float top = statistics[3 * r * tokens + t];
    all.top = top > all.top ? top : all.top;
  }
  for (int64_t r = 0; r < ranks; ++r) {
    const float* mine = statistics + 3 * r * tokens + t;
    all.total += mine[tokens] * exp_f32(mine[0] - all.top);
    all.chosen += mine[2 * tokens];
  }
  return all;
}

template <class T> [[gnu::always_inline]] inline void gradient_of(T* row, const Token& token, float weight, int64_t target,
                                                                  int64_t valid, int64_t columns) {
  const float factor = weight / token.total, top = token.top;
  const bool here = target >= 0 && target < valid;
  // The target's gradient is rounded once, from p - 1.
  const float at_target = here ? weight * (exp_f32(load(row + target) - top) / token.total - 1.0f) : 0.0f;
#pragma omp simd
  for (int64_t j = 0; j < valid; ++j) store(row + j, exp_f32(load(row + j) - top) * factor);
  if (here) store(row + target, at_target);
  for (int64_t j = valid; j < columns; ++j) store(row + j, 0.0f);
}

// body(row of logits, token), always inlined, for every token.
template <class Logits, class Body> void for_rows(const Logits& logits, const Body& body) {
  by_float_type(logits.dtype, "cross_entropy", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    auto* const z = logits.template as<T>();
    const int64_t columns = logits.shape[1];
    simd_for(
        logits.shape[0], row_grain(columns), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) body(z + t * columns, t);
        });
  });
}

[[gnu::always_inline]] inline void put(float* statistics, int64_t tokens, int64_t t, const Token& token) {
  statistics[t] = token.top;
  statistics[tokens + t] = token.total;
  statistics[2 * tokens + t] = token.chosen;
}

}  // namespace

void cross_entropy(TensorView logits, TensorView statistics, ConstTensorView targets, ConstTensorView weights,
                   const VocabularySlice& slice, bool gradient) {
  float* const out = statistics.as<float>();
  const float* const weight = weights.as<float>();
  const int32_t* const ids = targets.as<int32_t>();
  const int64_t tokens = logits.shape[0], columns = logits.shape[1], first = slice.first, valid = slice.valid;
  for_rows(
      logits, [=](auto* row, int64_t t) __attribute__((always_inline)) {
        const int64_t target = ids[t] - first;
        const Token token = token_of(row, target, valid);
        put(out, tokens, t, token);
        if (gradient) gradient_of(row, token, weight[t], target, valid, columns);
      });
}

void cross_entropy_statistics(TensorView statistics, ConstTensorView logits, ConstTensorView targets,
                              const VocabularySlice& slice) {
  float* const out = statistics.as<float>();
  const int32_t* const ids = targets.as<int32_t>();
  const int64_t tokens = logits.shape[0], first = slice.first, valid = slice.valid;
  for_rows(
      logits, [=](const auto* row, int64_t t)
                  __attribute__((always_inline)) { put(out, tokens, t, token_of(row, ids[t] - first, valid)); });
}

void cross_entropy_gradient(TensorView logits, ConstTensorView statistics, ConstTensorView targets, ConstTensorView weights,
                            const VocabularySlice& slice) {
  const float *const in = statistics.as<float>(), *const weight = weights.as<float>();
  const int32_t* const ids = targets.as<int32_t>();
  const int64_t ranks = statistics.shape[0], tokens = logits.shape[0], columns = logits.shape[1], first = slice.first,
                valid = slice.valid;
  for_rows(
      logits, [=](auto* row, int64_t t) __attribute__((always_inline)) {
        gradient_of(row, token_of(in, ranks, tokens, t), weight[t], ids[t] - first, valid, columns);
      });
}

void cross_entropy_sums(TensorView loss_sum, TensorView weight_sum, ConstTensorView statistics, ConstTensorView weights) {
  const int64_t ranks = statistics.shape[0], tokens = statistics.shape[2];
  const float* weight = weights.as<float>();
  double loss = 0, total = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    total += weight[t];
    if (weight[t] == 0.0f) continue;
    const Token token = token_of(statistics.as<float>(), ranks, tokens, t);
    loss += weight[t] * (std::log(static_cast<double>(token.total)) + token.top - token.chosen);
  }
  loss_sum.as<double>()[0] += loss;
  weight_sum.as<double>()[0] += total;
}

}  // namespace drover::cpu
