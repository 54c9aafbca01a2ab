#include "data/sample_tokens.h"

#include <algorithm>
#include <array>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cpu/dispatch.h"

namespace drover {
namespace {

constexpr int64_t kChunkBytes = 32 * 1024;  // on the stack, and still in the first cache when it is widened

[[noreturn]] void refuse_token(const Shard& shard, int64_t first, std::span<const int32_t> tokens, int64_t vocab) {
  const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                [&](int32_t token) { return static_cast<int64_t>(static_cast<uint32_t>(token)) >= vocab; });
  throw Error(ExitCode::data, "token shard " + shard.path().string() + ": token " + std::to_string(static_cast<uint32_t>(*bad)) +
                                  " at index " + std::to_string(first + (bad - tokens.begin())) + " is outside model.vocab " +
                                  std::to_string(vocab) + ", and the shard's own vocabulary of " +
                                  std::to_string(shard.header().vocab) + ": it is damaged; `drover data verify " +
                                  shard.path().parent_path().string() + "` finds more; remove that directory and prepare it again");
}

// Copy and widen. The result has its highest bit set when a token is outside [0, last]: no branch, so that the loop is of vectors.
DROVER_VECTOR uint32_t widen(const uint16_t* from, size_t count, uint32_t last, int32_t* to) {
  uint32_t outside = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t token = from[i];
    to[i] = static_cast<int32_t>(token);
    outside |= last - token;
  }
  return outside;
}
DROVER_VECTOR uint32_t widen(const uint32_t* from, size_t count, uint32_t last, int32_t* to) {
  uint32_t outside = 0;
  for (size_t i = 0; i < count; ++i) {
    to[i] = static_cast<int32_t>(from[i]);
    outside |= (last - from[i]) | from[i];
  }
  return outside;
}

uint32_t widen(const std::byte* from, uint32_t width, size_t count, uint32_t last, int32_t* to) {
  return width == 2 ? widen(reinterpret_cast<const uint16_t*>(from), count, last, to)
                    : widen(reinterpret_cast<const uint32_t*>(from), count, last, to);
}

}  // namespace

void SampleTokens::read(int64_t vocab, std::span<int32_t> token, std::span<int32_t> target) const {
  alignas(64) std::array<std::byte, kChunkBytes> chunk;
  const int64_t sequence = static_cast<int64_t>(token.size()), end = start + sequence + 1;
  const uint32_t last = static_cast<uint32_t>(std::min<int64_t>(vocab, INT32_MAX) - 1);
  size_t at_shard = shard;
  for (int64_t at = start; at < end;) {
    while (at >= begins[at_shard + 1]) ++at_shard;
    const Shard& from = shards[at_shard];
    const uint32_t width = from.header().width;
    const int64_t local = at - begins[at_shard], count = std::min({end, begins[at_shard + 1], at + kChunkBytes / width}) - at;
    from.read(local, std::span(chunk).first(static_cast<size_t>(count * width)));
    const int64_t place = at - start;  // in the sample; its last token is a target only, its first one no target
    const int64_t skip = place == 0 ? 1 : 0, inputs = std::min(count, sequence - place);
    const uint32_t outside =
        widen(chunk.data() + skip * width, width, static_cast<size_t>(count - skip), last, target.data() + (place + skip - 1)) |
        widen(chunk.data(), width, static_cast<size_t>(inputs), last, token.data() + place);
    if (outside >> 31 != 0) {
      std::vector<int32_t> all(static_cast<size_t>(count));
      widen(chunk.data(), width, all.size(), last, all.data());
      refuse_token(from, local, all, vocab);
    }
    at += count;
  }
}

std::vector<int64_t> SampleTokens::document_begins(int64_t count) const {
  std::vector<int64_t> places;
  const int64_t last = start + count;
  for (size_t s = shard; s < shards.size() && begins[s] <= last; ++s) {
    // An end of a shard's very last token begins a document in the next one; a damaged end may be any number.
    const int64_t first = std::max<int64_t>(start + 1 - begins[s], 0), end = std::min(last, begins[s + 1]) - begins[s];
    if (first > end || shards[s].header().documents == 0) continue;
    for (const uint64_t found : shards[s].document_ends().find(static_cast<uint64_t>(first), static_cast<uint64_t>(end))) {
      const int64_t place = begins[s] + static_cast<int64_t>(found) - start;
      if (places.empty() || place > places.back()) places.push_back(place);
    }
  }
  return places;
}

DROVER_VECTOR void write_document(int32_t first, int32_t end, int32_t* position, int32_t* begin, float* weight) {
  for (int32_t i = first; i < end; ++i) {
    position[i] = i - first;
    begin[i] = first;
    weight[i] = 1.0f;
  }
}

}  // namespace drover
