// The checksums of the shards, verified while training runs: opening does not read them, and a flipped bit of a token is a token.
#pragma once
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "data/shard.h"

namespace drover {

// What to say of a shard whose payload does not have the checksum of its header.
std::string checksum_problem(const Shard& shard);

// A thread that reads, once, the shards of the directories whose number in the order of the dataset is `rank` modulo `ranks`: all ranks
// together read each shard once. It has the lowest priority and reads 64 KiB at a time.
class ShardCheck {
 public:
  struct Pace {
    double bytes_a_second = 64e6;  // at most: some percent of a core
    int tries = 3;                 // of what cannot be opened or read, each of which DataFile has tried several times
    double pause = 30;             // seconds between two
  };
  ShardCheck(std::vector<std::string> directories, int rank, int ranks, const Pace& pace);
  ~ShardCheck();  // stops it, and waits for a read that runs
  ShardCheck(const ShardCheck&) = delete;
  ShardCheck& operator=(const ShardCheck&) = delete;

  void rethrow() const;  // throws what was found: Error(data) naming the shard; at once
  bool done() const;     // all are read, or one was found damaged, or stop() came
  // Ends it, and waits for `seconds` at most; false when a read is under way then, which may never end.
  bool stop(double seconds);

 private:
  struct State;
  void work(const std::vector<std::string>& directories, int rank, int ranks) const;
  std::string problem_of(const std::filesystem::path& path) const;  // empty: none
  void several_times(const std::function<void()>& body) const;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

}  // namespace drover
