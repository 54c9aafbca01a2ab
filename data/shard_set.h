// The shards that one unit of work writes into one directory, and the places in its input at which they end.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "data/encode.h"
#include "data/shard.h"
#include "data/tokenizer.h"

namespace drover {

inline constexpr int kMostShards = 100000;  // of five digits: they are read in the order of their names

// What the finished shards hold, and where the next begins: in the piece at `place`, behind so many of the tokens that the piece gives to the set.
struct ShardPlace {
  TextPlace place;
  uint64_t piece_tokens = 0;
  int shards = 0;
  int64_t tokens = 0, documents = 0;
};

// Where the shards of a unit lie and what they are made of.
struct ShardNames {
  std::filesystem::path directory;
  std::string prefix;  // of the unit: "", or "unit_00012_" where there are several
  std::filesystem::path path(int shard) const;
};

class ShardSet {
 public:
  // Goes on behind `begin`. `finished` is told of each shard but the last, when it lies under its name.
  ShardSet(ShardNames names, const Tokenizer& tokenizer, int64_t shard_tokens, const ShardPlace& begin,
           std::function<void(const ShardPlace&)> finished);

  // Pieces come in order; what the finished shards hold is passed over.
  void append(const TextPlace& place, const Encoded& piece);
  void finish();
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }
  int shards() const { return shards_; }

 private:
  void write(const Encoded& piece, size_t end);
  void open_next();
  size_t room() const { return static_cast<size_t>(shard_tokens_) - writer_->tokens(); }

  ShardNames names_;
  const Tokenizer& tokenizer_;
  int64_t shard_tokens_;
  ShardPlace begin_;
  std::function<void(const ShardPlace&)> finished_;
  int64_t tokens_, documents_;
  int shards_;
  TextPlace place_;  // of the piece that is being written
  size_t at_ = 0;    // its next token
  std::optional<ShardWriter> writer_;
};

}  // namespace drover
