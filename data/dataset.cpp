#include "data/dataset.h"

#include <algorithm>

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

// Walks forward over the tokens of all shards, and says where documents begin.
class DocumentWalk {
 public:
  DocumentWalk(const std::vector<Shard>& shards, const std::vector<int64_t>& begins, size_t shard, int64_t start)
      : shards_(shards), begins_(begins), shard_(shard) {
    enter(start);
  }

  // Moves to the token `global`, the same or the next one; true when a document begins there.
  bool advance_to(int64_t global) {
    at_ = global;
    bool begins = false;
    const auto pass_ends = [&] {
      const auto ends = shards_[shard_].ends();
      const uint64_t local = static_cast<uint64_t>(global - begins_[shard_]);  // a damaged end may be any number
      for (; next_ < ends.size() && ends[next_] <= local; ++next_) begins = true;
    };
    pass_ends();
    while (global >= begins_[shard_ + 1]) {
      ++shard_;
      next_ = 0;
      pass_ends();
    }
    return begins;
  }

  int64_t token(int64_t vocab) const {
    const Shard& shard = shards_[shard_];
    const int64_t local = at_ - begins_[shard_], value = shard.token(local);
    if (value >= vocab)
      throw Error(ExitCode::data, "token shard " + shard.path().string() + ": token " + std::to_string(value) + " at index " +
                                      std::to_string(local) + " is outside model.vocab " + std::to_string(vocab) +
                                      ", and the shard's own vocabulary of " + std::to_string(shard.header().vocab) +
                                      ": it is damaged; `drover data verify " + shard.path().parent_path().string() +
                                      "` finds more; remove that directory and prepare it again");
    return value;
  }

 private:
  void enter(int64_t start) {  // ends up to the start are behind us
    const auto ends = shards_[shard_].ends();
    next_ = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), static_cast<uint64_t>(start - begins_[shard_])) -
                                ends.begin());
  }

  const std::vector<Shard>& shards_;
  const std::vector<int64_t>& begins_;  // global index of each shard's first token, and the total
  size_t shard_, next_ = 0;             // next_: the first document end not passed yet
  int64_t at_ = 0;
};

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
  DocumentWalk walk(self.shards, self.begins, self.shard_of(start), start);
  int64_t document = 0, documents = 1;  // index in the sample where the current document begins, and how many have begun
  bool ended = false;
  for (int64_t i = 0; i <= sequence; ++i) {
    const bool new_document = walk.advance_to(start + i) && i > 0;
    const int64_t value = walk.token(self.vocab);
    if (i > 0) {
      target[i - 1] = static_cast<int32_t>(value);
      weight[i - 1] = ended || (document_mask && new_document) ? 0.0f : 1.0f;
    }
    if (i == sequence) break;
    ended = ended || (document_mask && new_document && documents == most_documents);
    if (new_document && !ended) {
      document = i;
      ++documents;
    }
    token[i] = static_cast<int32_t>(value);
    position[i] = static_cast<int32_t>(document_mask ? i - document : i);
    begin[i] = static_cast<int32_t>(document_mask ? document : 0);
  }
}

int64_t sample_at(int64_t seed, int64_t i, int64_t samples) {
  const uint64_t n = static_cast<uint64_t>(samples), u = static_cast<uint64_t>(i);
  return static_cast<int64_t>(permutation(static_cast<uint64_t>(seed), u / n, n, u % n));
}

}  // namespace drover
