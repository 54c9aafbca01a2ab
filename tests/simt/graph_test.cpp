// CUDA graphs on the stand-in (kernels/graph.h): what is kept at a capture, and what spoils it.
#include "kernels/graph.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/device.h"
#include "tests/simt/streams.h"

namespace drover::cuda {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

void multiply_kernel(int* y, const int* x, int factor) { *y = factor * *x; }

// y = factor * x, by a graph.
Graph capture_multiply(Stream& stream, int* y, const int* x, int factor) {
  Capture capture(stream);
  launch(multiply_kernel, {1, 1}, stream.gpu(), y, x, factor);
  return capture.end();
}

TEST(Graph, KeepsValuesAndReadsMemoryWhenItIsLaunched) {
  Stream stream(kGpu);
  int x = 5, y = 0, factor = 2;
  const Graph graph = capture_multiply(stream, &y, &x, factor);
  stream.synchronize();
  EXPECT_EQ(y, 0) << "done at the capture";
  x = 7;
  factor = 3;
  for (int launches = 1; launches <= 2; ++launches) {
    y = 0;
    graph.launch(stream);
    stream.synchronize();
    EXPECT_EQ(y, 14) << "launch " << launches;
  }
}

TEST(Graph, OneLaunchIsCountedForAll) {
  Stream stream(kGpu);
  int x = 1, middle = 0, y = 0;
  const simt::Counts before = simt::counts();
  Capture capture(stream);
  launch(multiply_kernel, {1, 1}, stream.gpu(), &middle, &x, 2);
  ASSERT_EQ(cudaMemcpyAsync(&y, &middle, sizeof y, cudaMemcpyDeviceToDevice, stream.gpu()), cudaSuccess);
  const Graph graph = capture.end();
  graph.launch(stream);
  stream.synchronize();
  EXPECT_EQ(y, 2);
  const simt::Counts after = simt::counts();
  EXPECT_EQ(after.launches - before.launches, 0);
  EXPECT_EQ(after.copies - before.copies, 0);
  EXPECT_EQ(after.graph_launches - before.graph_launches, 1);
}

TEST(Graph, OfNothingIsEmpty) {
  Stream stream(kGpu);
  const int64_t launches = simt::counts().graph_launches;
  Capture capture(stream);
  const Graph graph = capture.end();
  EXPECT_TRUE(graph.empty());
  graph.launch(stream);
  EXPECT_EQ(simt::counts().graph_launches, launches);
}

// The host's memory is read by the launch, pinned or not: a copy of a value that is gone by then shows.
TEST(Graph, CopiesFromTheHostReadLate) {
  Stream stream(kGpu);
  int from = 1, to = 0;
  Capture capture(stream);
  ASSERT_EQ(cudaMemcpyAsync(&to, &from, sizeof to, cudaMemcpyHostToDevice, stream.gpu()), cudaSuccess);
  const Graph graph = capture.end();
  from = 2;
  graph.launch(stream);
  stream.synchronize();
  EXPECT_EQ(to, 2);
}

TEST(Graph, WaitingAndMemorySpoilACapture) {
  Stream stream(kGpu), other(kGpu);
  Event recorded, unused;
  recorded.record(other);
  int x = 1, y = 0;
  const std::map<std::string, std::function<void()>> spoilers{{"synchronize", [&] { stream.synchronize(); }},
                                                              {"wait", [&] { recorded.wait(stream); }},
                                                              {"record", [&] { unused.record(stream); }},
                                                              {"memory", [&] { release(allocate(1, 0)); }},
                                                              {"the default stream", [&] {
                                                                 launch(multiply_kernel, {1, 1}, nullptr, &y, &x, 2);
                                                               }}};
  for (const auto& [name, spoil] : spoilers) {
    Capture capture(stream);
    EXPECT_THROW(spoil(), Error) << name;
    EXPECT_THROW(capture.end(), Error) << name;
    EXPECT_NO_THROW(capture_multiply(stream, &y, &x, 2).launch(stream)) << "after " << name;
    stream.synchronize();
  }
  EXPECT_EQ(y, 2);
}

TEST(Graph, ThatIsGivenUpLeavesTheStreamAsItWas) {
  Stream stream(kGpu);
  int x = 1, y = 0;
  {
    const Capture capture(stream);
    launch(multiply_kernel, {1, 1}, stream.gpu(), &y, &x, 2);
  }
  launch(multiply_kernel, {1, 1}, stream.gpu(), &y, &x, 3);
  stream.synchronize();
  EXPECT_EQ(y, 3);
}

TEST(Graph, LivesAsLongAsItsOwner) {
  const int64_t before = simt::live_graphs();
  Stream stream(kGpu);
  int x = 1, y = 0;
  {
    Graph graph = capture_multiply(stream, &y, &x, 2);
    EXPECT_EQ(simt::live_graphs(), before + 1);
    graph.launch(stream);
    graph = capture_multiply(stream, &y, &x, 3);
    EXPECT_EQ(simt::live_graphs(), before + 1);
  }
  EXPECT_EQ(simt::live_graphs(), before);
  stream.synchronize();
  EXPECT_EQ(y, 2) << "a launch is done though its graph is gone";
}

}  // namespace
}  // namespace drover::cuda
