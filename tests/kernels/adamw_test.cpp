#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

constexpr int64_t kCount = 3001;
constexpr double kRate = 3e-3, kDecay = 0.1, kMaxNorm = 1.0, kWeight = 96;

struct State {
  Tensor master = random_tensor(DType::f32, {kCount}, 1), m{DType::f32, {kCount}}, v{DType::f32, {kCount}},
         weights{DType::bf16, {kCount}}, control{DType::f64, {control_slots}};

  bool same_bits(const State& other) const {
    return master.same_bits(other.master) && m.same_bits(other.m) && v.same_bits(other.v) && weights.same_bits(other.weights);
  }
};

Tensor gradient_of(uint64_t step) {
  // Sizes differ from step to step, so that some steps are clipped and some are not.
  return random_tensor(DType::f32, {kCount}, 100 + step, kWeight * (step % 3 == 0 ? 0.001 : 0.1));
}

double squares(const Tensor& x) {
  double sum = 0;
  for (double value : x.values()) sum += value * value;
  return sum;
}

Tensor sums_of(const Tensor& gradient, double loss = 1, double weight = kWeight) {
  Tensor sums(DType::f64, {step_sums});
  sums.set(loss_sum, loss);
  sums.set(weight_sum, weight);
  sums.set(squared_norm, squares(gradient));
  return sums;
}

void step(State& state, const Tensor& gradient, const Tensor& sums, double max_norm = kMaxNorm, double decay = kDecay) {
  Stream stream(testing::device());
  prepare_update(stream, state.control, sums, AdamW{}, max_norm);
  adamw_update(stream, state.master, state.m, state.v, state.weights, gradient, state.control, AdamW{}, kRate, decay);
}

TEST(AdamW, TenStepsWithClippingMatchTheAlgorithmInF64) {
  for (double decay : {0.0, kDecay}) {
    State state;
    std::vector<double> p = state.master.values(), m(kCount, 0.0), v(kCount, 0.0);
    int clipped = 0;
    for (int t = 1; t <= 10; ++t) {
      const Tensor gradient = gradient_of(static_cast<uint64_t>(t));
      step(state, gradient, sums_of(gradient), kMaxNorm, decay);

      const double norm = std::sqrt(squares(gradient)) / kWeight;
      const double clip = norm + 1e-6 > kMaxNorm ? kMaxNorm / (norm + 1e-6) : 1.0;
      clipped += clip < 1;
      for (size_t i = 0; i < p.size(); ++i) {
        const double g = gradient.get(static_cast<int64_t>(i)) / kWeight * clip;
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.95 * v[i] + 0.05 * g * g;
        const double m_hat = m[i] / (1 - std::pow(0.9, t)), v_hat = v[i] / (1 - std::pow(0.95, t));
        p[i] -= kRate * decay * p[i];
        p[i] -= kRate * m_hat / (std::sqrt(v_hat) + 1e-8);
      }
      EXPECT_NEAR(state.control.get(control_norm) / norm, 1, 1e-12);
      EXPECT_EQ(state.control.get(control_applied), t);
      EXPECT_EQ(state.control.get(control_skip), 0);
    }
    EXPECT_EQ(clipped, 7);
    EXPECT_LT(testing::max_error(state.master, p), 1e-6);
    EXPECT_LT(testing::max_error(state.m, m), 1e-6);
    EXPECT_LT(testing::max_error(state.v, v), 1e-6);
  }
}

TEST(AdamW, TheWeightsAreTheNewMastersRounded) {
  State state;
  for (uint64_t t = 1; t <= 3; ++t) {
    step(state, gradient_of(t), sums_of(gradient_of(t)));
    Tensor rounded(DType::bf16, {kCount});
    for (int64_t i = 0; i < kCount; ++i) rounded.set(i, state.master.get(i));
    EXPECT_TRUE(state.weights.same_bits(rounded)) << "after step " << t;
  }
}

// Nothing else depends on whether there are weights, and how they and the masters lie in memory changes no bit.
TEST(AdamW, WeightsOfTheirOwnChangeNothingElse) {
  State with, without, shifted;
  const Tensor gradient = gradient_of(1);
  step(with, gradient, sums_of(gradient));
  Stream stream(testing::device());
  prepare_update(stream, without.control, sums_of(gradient), AdamW{}, kMaxNorm);
  adamw_update(stream, without.master, without.m, without.v, {}, gradient, without.control, AdamW{}, kRate, kDecay);
  EXPECT_TRUE(without.master.same_bits(with.master) && without.m.same_bits(with.m) && without.v.same_bits(with.v));
  prepare_update(stream, shifted.control, sums_of(gradient), AdamW{}, kMaxNorm);
  for (const auto& [begin, count] : {std::pair{int64_t{0}, int64_t{2}}, {2, 5}, {7, kCount - 7}}) {
    const auto part = [from = begin, size = count](Tensor& x) { return x.view().slice(from, {size}); };
    adamw_update(stream, part(shifted.master), part(shifted.m), part(shifted.v), part(shifted.weights),
                 gradient.view().slice(begin, {count}), shifted.control, AdamW{}, kRate, kDecay);
  }
  EXPECT_TRUE(shifted.same_bits(with));
}

