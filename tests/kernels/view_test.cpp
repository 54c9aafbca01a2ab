#include "kernels/view.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cpu/vector_math.h"

namespace drover {
namespace {

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(Bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(Bf16(from_bits(0x3f808000)).bits, 0x3f80);  // tie, to even: down
  EXPECT_EQ(Bf16(from_bits(0x3f818000)).bits, 0x3f82);  // tie, to even: up
  EXPECT_EQ(Bf16(from_bits(0x3f808001)).bits, 0x3f81);
  EXPECT_EQ(Bf16(from_bits(0xbf818000)).bits, 0xbf82);
  EXPECT_EQ(Bf16(-0.0f).bits, 0x8000);
}

TEST(Bf16, EndsOfTheRange) {
  EXPECT_EQ(Bf16(std::numeric_limits<float>::max()).bits, 0x7f80);  // nearest is infinity
  EXPECT_EQ(Bf16(from_bits(0x7f7f7fff)).bits, 0x7f7f);
  EXPECT_EQ(Bf16(INFINITY).bits, 0x7f80);
  EXPECT_EQ(Bf16(-INFINITY).bits, 0xff80);
  EXPECT_EQ(Bf16(from_bits(0x00008000)).bits, 0x0000);  // denormals round as others do
  EXPECT_EQ(Bf16(from_bits(0x00018000)).bits, 0x0002);
  EXPECT_EQ(Bf16(from_bits(0x007fffff)).bits, 0x0080);
}

TEST(Bf16, NanStaysNanWithItsSign) {
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const Bf16 value(from_bits(bits));
    EXPECT_TRUE(std::isnan(static_cast<float>(value))) << std::hex << bits;
    EXPECT_EQ(value.bits >> 15, bits >> 31);
  }
}

TEST(Bf16, EveryValueSurvivesTheTripThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Bf16 value;
    value.bits = static_cast<uint16_t>(bits);
    const float wide = static_cast<float>(value);
    if (std::isnan(wide)) continue;
    ASSERT_EQ(Bf16(wide).bits, bits);
  }
}

TEST(Bf16, TheKernelsStoreRoundsLikeTheType) {
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 9973) {
    Bf16 stored;
    cpu::store(&stored, from_bits(static_cast<uint32_t>(bits)));
    ASSERT_EQ(stored.bits, Bf16(from_bits(static_cast<uint32_t>(bits))).bits) << std::hex << bits;
  }
}

TEST(View, ShapesCountAndPrint) {
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ((Shape{2, 3, 4, 5}).count(), 120);
  EXPECT_EQ((Shape{2, 0}).count(), 0);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), Error);
  EXPECT_NE((Shape{6}), (Shape{2, 3}));
}

TEST(View, SlicesRowsAndReshapes) {
  float storage[12];
  for (int i = 0; i < 12; ++i) storage[i] = static_cast<float>(i);
  const TensorView view{reinterpret_cast<std::byte*>(storage), DType::f32, {}, {4, 3}};
  EXPECT_EQ(view.bytes(), 48);
  EXPECT_EQ(view.rows(1, 2).as<float>()[0], 3);
  EXPECT_EQ(view.rows(1, 2).shape, (Shape{2, 3}));
  EXPECT_EQ(view.rows(4, 0).count(), 0);
  EXPECT_EQ(view.slice(5, {2, 2}).as<float>()[3], 8);
  EXPECT_EQ(view.reshape({2, 6}).shape, (Shape{2, 6}));
  EXPECT_THROW(view.rows(3, 2), Error);
  EXPECT_THROW(view.slice(-1, {1}), Error);
  EXPECT_THROW(view.slice(9, {2, 2}), Error);
  EXPECT_THROW(view.reshape({5}), Error);
  EXPECT_THROW(view.as<Bf16>(), Error);
  const ConstTensorView constant = view;
  EXPECT_EQ(constant.as<float>(), storage);
}

TEST(View, AnAbsentViewIsEmptyAndAMeasuredOneHasACount) {
  EXPECT_TRUE(TensorView{}.empty());
  EXPECT_EQ(TensorView{}.count(), 0);
  const TensorView measured{nullptr, DType::bf16, {}, {4, 3}};
  EXPECT_EQ(measured.bytes(), 24);
  EXPECT_EQ(measured.rows(1, 2).data, nullptr);
}

}  // namespace
}  // namespace drover
