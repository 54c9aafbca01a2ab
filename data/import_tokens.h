// Token files of other programs as shards: copied, or referred to where they lie.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace drover {

struct ImportOptions {
  std::string format;  // import_formats()
  std::filesystem::path out;
  std::vector<std::filesystem::path> inputs;  // in this order
  std::string tokenizer;                      // whose ids these are; empty: not known, then `vocab` says how many there are
  int64_t vocab = 0;
  std::string dtype;  // of files that do not say it
  // Where documents end, for files that do not say it; one of the three. Every file ends a document.
  std::optional<int64_t> end_token, begin_token;  // after each, or before each
  bool whole_files = false;                       // nowhere else
  bool in_place = false;                          // shards refer to the files: 2 or 4 bytes a token only
  int64_t shard_tokens = int64_t{1} << 28;        // of each shard but the last; in place a file is a shard
};

struct ImportResult {
  int64_t documents = 0, tokens = 0, shards = 0;
  bool already_imported = false;  // the same inputs and options made what is there
};

// Throws Error(config) for options that do not go together, Error(data) naming file and offset for files that are damaged or hold a token
// outside the vocabulary, Error(storage) for a full disk. Nothing half-written keeps a final name, and a directory that is not finished is not
// read by training. `progress`, told how many tokens of the current file have come, may be empty.
ImportResult import_tokens(const ImportOptions& options,
                           const std::function<void(const std::filesystem::path&, int64_t)>& progress);

}  // namespace drover
