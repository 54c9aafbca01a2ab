// Text to token shards. The shards depend on the inputs and the options alone, not on the number of workers.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace drover {

struct PrepareOptions {
  std::string tokenizer = "bytes";
  std::filesystem::path out;
  std::vector<std::filesystem::path>
      inputs;       // plain text (a file is a document), .jsonl or .ndjson (a line is one); each also .gz and .zst
  int workers = 0;  // 0: the cores of the affinity mask
  std::string jsonl_field = "text";
  int64_t shard_tokens = int64_t{1} << 28;  // of each shard but the last
  double validation_tail = 0;  // share of the text, at its end, that goes to OUT/validation (and the rest to OUT/train)
};

struct PrepareResult {
  int64_t documents = 0, tokens = 0, bytes = 0;
  int shards = 0;
  bool already_prepared = false;  // the same inputs and options made what is there
};

struct PrepareProgress {
  int64_t bytes = 0, documents = 0, tokens = 0;
  int64_t total = 0;      // bytes of all text; 0: not known
  bool counting = false;  // a first pass over the text, to find where the validation tail begins
};

// Each document becomes: begin, its tokens, end. Throws Error(data) for inputs that are missing, damaged (JSONL: file:line) or without text and for an
// output directory that something else was prepared in; Error(storage) for a full disk. Nothing half-written keeps a final name.
// A directory whose shards are missing or do not open is prepared again. `progress` may be empty.
PrepareResult prepare(const PrepareOptions& options, const std::function<void(const PrepareProgress&)>& progress);

}  // namespace drover
