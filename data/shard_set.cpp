#include "data/shard_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace drover {

std::filesystem::path ShardNames::path(int shard) const { return directory / fmt::format("{}shard_{:05d}.tokens", prefix, shard); }

ShardSet::ShardSet(ShardNames names, const Tokenizer& tokenizer, int64_t shard_tokens, const ShardPlace& begin,
                   std::function<void(const ShardPlace&)> finished)
    : names_(std::move(names)), tokenizer_(tokenizer), shard_tokens_(shard_tokens), begin_(begin), finished_(std::move(finished)),
      tokens_(begin.tokens), documents_(begin.documents), shards_(begin.shards) {}

void ShardSet::append(const TextPlace& place, const Encoded& piece) {
  const int order = place.order(begin_.place);
  if (order < 0) return;
  place_ = place;
  at_ = order == 0 ? std::min<size_t>(begin_.piece_tokens, piece.tokens.size()) : 0;
  for (const size_t end : piece.ends) {
    if (end <= at_) continue;
    write(piece, end);
    writer_->end_document();
    ++documents_;
  }
  write(piece, piece.tokens.size());
}

void ShardSet::write(const Encoded& piece, size_t end) {
  while (at_ < end) {
    if (writer_ && room() == 0) {
      finish();
      finished_({place_, at_, shards_, tokens_, documents_});
    }
    if (!writer_) open_next();
    const size_t count = std::min(end - at_, room());
    writer_->append(std::span(piece.tokens).subspan(at_, count));
    tokens_ += static_cast<int64_t>(count);
    at_ += count;
  }
}

void ShardSet::finish() {
  if (writer_) writer_->finish();
  writer_.reset();
}

void ShardSet::open_next() {
  if (shards_ == kMostShards)
    throw Error(ExitCode::data,
                fmt::format("{}: more than {} shards, whose names would be out of order; --shard-tokens {} is too small",
                            names_.directory.string(), kMostShards, shard_tokens_));
  const uint32_t width = tokenizer_.vocab() <= 65536 ? 2 : 4;
  writer_.emplace(names_.path(shards_++), width, static_cast<uint64_t>(tokenizer_.vocab()), tokenizer_.name(), tokenizer_.hash());
}

}  // namespace drover
