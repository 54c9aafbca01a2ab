// How attention on a GPU uses its scratch: known from the shape alone, so that a machine without a GPU plans it. tests/cudnn asks cuDNN's engines
// for an H100 whether the bounds hold.
#pragma once
#include <algorithm>

#include "kernels/attention.h"

namespace drover::cuda {

// How the backward pass is done.
//
//   whole         f32 sums of dq are added to by all blocks in the order that they come: not deterministic
//   by_documents  the same, for documents one by one: what is between them is not computed
//   in_order      the whole matrix of ds is kept (2 bytes a pair of tokens and head), and dq is its product with k: deterministic. It is done for
//                 as many samples and kv heads at a time as give the GPU kMostBlocks of work, so that the matrix grows with
//                 the sequence and not with its square, as long as one kv head of one sample is within that.
enum class Backward { whole, by_documents, in_order };

struct AttentionScratch {
  AttentionShape s;

  static constexpr int64_t kMostBlocks = 528;          // of 128 keys of a head: four for each of an H100's multiprocessors
  static constexpr int64_t kSmall = int64_t{1} << 20;  // what an engine needs beside the buffers below; measured: 256 bytes

  Backward backward() const {
    if (s.deterministic) return Backward::in_order;
    return s.documents > 1 ? Backward::by_documents : Backward::whole;
  }
  int64_t tokens() const { return s.batch * s.sequence; }
  int64_t group() const { return s.heads / s.kv_heads; }
  int64_t entries() const { return s.batch * s.documents; }  // documents, those that are not there included

  // Of in_order: kv heads and samples done at a time, divisors of all.
  int64_t kv_heads_at_once() const { return largest_divisor(s.kv_heads, kMostBlocks / (tiles() * group())); }
  int64_t samples_at_once() const {
    return kv_heads_at_once() < s.kv_heads ? 1 : largest_divisor(s.batch, kMostBlocks / (tiles() * s.heads));
  }

  // Bounds of the engines' own workspaces.
  int64_t forward_workspace() const { return kSmall + (s.documents > 1 ? entries() * kOfADocument : 0); }
  int64_t backward_workspace() const {
    switch (backward()) {
      case Backward::whole: return kSmall + full_heads(s.batch, s.kv_heads);
      case Backward::by_documents: return kSmall + entries() * kOfADocument;
      case Backward::in_order: break;
    }
    const int64_t samples = samples_at_once(), kv_heads = kv_heads_at_once();
    return kSmall + pair_bytes(samples, kv_heads) + full_heads(samples, kv_heads);
  }

  // The buffers, one after the other; sizes in bytes.
  int64_t offset_bytes() const { return s.documents > 1 ? aligned(8 * (entries() + 1)) : 0; }  // one of the lists of i64
  int64_t length_bytes() const { return s.documents > 1 ? aligned(4 * entries()) : 0; }
  int64_t statistics_bytes() const { return aligned(4 * tokens() * s.heads); }  // an f32 a token and head
  int64_t dq_sum_bytes() const { return aligned(4 * tokens() * (s.heads + 2 * s.kv_heads) * s.head_dim); }
  int64_t kv_gradient_bytes() const { return aligned(2 * tokens() * s.kv_heads * s.head_dim); }
  int64_t full_head_bytes() const { return aligned(2 * tokens() * s.heads * s.head_dim); }

  int64_t forward_bytes() const { return documents_bytes() + statistics_bytes() + forward_workspace(); }
  int64_t backward_bytes() const {
    const int64_t common = statistics_bytes() + backward_workspace();
    switch (backward()) {
      case Backward::whole: return common + dq_sum_bytes();
      case Backward::by_documents:
        return common + documents_bytes() + statistics_bytes() + dq_sum_bytes() + 2 * kv_gradient_bytes() + 2 * full_head_bytes();
      case Backward::in_order: break;
    }
    return common;
  }
  int64_t bytes() const { return std::max(forward_bytes(), backward_bytes()); }

 private:
  static constexpr int64_t kOfADocument = 1024;
  static int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
  static int64_t largest_divisor(int64_t number, int64_t most) {
    int64_t divisor = std::clamp<int64_t>(most, 1, number);
    while (number % divisor != 0) --divisor;
    return divisor;
  }
  int64_t documents_bytes() const { return 4 * offset_bytes() + length_bytes(); }
  static constexpr int64_t kTile = 128;
  int64_t tiles() const { return (s.sequence + kTile - 1) / kTile; }
  // Rows and columns in whole tiles.
  int64_t pair_bytes(int64_t samples, int64_t kv_heads) const {
    const int64_t side = tiles() * kTile;
    constexpr double kNever = 1e17;  // of a sequence that no GPU holds: the sum must not overflow
    const double bytes =
        2.0 * static_cast<double>(samples * kv_heads * group()) * static_cast<double>(side) * static_cast<double>(side);
    return static_cast<int64_t>(std::min(bytes, kNever));
  }
  // dk and dv of each query head, before those of a kv head are summed.
  int64_t full_heads(int64_t samples, int64_t kv_heads) const {
    return group() == 1 ? 0 : 2 * 2 * samples * kv_heads * group() * s.sequence * s.head_dim;
  }
};

}  // namespace drover::cuda
