#include "kernels/stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "kernels/transfer.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

TEST(Stream, TotalsAddUpByKindAndReset) {
  Stream stream;
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

TEST(Stream, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int kind = 0; kind < static_cast<int>(OpKind::count); ++kind) names.insert(name_of(static_cast<OpKind>(kind)));
  EXPECT_EQ(names.size(), static_cast<size_t>(OpKind::count));
  EXPECT_STREQ(name_of(OpKind::reduction), "reduction");
}

TEST(Transfer, ValuesGoThereAndBack) {
  Stream stream;
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
