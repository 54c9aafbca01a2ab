#include "trainer/gpu_map.h"

#include <gtest/gtest.h>

namespace drover {
namespace {

// Hosts of `gpus` ranks each, one a GPU, two NUMA nodes.
std::vector<RankGpu> cluster(int hosts, int gpus) {
  std::vector<RankGpu> all;
  for (int host = 0; host < hosts; ++host)
    for (int gpu = 0; gpu < gpus; ++gpu)
      all.push_back({"node" + std::to_string(host), "boot" + std::to_string(host), "0000:" + std::to_string(10 + gpu) + ":00.0",
                     gpu < gpus / 2 ? 0 : 1});
  return all;
}

TEST(GpuMap, AThousandRanksOnHostsThatAreAlikeAreOneLine) {
  const std::vector<std::string> lines = gpu_map(cluster(256, 4));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0],
            "gpus    256 hosts from node0 (ranks 0 to 3) to node255 (ranks 1020 to 1023): NUMA node 0: 0000:10:00.0, 0000:11:00.0; "
            "NUMA node 1: 0000:12:00.0, 0000:13:00.0 on each");
}

TEST(GpuMap, AHostThatDiffersHasALineOfItsOwn) {
  std::vector<RankGpu> gpus = cluster(3, 2);
  gpus[2].numa_node = -1;
  const std::vector<std::string> lines = gpu_map(gpus);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1], "gpus    node1 (ranks 2 to 3): NUMA node unknown: 0000:10:00.0; NUMA node 1: 0000:11:00.0");
}

TEST(GpuMap, RanksDealtOverHostsAndSharedGpus) {
  std::vector<RankGpu> gpus = cluster(2, 2);
  std::swap(gpus[1], gpus[2]);  // node0: ranks 0 and 2
  EXPECT_EQ(gpu_map(gpus)[0].substr(0, 61), "gpus    2 hosts from node0 (ranks 0, 2) to node1 (ranks 1, 3)");
  gpus[2] = gpus[0];
  EXPECT_EQ(gpu_map(gpus)[0], "gpus    node0 (ranks 0, 2): NUMA node 0: 0000:10:00.0 for 2 ranks");
}

TEST(GpuMap, HostsThatAllDifferAreBounded) {
  std::vector<RankGpu> gpus = cluster(100, 1);
  for (size_t host = 0; host < gpus.size(); ++host) gpus[host].bus_id = std::to_string(host);
  const std::vector<std::string> lines = gpu_map(gpus);
  ASSERT_EQ(lines.size(), 17u);
  EXPECT_EQ(lines.back(), "gpus    84 hosts more, of other addresses");
}

TEST(GpuMap, CrowdedIsWhatRanksPerGpuDoesNotAllow) {
  std::vector<RankGpu> gpus = cluster(2, 4);
  EXPECT_EQ(crowded_gpu(gpus, 1), "");
  gpus[6].bus_id = gpus[5].bus_id;
  EXPECT_EQ(crowded_gpu(gpus, 2), "");
  EXPECT_EQ(crowded_gpu(gpus, 1).substr(0, 87),
            "ranks 5 to 6 on node1 have the same GPU, 0000:11:00.0: run.ranks_per_gpu is 1. One rank");
  EXPECT_NE(crowded_gpu(gpus, 1).find("`run.ranks_per_gpu: 2`"), std::string::npos);
}

// Containers of one image may all be called localhost.
TEST(GpuMap, HostsOfOneNameAreToldApart) {
  std::vector<RankGpu> gpus = cluster(2, 1);
  for (RankGpu& gpu : gpus) gpu.host = "localhost";
  EXPECT_EQ(crowded_gpu(gpus, 1), "");
}

}  // namespace
}  // namespace drover
