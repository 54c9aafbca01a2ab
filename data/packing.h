// Document-aware packing: which tokens the samples of a window are made of, so that few documents are cut.
//
// A window is W samples of S tokens that lie side by side. Its documents, cut at its borders, are packed into W samples of exactly S tokens:
// every token of the window is an input of one sample, and nothing is padding. Pure arithmetic over the places where documents end.
// Best fit decreasing: Johnson, Demers, Ullman, Garey, Graham, 1974; for pretraining: Ding et al., "Fewer Truncations Improve Language
// Modeling", 2024.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace drover {

// Tokens [token, token + count) of a source, a document of its own in its sample.
struct DocumentPart {
  int64_t token = 0, count = 0;
  bool ends = false;  // a document ends with its last token: its target belongs to another and has weight 0
  bool operator==(const DocumentPart&) const = default;
};

// The pieces of samples 0 to `samples` - 1 of the window that begins at `token`. `ends`: of the window's documents, ascending, each the token
// after a document's last, from token + 1 to token + samples * sequence. Longest first, ties by place, each document goes whole into the
// sample with the least room that takes it, ties by number; of one longer than `sequence` the first parts fill samples. What fits nowhere is cut
// into the largest holes. A sample with `most` pieces takes more only when no other has room. Pieces of a sample are in the order of `token`.
std::vector<std::vector<DocumentPart>> pack(int64_t token, int64_t samples, int64_t sequence, std::span<const int64_t> ends,
                                            int64_t most);

// Of the documents in a window, those that are in several pieces or go on beyond it; of its tokens, those that are padding, because more than
// `most` pieces came before them in their sample. `first_begins`: a document begins with the window.
struct CutCount {
  int64_t documents = 0, packed = 0, contiguous = 0;
  int64_t tokens = 0, packed_padding = 0, contiguous_padding = 0;
};
CutCount count_cuts(int64_t token, int64_t samples, int64_t sequence, std::span<const int64_t> ends, bool first_begins,
                    int64_t most);

}  // namespace drover
