#include "kernels/stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "kernels/arena.h"
#include "kernels/cuda/device.h"
#include "kernels/elementwise.h"
#include "kernels/measure.h"
#include "kernels/transfer.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

TEST(Stream, TotalsAddUpByKindAndReset) {
  Stream stream(testing::device());
  {
    const Timed timed = stream.charge({OpKind::gemm, 10, 3});
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  { const Timed timed = stream.charge({OpKind::gemm, 5, 4}); }
  { const Timed timed = stream.charge({OpKind::rope, 1, 1}); }
  EXPECT_EQ(stream.totals(OpKind::gemm).calls, 2);
  EXPECT_EQ(stream.totals(OpKind::gemm).flops, 15);
  EXPECT_EQ(stream.totals(OpKind::gemm).bytes, 7);
  EXPECT_GE(stream.totals(OpKind::gemm).seconds, 2e-3);
  EXPECT_EQ(stream.totals(OpKind::rope).calls, 1);
  EXPECT_LT(stream.totals(OpKind::rope).seconds, stream.totals(OpKind::gemm).seconds);
  stream.reset_totals();
  EXPECT_EQ(stream.totals(OpKind::gemm).calls, 0);
}

// A GPU's own time arrives with collect_times, once, and for all streams that count together.
TEST(Stream, OpsAreTimedByTheirDevice) {
  const bool gpu = testing::device().type == DeviceType::cuda;
  testing::Tensor x(DType::f32, {1 << 20});
  Stream first(testing::device()), second(&first);
  first.time_ops();
  const auto begin = std::chrono::steady_clock::now();
  fill_zero(first, x);
  fill_zero(second, x);
  EXPECT_EQ(first.totals(OpKind::elementwise).seconds > 0, !gpu);
  first.collect_times();
  const double seconds = second.totals(OpKind::elementwise).seconds;
  EXPECT_GT(seconds, 0);
  EXPECT_LE(seconds, 2 * std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()) << "two ops";
  first.collect_times();
  EXPECT_EQ(second.totals(OpKind::elementwise).seconds, seconds);
}

TEST(Measure, SecondsAreThoseOfTheWork) {
  Stream stream(testing::device());
  testing::Tensor x(DType::f32, {1 << 20});
  const auto fills = [&](int count) {
    return seconds_of(stream, [&] {
      for (int i = 0; i < count; ++i) fill_zero(stream, x);
    });
  };
  fills(1);
  EXPECT_GT(fills(1), 0);
  EXPECT_GT(fills(200), fills(1));
}

TEST(Measure, RandomValuesFillAWholeTensor) {
  Stream stream(testing::device());
  for (const DType dtype : {DType::f32, DType::bf16}) {
    testing::Tensor a(dtype, {1025, 1030}), b(dtype, a.shape());
    fill_random(stream, a, 1);
    fill_random(stream, b, 2);
    const std::vector<double> values = a.values(), others = b.values();
    double sum = 0, squares = 0;
    for (const double value : values) {
      sum += value;
      squares += value * value;
    }
    const auto count = static_cast<double>(values.size());
    EXPECT_NEAR(sum / count, 0, 0.01);
    EXPECT_NEAR(squares / count, 1, 0.01);
    EXPECT_NE(values.back(), 0);
    EXPECT_NE(values, others);
  }
}

TEST(Stream, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int kind = 0; kind < static_cast<int>(OpKind::count); ++kind) names.insert(name_of(static_cast<OpKind>(kind)));
  EXPECT_EQ(names.size(), static_cast<size_t>(OpKind::count));
  EXPECT_STREQ(name_of(OpKind::reduction), "reduction");
}

TEST(Stream, OnAGpuOnlyWithTheCudaSide) {
  const Device gpu{DeviceType::cuda, 0};
  if (!cuda::linked()) {
    try {
      Stream stream(gpu);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::hardware);
      EXPECT_STREQ(error.what(), "this program was built without CUDA: it trains on cpu ranks only");
    }
    return;
  }
  Stream first(gpu), second(gpu);
  EXPECT_NE(first.gpu(), second.gpu());
  Event event;
  event.wait(second);  // nothing was recorded
  event.record(first);
  event.wait(second);
  second.synchronize();
}

// Where the arena lies, its tensors do: zeroed, and too much of it is said at once.
TEST(Arena, LiesOnTheDeviceOfTheTests) {
  constexpr int64_t kCount = 1000;
  Arena arena(kCount * 4 + Arena::kAlignment, testing::device());
  const TensorView tensor = arena.carve("weights", "w", DType::i32, {kCount});
  EXPECT_EQ(tensor.device, testing::device());
  Stream stream(testing::device());
  std::vector<int32_t> values(kCount, 7);
  download(stream, values.data(), tensor);
  EXPECT_EQ(values, std::vector<int32_t>(kCount, 0));
  try {
    const Arena huge(int64_t{1} << 60, testing::device());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::memory);
    const std::string where = testing::device().type == DeviceType::cuda ? "on this GPU" : "on this host";
    EXPECT_NE(std::string(error.what()).find(where), std::string::npos) << error.what();
  }
}

TEST(Transfer, ValuesGoThereAndBack) {
  Stream stream(testing::device());
  testing::Tensor tensor(DType::i32, {3});
  const int32_t source[3] = {4, 5, 6};
  int32_t result[3] = {};
  upload(stream, tensor, source);
  download(stream, result, tensor);
  EXPECT_EQ(tensor.values(), (std::vector<double>{4, 5, 6}));
  EXPECT_EQ(result[2], 6);
}

}  // namespace
}  // namespace drover
