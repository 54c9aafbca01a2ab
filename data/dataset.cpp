#include "data/dataset.h"

#include <algorithm>
#include <map>
#include <mutex>

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
  using Samples = std::vector<std::vector<DocumentPart>>;
  std::mutex mutex;
  std::map<std::pair<Windows, int64_t>, std::shared_ptr<const Samples>> packed;  // some windows, by number

  struct Window;
  std::shared_ptr<const Samples> window(const Windows& windows, int64_t number);
  int64_t samples() const { return (begins.back() - 1) / sequence; }  // of the constructor's length
  size_t shard_of(int64_t token) const {
    return static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), token) - begins.begin()) - 1;
  }
};

namespace {

struct Row {
  Row(const Batch& batch, int64_t row, int64_t sequence)
      : token(batch.token.as<int32_t>() + row * sequence), target(batch.target.as<int32_t>() + row * sequence),
        position(batch.position.as<int32_t>() + row * sequence), begin(batch.document_begin.as<int32_t>() + row * sequence),
        weight(batch.weight.as<float>() + row * sequence) {}
  int32_t *token, *target, *position, *begin;
  float* weight;
};

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
int64_t TokenDataset::samples() const { return impl_->samples(); }
std::string TokenDataset::tokenizer() const { return impl_->shards.front().header().tokenizer; }
uint64_t TokenDataset::tokenizer_hash() const { return impl_->shards.front().header().tokenizer_hash; }
uint64_t TokenDataset::hash() const { return impl_->hash; }

void TokenDataset::read(int64_t index, bool document_mask, const Batch& batch, int64_t row, int64_t most_documents) const {
  read_at(index * impl_->sequence, impl_->sequence, document_mask, batch, row, most_documents);
}

void TokenDataset::read_at(int64_t start, int64_t sequence, bool document_mask, const Batch& batch, int64_t row,
                           int64_t most_documents) const {
  const Impl& self = *impl_;
  const Row to(batch, row, sequence);
  const size_t count = static_cast<size_t>(sequence);
  const SampleTokens tokens{self.shards, self.begins, self.shard_of(start), start};
  tokens.read(self.vocab, {to.token, count}, {to.target, count});
  const int32_t end = static_cast<int32_t>(sequence);
  int32_t document = 0;   // index in the sample where the current document begins
  int64_t documents = 1;  // how many have begun
  const auto finish_document = [&](int32_t next) { write_document(document, next, to.position, to.begin, to.weight); };
  if (!document_mask) return finish_document(end);
  for (const int64_t place_of_next : tokens.document_begins(sequence)) {
    const int32_t next = static_cast<int32_t>(place_of_next);
    if (documents == most_documents) {
      finish_document(end);
      std::fill(to.weight + next - 1, to.weight + end, 0.0f);
      return;
    }
    finish_document(next);
    to.weight[next - 1] = 0.0f;
    if (next == end) return;
    document = next;
    ++documents;
  }
  finish_document(end);
}

// The window's document ends, and where it lies.
struct TokenDataset::Impl::Window {
  Window(const Impl& self, const Windows& windows, int64_t number)
      : begin(number * windows.window * windows.sequence),
        samples(std::min(windows.window, (self.samples() * self.sequence - begin) / windows.sequence)),
        ends(SampleTokens{self.shards, self.begins, self.shard_of(begin), begin}.document_begins(samples * windows.sequence)) {
    for (int64_t& end : ends) end += begin;
  }
  int64_t begin, samples;
  std::vector<int64_t> ends;
};

std::shared_ptr<const TokenDataset::Impl::Samples> TokenDataset::Impl::window(const Windows& windows, int64_t number) {
  constexpr size_t kKept = 64;
  const std::pair key{windows, number};
  {
    const std::lock_guard lock(mutex);
    if (const auto found = packed.find(key); found != packed.end()) return found->second;
  }
  const Window window(*this, windows, number);
  auto samples = std::make_shared<const Samples>(pack(window.begin, window.samples, windows.sequence, window.ends, windows.pieces));
  const std::lock_guard lock(mutex);
  if (packed.size() >= kKept) packed.clear();
  packed.emplace(key, samples);
  return samples;
}

void TokenDataset::read_packed(int64_t index, const Windows& windows, const Batch& batch, int64_t row) const {
  const Impl& self = *impl_;
  const auto samples = impl_->window(windows, index / windows.window);
  const Row to(batch, row, windows.sequence);
  int64_t at = 0, document = 0, documents = 0;  // document: where the last one begins
  int64_t trained = windows.sequence;  // targets of weight 1, or 0 at a document's end; the others belong to pieces beyond the most
  bool ends = false;
  for (const DocumentPart& piece : (*samples)[static_cast<size_t>(index % windows.window)]) {
    const size_t count = static_cast<size_t>(piece.count);
    const SampleTokens tokens{self.shards, self.begins, self.shard_of(piece.token), piece.token};
    tokens.read(self.vocab, {to.token + at, count}, {to.target + at, count});
    if (documents == windows.pieces) {
      trained = std::min(trained, at - ends);
    } else {
      ++documents;
      document = at;
      ends = piece.ends;
    }
    at += piece.count;
    write_document(static_cast<int32_t>(document), static_cast<int32_t>(at), to.position, to.begin, to.weight);
    if (piece.ends) to.weight[at - 1] = 0.0f;
  }
  std::fill(to.weight + trained, to.weight + windows.sequence, 0.0f);
}

CutCount TokenDataset::count_cuts(const Windows& windows, int64_t most_windows) const {
  const Impl& self = *impl_;
  const int64_t all = (self.samples() * self.sequence / windows.sequence + windows.window - 1) / windows.window,
                looked_at = std::min(all, most_windows);
  CutCount sum;
  for (int64_t n = 0; n < looked_at; ++n) {
    const Impl::Window window(self, windows, n * all / looked_at);
    const bool first_begins =
        window.begin == 0 ||
        !SampleTokens{self.shards, self.begins, self.shard_of(window.begin - 1), window.begin - 1}.document_begins(1).empty();
    const CutCount count =
        drover::count_cuts(window.begin, window.samples, windows.sequence, window.ends, first_begins, windows.pieces);
    sum.documents += count.documents;
    sum.packed += count.packed;
    sum.contiguous += count.contiguous;
    sum.tokens += count.tokens;
    sum.packed_padding += count.packed_padding;
    sum.contiguous_padding += count.contiguous_padding;
  }
  return sum;
}

int64_t sample_at(int64_t seed, int64_t i, int64_t samples) {
  const uint64_t n = static_cast<uint64_t>(samples), u = static_cast<uint64_t>(i);
  return static_cast<int64_t>(permutation(static_cast<uint64_t>(seed), u / n, n, u % n));
}

}  // namespace drover
