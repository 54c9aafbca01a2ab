#include "data/dataset.h"

#include <algorithm>

#include "data/sample_tokens.h"
#include "data/shard.h"
#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/words.h"

namespace drover {

struct TokenDataset::Impl {
  std::vector<Shard> shards;
  std::vector<int64_t> begins;  // global index of each shard's first token, and the total
  int64_t sequence = 0, vocab = 0;
  uint64_t hash = 0;

  size_t shard_of(int64_t token) const {
    return static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), token) - begins.begin()) - 1;
  }
};

namespace {

void check_vocabulary(const Shard& shard, const Shard& first, int64_t vocab) {
  const ShardHeader &header = shard.header(), &other = first.header();
  if (header.vocab > static_cast<uint64_t>(vocab))
    throw Error(ExitCode::data, "token shard " + shard.path().string() + " was made with a vocabulary of " +
                                    std::to_string(header.vocab) + " (tokenizer " + header.tokenizer + "), model.vocab is " +
                                    std::to_string(vocab) + "; at least " + std::to_string(header.vocab) + " is needed");
  if (header.tokenizer_hash != other.tokenizer_hash)
    throw Error(ExitCode::data, "token shards of two tokenizers: " + first.path().string() + " (" + other.tokenizer + ") and " +
                                    shard.path().string() + " (" + header.tokenizer + "); prepare them with one");
}

}  // namespace

TokenDataset::TokenDataset(const std::vector<std::string>& directories, int64_t sequence, int64_t vocab)
    : impl_(std::make_unique<Impl>()) {
  impl_->sequence = sequence;
  impl_->vocab = vocab;
  int64_t total = 0;
  std::vector<uint64_t> hashes;
  for (const std::string& directory : directories)
    for (const auto& path : list_shards(directory)) {
      impl_->shards.emplace_back(path);
      const Shard& shard = impl_->shards.back();
      check_vocabulary(shard, impl_->shards.front(), vocab);
      impl_->begins.push_back(total);
      total += static_cast<int64_t>(shard.header().tokens);
      hashes.push_back(shard.header().header_hash);
    }
  impl_->begins.push_back(total);
  impl_->hash = xxh3(hashes.data(), hashes.size() * sizeof hashes[0]);
  if (samples() < 1)
    throw Error(ExitCode::data, "the data in " + directories.front() + " has " + counted(total, "token") +
                                    ": less than one sample of " + std::to_string(sequence) + " + 1");
}
TokenDataset::~TokenDataset() = default;
TokenDataset::TokenDataset(TokenDataset&&) noexcept = default;

int64_t TokenDataset::tokens() const { return impl_->begins.back(); }
int64_t TokenDataset::samples() const { return (tokens() - 1) / impl_->sequence; }
std::string TokenDataset::tokenizer() const { return impl_->shards.front().header().tokenizer; }
uint64_t TokenDataset::tokenizer_hash() const { return impl_->shards.front().header().tokenizer_hash; }
uint64_t TokenDataset::hash() const { return impl_->hash; }

void TokenDataset::read(int64_t index, bool document_mask, const Batch& batch, int64_t row, int64_t most_documents) const {
  read_at(index * impl_->sequence, impl_->sequence, document_mask, batch, row, most_documents);
}

void TokenDataset::read_at(int64_t start, int64_t sequence, bool document_mask, const Batch& batch, int64_t row,
                           int64_t most_documents) const {
  const Impl& self = *impl_;
  const int64_t place = row * sequence;
  int32_t* token = batch.token.as<int32_t>() + place;
  int32_t* target = batch.target.as<int32_t>() + place;
  int32_t* position = batch.position.as<int32_t>() + place;
  int32_t* begin = batch.document_begin.as<int32_t>() + place;
  float* weight = batch.weight.as<float>() + place;
  const size_t count = static_cast<size_t>(sequence);
  const SampleTokens tokens{self.shards, self.begins, self.shard_of(start), start};
  tokens.read(self.vocab, {token, count}, {target, count});
  const int32_t end = static_cast<int32_t>(sequence);
  int32_t document = 0;   // index in the sample where the current document begins
  int64_t documents = 1;  // how many have begun
  const auto finish_document = [&](int32_t next) { write_document(document, next, position, begin, weight); };
  if (!document_mask) return finish_document(end);
  for (const int64_t place_of_next : tokens.document_begins(sequence)) {
    const int32_t next = static_cast<int32_t>(place_of_next);
    if (documents == most_documents) {
      finish_document(end);
      std::fill(weight + next - 1, weight + end, 0.0f);
      return;
    }
    finish_document(next);
    weight[next - 1] = 0.0f;
    if (next == end) return;
    document = next;
    ++documents;
  }
  finish_document(end);
}

int64_t sample_at(int64_t seed, int64_t i, int64_t samples) {
  const uint64_t n = static_cast<uint64_t>(samples), u = static_cast<uint64_t>(i);
  return static_cast<int64_t>(permutation(static_cast<uint64_t>(seed), u / n, n, u % n));
}

}  // namespace drover
