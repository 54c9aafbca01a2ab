// The verdicts, from measurements that are made up: each no-go by the one value that makes it.
#include <gtest/gtest.h>

#include "trainer/doctor/checks.h"

namespace drover {
namespace {

using Ranks = std::vector<Facts>;

Facts healthy(int rank, const std::string& host) {
  return {.rank = rank,
          .host = host,
          .build = "drover 1",
          .libraries = "MPI 4",
          .instruction_set = "avx2",
          .kernel = "Linux 6",
          .locked_memory = 8'000'000,
          .open_files = 1024,
          .shared_memory = 1'000'000'000,
          .online_cores = 4,
          .own_cores = 2,
          .cores = {0, 1, 2, 3},
          .measured_disk = rank % 2 == 0,
          .write_rate = 1e9,
          .read_rate = 2e9,
          .free_space = 20'000'000'000};
}

struct Doctor : ::testing::Test {
  Ranks ranks{healthy(0, "hosta"), healthy(1, "hosta"), healthy(2, "hostb"), healthy(3, "hostb")};
  Needs needs{.directory = "runs/x", .checkpoint_bytes = 4'000'000'000, .checkpoints = 4, .threads = 2};
  Network network{
      .works = true, .small_seconds = 1e-5, .large_seconds = 0.1, .large_bytes = 1e8, .links = {{"hosta", "hostb", 1e-5, 1e9}}};
  std::string unheard;

  std::vector<Check> checks() const {
    std::vector<Check> all = check_machine(ranks, needs);
    for (const Check& check : check_together(ranks, network, unheard)) all.push_back(check);
    return all;
  }
  // Exactly this check is a no-go, it shows these words, and it has a remedy.
  void expect_no_go(const std::string& name, const std::vector<std::string>& words) const {
    const std::vector<Check> all = checks();
    const std::string table = doctor_table(all, "title");
    EXPECT_FALSE(all_go(all)) << table;
    for (const Check& check : all) {
      EXPECT_EQ(check.go, check.name != name) << table;
      if (check.name != name) continue;
      EXPECT_FALSE(check.remedy.empty());
      for (const std::string& word : words) EXPECT_NE(check.measured.find(word), std::string::npos) << word << " in " << table;
    }
    EXPECT_NE(table.find("NO-GO  " + name), std::string::npos) << table;
    EXPECT_EQ(table.substr(table.rfind('\n', table.size() - 2)), "\nno-go: " + name + "\n");
  }
};

TEST_F(Doctor, HealthyMachinesGo) {
  const std::vector<Check> all = checks();
  EXPECT_TRUE(all_go(all));
  const std::string table = doctor_table(all, "title");
  for (const char* line : {"title\n", "go     versions          drover 1; MPI 4; avx2; Linux 6", "8 MB on hosta; no InfiniBand",
                           "1024 on hosta; 4 ranks need 168", "1.0 GB free in /dev/shm on hosta; 2 ranks need 34 MB",
                           "4 of 4 cores on hosta for 2 ranks of 2 threads, not bound",
                           "writes 1.0 GB/s with fsync, reads 2.0 GB/s; a checkpoint of 4.0 GB takes 2.0 s",
                           "20.0 GB in runs/x; 4 checkpoints of 4.0 GB need 16.0 GB",
                           "all-reduce over 4 ranks: 8 bytes in 10.0 µs, 100 MB in 100.0 ms (1.0 GB/s)", "hosta to hostb: 1.0 GB/s",
                           "hostb is 0.0 µs ahead of hosta"})
    EXPECT_NE(table.find(line), std::string::npos) << line << " is not in\n" << table;
  EXPECT_EQ(table.substr(table.size() - 4), "\ngo\n");
}

TEST_F(Doctor, CheckpointsThatAreThereNeedNoRoom) {
  needs.more = true;
  needs.checkpoints = 1;
  ranks[0].free_space = 5'000'000'000;
  const std::string table = doctor_table(checks(), "title");
  EXPECT_NE(table.find("5.0 GB in runs/x; 1 more checkpoint of 4.0 GB need"), std::string::npos) << table;
  EXPECT_TRUE(all_go(checks())) << table;
}

TEST_F(Doctor, OtherBuildOrLibraries) {
  ranks[3].libraries = "MPI 5";
  expect_no_go("versions", {"hostb: drover 1; MPI 5, but hosta: drover 1; MPI 4"});
  ranks[3] = healthy(3, "hostb");
  ranks[2].build = "drover 2";
  expect_no_go("versions", {"hostb: drover 2; MPI 4, but hosta: drover 1"});
}

TEST_F(Doctor, LockedMemory) {
  ranks[2].locked_memory = 16'000;
  expect_no_go("locked memory", {"16 kB on hostb"});
  ranks[2].locked_memory = -1;
  EXPECT_TRUE(all_go(checks()));
  ranks[2].rdma = true;
  expect_no_go("locked memory", {"8 MB on hosta; its InfiniBand needs it unlimited"});
  for (Facts& rank : ranks) rank.locked_memory = -1;
  EXPECT_TRUE(all_go(checks()));
}

TEST_F(Doctor, OpenFiles) {
  ranks[1].open_files = 100;
  expect_no_go("open files", {"100 on hosta; 4 ranks need 168"});
  for (Facts& rank : ranks) rank.open_files = -1;
  EXPECT_TRUE(all_go(checks()));
}

TEST_F(Doctor, SharedMemory) {
  ranks[2].shared_memory = 33'000'000;
  expect_no_go("shared memory", {"33 MB free in /dev/shm on hostb; 2 ranks need 34 MB"});
  ranks[2].shared_memory = -1;
  expect_no_go("shared memory", {"nothing free in /dev/shm on hostb"});
}

TEST_F(Doctor, Cores) {
  needs.threads = 3;
  expect_no_go("cores", {"4 of 4 cores on hosta for 2 ranks of 3 threads"});
  needs.threads = 0;
  EXPECT_TRUE(all_go(checks()));
  ranks[2].cores = ranks[3].cores = {1};
  ranks[2].own_cores = ranks[3].own_cores = 1;
  expect_no_go("cores", {"1 of 4 cores on hostb for 2 ranks of 1 thread, rank 2 bound to 1 of 4"});
  ranks[3].cores = {2};  // a core each
  EXPECT_TRUE(all_go(checks()));
  for (Facts& rank : ranks) rank.cores = {0}, rank.online_cores = rank.own_cores = 1;  // a small machine: they take turns
  EXPECT_TRUE(all_go(checks()));
}

TEST_F(Doctor, Disk) {
  ranks[2].disk_error = "cannot create runs/x/doctor: Permission denied";
  expect_no_go("disk", {"hostb: cannot create runs/x/doctor: Permission denied"});
  ranks[2].disk_error = "";
  ranks[0].write_rate = 1e6;
  ranks[2].write_rate = 2e6;
  expect_no_go("disk", {"runs/x on hosta: writes 1 MB/s with fsync", "takes 22 min 13 s"});
}

TEST_F(Doctor, FreeSpace) {
  ranks[0].free_space = 15'000'000'000;
  expect_no_go("free space", {"15.0 GB in runs/x; 4 checkpoints of 4.0 GB need 16.0 GB"});
  needs = {.directory = "runs"};
  EXPECT_TRUE(all_go(checks()));
  ranks[0].free_space = 900'000'000;
  expect_no_go("free space", {"900 MB in runs; no configuration was given, 1.0 GB are asked for"});
}

TEST_F(Doctor, Mpi) {
  network.works = false;
  expect_no_go("MPI", {"a sum came out wrong over 4 ranks"});
  network.works = true;
  network.small_seconds = 0.12;
  expect_no_go("MPI", {"8 bytes in 120.0 ms"});
}

TEST_F(Doctor, TheNetworkBetweenHosts) {
  network.links.push_back({"hostb", "hostc", 1e-5, 9e6});
  expect_no_go("network", {"slowest hostb to hostc: 9 MB/s"});
  network.links.back() = {"hostb", "hostc", 0.2, 1e9};
  expect_no_go("network", {"latest hostb to hostc: 200.0 ms"});
  network.links.clear();  // one host: nothing to say
  for (const Check& check : checks()) EXPECT_NE(check.name, "network");
}

TEST_F(Doctor, HeartbeatDirectoryAndClocks) {
  unheard = "rank 1@hosta cannot reach rank 2@hostb";
  expect_no_go("heartbeat", {unheard});
  unheard = "";
  ranks[2].same_directory = false;
  expect_no_go("shared directory", {"hostb does not see what hosta wrote"});
  ranks[2].same_directory = true;
  ranks[2].clock_ahead = -90;
  ranks[2].clock_uncertainty = 0.001;
  expect_no_go("clocks", {"hostb is 1 min 30 s behind hosta (± 1.0 ms)"});
  ranks[2].clock_ahead = 0.5;
  EXPECT_TRUE(all_go(checks()));
}

}  // namespace
}  // namespace drover
