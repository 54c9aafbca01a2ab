// Planted bugs of kernels, each of which the stand-in must find.
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "kernels/cuda/block.h"
#include "kernels/stream.h"
#include "tests/simt/streams.h"

namespace drover::testing {

void settle() { simt::drain_all(); }  // for tests of ops (tests/kernels/testing.h)

}  // namespace drover::testing

namespace drover::cuda {
namespace {

constexpr int kThreads = 64;

// y = the sum over the block, in every thread.
template <bool Barrier> void block_sum_kernel(float* y, const float* x) {
  float* const values = shared_memory<float>();
  values[threadIdx.x] = x[threadIdx.x];
  if (Barrier) __syncthreads();
  float sum = 0;
  for (int i = 0; i < kThreads; ++i) sum += values[i];
  y[threadIdx.x] = sum;
}

void scale_kernel(float* y, const float* x, int64_t count, int64_t beyond) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count + beyond) y[i] = 2 * x[i];
}

void lanes_kernel(float* y, int lanes) {
  if (threadIdx.x < static_cast<unsigned>(lanes)) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<float>(threadIdx.x), 1);
}

// One thread in the other half of the block takes part in no barrier, and then in a barrier of its own.
void divergent_kernel(float* y) {
  if (threadIdx.x < kThreads / 2) {
    __syncthreads();
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  }
  __syncthreads();
}

std::vector<float> counting() {
  std::vector<float> x(kThreads);
  for (int i = 0; i < kThreads; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i);
  return x;
}

int wrong_sums(void (*kernel)(float*, const float*), int seeds) {
  const std::vector<float> x = counting();
  int wrong = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    std::vector<float> y(kThreads);
    simt::set_seed(static_cast<uint64_t>(seed));
    launch(kernel, {1, kThreads, kThreads * static_cast<int64_t>(sizeof(float))}, nullptr, y.data(), x.data());
    constexpr int kSum = kThreads * (kThreads - 1) / 2;
    for (float sum : y) wrong += sum != static_cast<float>(kSum);
  }
  return wrong;
}

TEST(Simt, ABarrierMakesTheSumRightInAnyOrder) { EXPECT_EQ(wrong_sums(block_sum_kernel<true>, 20), 0); }
TEST(Simt, AMissingBarrierShows) { EXPECT_GT(wrong_sums(block_sum_kernel<false>, 1), kThreads / 2); }

TEST(Simt, AnAccessOutsideAnAllocationStopsTheTest) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<float> x = counting();
  std::vector<float> y(kThreads);
  launch(scale_kernel, {2, kThreads}, nullptr, y.data(), x.data(), kThreads, 0);
  EXPECT_EQ(y[5], 10);
  EXPECT_DEATH(launch(scale_kernel, {2, kThreads}, nullptr, y.data(), x.data(), kThreads, 1), "heap-buffer-overflow");
}

TEST(Simt, SharedMemoryEndsWhereTheLaunchSays) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<float> x = counting();
  std::vector<float> y(kThreads);
  EXPECT_DEATH(launch(block_sum_kernel<true>, {1, kThreads, (kThreads - 1) * static_cast<int64_t>(sizeof(float))}, nullptr,
                      y.data(), x.data()),
               "heap-buffer-overflow");
}

TEST(Simt, AnExchangeNeedsAllLanesOfItsMask) {
  std::vector<float> y(kWarp);
  launch(lanes_kernel, {1, kWarp}, nullptr, y.data(), kWarp);
  EXPECT_EQ(y[6], 7);
  EXPECT_THROW(launch(lanes_kernel, {1, kWarp}, nullptr, y.data(), kWarp - 1), simt::Failure);
}

TEST(Simt, ADivergentBarrierIsAnError) {
  std::vector<float> y(kThreads);
  EXPECT_THROW(launch(divergent_kernel, {1, kThreads}, nullptr, y.data()), simt::Failure);
}

TEST(Simt, WhatNoGpuTakesIsRefused) {
  std::vector<float> y(1);
  EXPECT_THROW(launch(lanes_kernel, {1, 2048}, nullptr, y.data(), 0), simt::Failure);
  EXPECT_THROW(launch(lanes_kernel, {1, kWarp, 228 * 1024}, nullptr, y.data(), 0), simt::Failure);
}

// A wrong reduction: what a warp's lanes do not combine is missing in the block's sum.
TEST(Simt, AReductionThatForgetsALevelIsWrong) {
  const auto kernel = +[](float* y, int first_distance) {
    float value = 1;
    for (int distance = first_distance; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if (threadIdx.x == 0) *y = value;
  };
  float sum = 0;
  launch(kernel, {1, kWarp}, nullptr, &sum, kWarp / 2);
  EXPECT_EQ(sum, kWarp);
  launch(kernel, {1, kWarp}, nullptr, &sum, kWarp / 4);
  EXPECT_EQ(sum, kWarp / 2);
}

void put_kernel(int* y, const int* x) { *y = *x; }

// What a second stream reads after a first one wrote it, in as many orders of the streams.
int stale_reads(bool waits, int orders) {
  int stale = 0;
  for (int order = 0; order < orders; ++order) {
    simt::set_stream_seed(static_cast<uint64_t>(order));
    Stream first({DeviceType::cuda, 0}), second({DeviceType::cuda, 0});
    Event written;
    int x = 1, middle = 0, y = -1;
    launch(put_kernel, {1, 1}, first.gpu(), &middle, &x);
    written.record(first);
    if (waits) written.wait(second);
    launch(put_kernel, {1, 1}, second.gpu(), &y, &middle);
    second.synchronize();
    first.synchronize();
    stale += y != 1;
  }
  return stale;
}

TEST(Simt, OnlyEventsOrderStreams) {
  EXPECT_EQ(stale_reads(true, 50), 0);
  EXPECT_GT(stale_reads(false, 50), 5);
}

TEST(Simt, AWaitIsForWhatWasRecordedBefore) {
  Stream first({DeviceType::cuda, 0}), second({DeviceType::cuda, 0});
  Event event;
  event.record(first);
  event.wait(second);
  bool open = false;
  simt::enqueue(first.gpu(), [&] { return open; });
  event.record(first);
  second.synchronize();  // would not end if it waited for the second
  open = true;
  first.synchronize();
}

// Memory of the host that is not pinned is read before the call returns, pinned memory when the copy's turn comes.
TEST(Simt, PinnedMemoryIsReadLate) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, sizeof(int)), cudaSuccess);
  for (int* from : {static_cast<int*>(pinned), std::make_unique<int>().release()}) {
    Stream stream({DeviceType::cuda, 0});
    bool open = false;
    int to = 0;
    *from = 1;
    simt::enqueue(stream.gpu(), [&] { return open; });
    ASSERT_EQ(cudaMemcpyAsync(&to, from, sizeof(int), cudaMemcpyHostToDevice, stream.gpu()), cudaSuccess);
    *from = 2;
    open = true;
    stream.synchronize();
    EXPECT_EQ(to, from == pinned ? 2 : 1);
    if (from != pinned) delete from;
  }
  cudaFreeHost(pinned);
}

}  // namespace
}  // namespace drover::cuda
