// history.jsonl: what happened to a run. One object a start, one a stretch of training, one an end; nothing is ever taken back. A start
// without an end was killed, or is still running. docs/run_directory.md has the fields.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/load.h"
#include "kernels/base/error.h"

namespace drover {

struct RunStart {
  std::string time;  // UTC, "2026-11-24T22:18:18Z"
  std::string host;  // of rank 0
  int64_t ranks = 1, threads = 1;
  std::string layout, build, instruction_set;
  std::string dataset;                    // hash of data.train
  int64_t step = 0;                       // that it goes on from; 0: fresh
  std::string checkpoint;                 // that it was loaded from; "": none
  std::vector<ConfigDifference> changed;  // settings, against the start before
};

struct RunEnd {
  std::string time;
  std::string reason;  // done | signal | error
  int exit_code = 0;
  std::string message;  // of an error
  int64_t step = 0;     // the last one finished
};

using Seconds = std::vector<std::pair<std::string, double>>;  // by part (trainer/time_split.h), of rank 0
void add_seconds(Seconds& sums, const std::string& part, double seconds);

class History {
 public:
  // `active`: this rank writes (rank 0). Another rank writes an error's end only, when it alone knows of it.
  History(const std::filesystem::path& run_directory, bool active);
  void started(const RunStart& start);
  void reached(int64_t step) { step_ = step; }
  void saved() { ++saves_; }
  void spent(const Seconds& seconds);                               // the stretch of training since the last call
  void ended(ExitCode code, const Seconds& seconds);                // done or requeue, and the last stretch
  void failed(ExitCode code, const std::string& message) noexcept;  // from any thread

 private:
  void append(const std::string& line) const;
  std::filesystem::path path_;
  bool active_;
  std::atomic<bool> started_ = false;
  std::atomic<int64_t> step_ = 0, saves_ = 0;
};

// One start and what is known of it.
struct Session {
  RunStart start;
  Seconds seconds;        // sums, in order of first appearance
  int64_t step = 0;       // the last step it is known to have finished
  int64_t saves = 0;      // checkpoints written
  std::string last_time;  // of the last row
  std::optional<RunEnd> end;
};
std::vector<Session> read_history(const std::filesystem::path& run_directory);  // empty when there is none

double seconds_between(const std::string& from, const std::string& to);  // times as in RunStart

}  // namespace drover
