// The work on one unit: its files, read in order by one thread, encoded piece by piece by the pool, and written in order.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "data/prepare.h"
#include "data/prepare_output.h"
#include "data/survey.h"
#include "data/tokenizer.h"
#include "data/unit_journal.h"
#include "data/worker_pool.h"

namespace drover {

// What the units of one process have in common while they run.
class PrepareMonitor {
 public:
  PrepareMonitor(const PrepareOptions& options, int64_t size, const std::function<void(const PrepareProgress&)>& progress);
  void surveying(bool on);
  // Adds to the progress, and shows it. Throws Error(data) when there are more bad records than allowed, and an error of no words after stop().
  void add(const PrepareProgress& more, const BadRecords& bad);
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

 private:
  const PrepareOptions& options_;
  const std::function<void(const PrepareProgress&)>& progress_;
  std::mutex mutex_;
  PrepareProgress sum_;
  BadRecords bad_;
  std::atomic<bool> stopped_ = false;
};

// Throws Error(data) when there are more than `most`; the error of one that is not allowed at all is that record.
void require_few(const BadRecords& bad, int64_t most);

struct UnitWork {
  int unit;
  std::vector<Input> inputs;
  const PrepareOptions& options;
  const Tokenizer& tokenizer;
  WorkerPool& pool;
  PrepareMonitor& monitor;
  size_t depth;  // pieces that are encoded at once
};

// Writes the unit's survey to `path`; `hashes`: of its documents, too.
void survey_unit(const UnitWork& work, const std::filesystem::path& path, bool hashes);

// What decides where documents go, besides themselves.
struct UnitVerdicts {
  std::optional<int64_t> cut;             // bytes of the unit's text before the validation tail; may lie outside of it
  std::vector<DocumentHash> plain_texts;  // where they are needed: of each file of plain text, by its number in the unit
  std::span<const uint64_t> dropped;      // ascending keys of documents that were there before
};

// What a unit became.
struct UnitResult {
  struct Totals {
    int64_t documents = 0, tokens = 0, shards = 0;
  };
  std::array<Totals, kParts> parts;
  int64_t bytes = 0;
  UnitTally tally;
  std::string to_json() const;
  static UnitResult from_json(const std::string& text);
};

// Goes on where the unit's journal ends. `parts`: 1 (train) or 2.
UnitResult make_unit(const UnitWork& work, const PrepareOutput& output, size_t parts, const UnitVerdicts& verdicts);

}  // namespace drover
