// Text to token shards. The shards depend on the inputs and the options alone: not on workers, processes, or how often it was stopped and gone on with.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/encode.h"
#include "data/inputs.h"

namespace drover {

struct PrepareOptions {
  std::string tokenizer = "bytes";
  std::filesystem::path out;
  std::vector<std::filesystem::path> inputs;  // files, patterns, or "-" (data/inputs.h)
  int workers = 0;                            // 0: the cores of the affinity mask
  std::string jsonl_field = "text";
  int64_t shard_tokens = int64_t{1} << 28;  // of each shard but a unit's last
  double validation_tail = 0;  // share of the text, at its end, that goes to OUT/validation (and the rest to OUT/train)
  double validation_share =
      0;  // or: of the documents, those whose hash (data/document_hash.h) has a high half below this share of 2^64
  bool deduplicate = false;         // of documents with the same hash only the first, in the order of the inputs, is kept
  bool replace_ill_formed = false;  // ill-formed UTF-8 becomes U+FFFD; else it is a bad record, and ends the whole as plain text
  int64_t max_bad = 0;              // records without text that are left out
  std::string column = "text";      // of Parquet
  std::string standard_input_format;
  int64_t unit_bytes = kUnitBytes;
  int processes = 1;  // that take part, this one included
};

struct PrepareResult {
  int64_t documents = 0, tokens = 0, bytes = 0;
  int shards = 0;
  int64_t duplicates = 0;
  BadRecords bad;
  bool already_prepared = false;  // the same inputs and options made what is there
};

struct PrepareProgress {
  int64_t bytes = 0, documents = 0, tokens = 0;  // of text and what became of it, by this process
  int64_t position = 0, size = 0;                // bytes of the input files, compressed as they are; size 0: not known
  bool surveying = false;                        // a first pass, for hashes or the place where the validation tail begins
};

// Each document becomes: begin, its tokens, end. Where a prepare of the same inputs and options was stopped, this one goes on; where one runs, this one
// takes a part of its units. Throws Error(data) for inputs that are missing, damaged (file:line) or without text, for more bad records than allowed, and
// for an output directory that something else was prepared in; Error(storage) for a full disk. Nothing half-written keeps a final name.
// A directory whose shards are missing or do not open is prepared again. `progress` may be empty; it is called by one thread at a time.
PrepareResult prepare(const PrepareOptions& options, const std::function<void(const PrepareProgress&)>& progress);

}  // namespace drover
