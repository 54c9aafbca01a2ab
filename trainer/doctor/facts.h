// What a run needs of the machine, as one rank finds it without the others.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "parallel/world.h"

namespace drover {

struct Facts {
  int rank = 0;
  std::string host, build, libraries, instruction_set, kernel;
  int64_t locked_memory = 0, open_files = 0;  // soft limits; bytes, files; -1: unlimited
  bool rdma = false;                          // InfiniBand or RoCE: its transports lock the memory they send from
  int64_t shared_memory = 0;                  // bytes free in /dev/shm; -1: there is none
  int online_cores = 0;                       // of the host
  int own_cores = 1;                          // that it keeps busy where run.threads does not say
  std::vector<int> cores;                     // that this rank may run on
  // Of the run directory; of the first rank on each host.
  bool measured_disk = false;
  std::string disk_error;                         // empty: it can be written
  double write_rate = 0, read_rate = 0;           // bytes/s, fsync included; read from the disk where it lets go of its cache
  int64_t free_space = 0;                         // bytes
  bool same_directory = true;                     // as rank 0's
  double clock_ahead = 0, clock_uncertainty = 0;  // of rank 0's clock, seconds
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Facts, rank, host, build, libraries, instruction_set, kernel, locked_memory, open_files, rdma,
                                   shared_memory, online_cores, own_cores, cores, measured_disk, disk_error, write_rate, read_rate,
                                   free_space, same_directory, clock_ahead, clock_uncertainty)

// `libraries`: their versions, as a person reads them.
Facts local_facts(const LauncherView& view, const std::string& libraries);

// Writes, syncs, reads and removes a file of `bytes` (less where a quarter of the free space is less) in `directory`, which is made where
// it is missing. A failure is facts.disk_error.
void measure_disk(Facts& facts, const std::filesystem::path& directory, int64_t bytes);

}  // namespace drover