// With g = eps the first step is lr / 2, without eps it would be lr.
TEST(AdamW, TheEpsilonIsAddedToTheCorrectedRoot) {
  State state;
  Tensor gradient(DType::f32, {kCount}), start = state.master;
  gradient.fill(kWeight * 1e-8);
  step(state, gradient, sums_of(gradient), 0, 0);
  for (int64_t i = 0; i < kCount; ++i) ASSERT_NEAR(start.get(i) - state.master.get(i), kRate / 2, 1e-6);
}

TEST(AdamW, MaxNormZeroDoesNotClip) {
  State state;
  const Tensor gradient = gradient_of(1);
  step(state, gradient, sums_of(gradient), 0);
  EXPECT_EQ(state.control.get(control_scale), 1 / kWeight);
  step(state, gradient, sums_of(gradient), 1e-3);
  EXPECT_NEAR(state.control.get(control_scale) * kWeight, 1e-3 / (state.control.get(control_norm) + 1e-6), 1e-12);
}

TEST(AdamW, ABadStepLeavesEveryBitAndTheCount) {
  State state;
  for (uint64_t t = 1; t <= 3; ++t) step(state, gradient_of(t), sums_of(gradient_of(t)));
  const State before = state;
  Tensor spoiled = gradient_of(4);
  spoiled.set(5, NAN);
  const Tensor good = gradient_of(4);
  Tensor infinite_norm = sums_of(good);
  infinite_norm.set(squared_norm, HUGE_VAL);
  Tensor without_data = sums_of(good);
  without_data.set(no_data, 1);
  for (const Tensor& sums : {sums_of(spoiled), infinite_norm, without_data, sums_of(good, NAN), sums_of(good, HUGE_VAL),
                             sums_of(good, 1, 0), sums_of(good, 1, NAN)}) {
    step(state, spoiled, sums);
    EXPECT_TRUE(state.same_bits(before));
    EXPECT_EQ(state.control.get(control_skip), 1);
    EXPECT_EQ(state.control.get(control_applied), 3);
    EXPECT_EQ(state.control.get(control_correction1), before.control.get(control_correction1));
  }
  step(state, good, sums_of(good));
  EXPECT_EQ(state.control.get(control_skip), 0);
  EXPECT_EQ(state.control.get(control_applied), 4);
  EXPECT_FALSE(state.same_bits(before));
}

TEST(AdamW, TheCountContinuesFromACheckpoint) {
  State whole, resumed;
  for (uint64_t t = 1; t <= 4; ++t) step(whole, gradient_of(t), sums_of(gradient_of(t)));
  for (uint64_t t = 1; t <= 2; ++t) step(resumed, gradient_of(t), sums_of(gradient_of(t)));
  Tensor fresh(DType::f64, {control_slots});
  fresh.set(control_applied, resumed.control.get(control_applied));
  resumed.control = fresh;
  for (uint64_t t = 3; t <= 4; ++t) step(resumed, gradient_of(t), sums_of(gradient_of(t)));
  EXPECT_TRUE(resumed.same_bits(whole));
}

TEST(AdamW, TheThreadCountChangesNoBit) {
  State first;
  for (int count : {1, 2, 3, 8}) {
    set_threads(count);
    Tensor master = random_tensor(DType::f32, {100003}, 1), m(DType::f32, {100003}), v(DType::f32, {100003}),
           weights(DType::bf16, {100003});
    const Tensor gradient = random_tensor(DType::f32, {100003}, 2);
    Tensor control(DType::f64, {control_slots});
    Stream stream(testing::device());
    prepare_update(stream, control, sums_of(gradient), AdamW{}, kMaxNorm);
    adamw_update(stream, master, m, v, weights, gradient, control, AdamW{}, kRate, kDecay);
    if (count == 1) first.master = master, first.m = m, first.v = v, first.weights = weights;
    EXPECT_TRUE(first.master.same_bits(master) && first.m.same_bits(m) && first.v.same_bits(v) && first.weights.same_bits(weights));
  }
}

TEST(AdamW, WrongArgumentsAreRefused) {
  State state;
  Stream stream(testing::device());
  Tensor gradient(DType::f32, {kCount - 1}), bf16(DType::bf16, {kCount}), sums(DType::f64, {step_sums - 1});
  EXPECT_THROW(adamw_update(stream, state.master, state.m, state.v, {}, gradient, state.control, AdamW{}, kRate, 0), Error);
  EXPECT_THROW(adamw_update(stream, state.master, state.m, state.v, {}, bf16, state.control, AdamW{}, kRate, 0), Error);
  EXPECT_THROW(adamw_update(stream, state.master, state.m, state.v, state.m, state.v, state.control, AdamW{}, kRate, 0), Error);
  EXPECT_THROW(prepare_update(stream, state.control, sums, AdamW{}, 1), Error);
  adamw_update(stream, state.master, state.m, state.v, {}, state.master, state.control, AdamW{}, kRate, 0);
  EXPECT_EQ(stream.totals(OpKind::optimizer).bytes, 28 * kCount);
  adamw_update(stream, state.master, state.m, state.v, bf16, state.master, state.control, AdamW{}, kRate, 0);
  EXPECT_EQ(stream.totals(OpKind::optimizer).bytes, (28 + 30) * kCount);
}

}  // namespace
}  // namespace drover
