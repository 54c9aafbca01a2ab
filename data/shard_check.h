// The checksums of the shards, verified while training runs: opening does not read them, and a flipped bit of a token is a token.
#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/shard.h"

namespace drover {

// What to say of a shard whose payload does not have the checksum of its header.
std::string checksum_problem(const Shard& shard);

// A thread that reads, once, the shards of the directories whose number in the order of the dataset is `rank` modulo `ranks`: all ranks
// together read each shard once. It has the lowest priority, reads 64 KiB at a time and `bytes_a_second` at most.
class ShardCheck {
 public:
  static constexpr double kRate = 64e6;  // bytes a second: some percent of a core
  ShardCheck(std::vector<std::string> directories, int rank, int ranks, double bytes_a_second = kRate);
  ~ShardCheck();  // stops it, and waits for a read that runs
  ShardCheck(const ShardCheck&) = delete;
  ShardCheck& operator=(const ShardCheck&) = delete;

  void rethrow() const;  // throws what was found: Error(data) naming the shard; at once
  bool done() const;     // all are read, or one was found damaged, or stop() came
  // Ends it, and waits for `seconds` at most; false when a read is under way then, which may never end.
  bool stop(double seconds);

 private:
  void work(const std::vector<std::string>& directories, int rank, int ranks, double bytes_a_second);
  bool verify(const std::filesystem::path& path, double bytes_a_second);  // false when it was stopped
  struct State;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

}  // namespace drover
