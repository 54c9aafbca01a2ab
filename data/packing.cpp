#include "data/packing.h"

#include <algorithm>
#include <set>
#include <utility>

namespace drover {
namespace {

// The window's documents in the order of their places.
std::vector<DocumentPart> documents_of(int64_t token, int64_t end, std::span<const int64_t> ends) {
  std::vector<DocumentPart> documents;
  for (const int64_t next : ends) {
    documents.push_back({token, next - token, true});
    token = next;
  }
  if (token < end) documents.push_back({token, end - token, false});
  return documents;
}

class Packer {
 public:
  Packer(int64_t samples, int64_t sequence, int64_t most)
      : sequence_(sequence), most_(most), samples_(static_cast<size_t>(samples)) {
    for (size_t s = 0; s < samples_.size(); ++s) room_.insert({sequence, s});
  }

  std::vector<std::vector<DocumentPart>> pack(std::vector<DocumentPart> documents) {
    for (DocumentPart& document : documents)
      while (document.count > sequence_)
        cut(document, sequence_, *room_.lower_bound({sequence_, 0}));  // as many are empty: no more tokens than room
    std::stable_sort(documents.begin(), documents.end(),
                     [](const DocumentPart& a, const DocumentPart& b) { return a.count > b.count; });
    std::vector<DocumentPart> left;
    for (const DocumentPart& document : documents)
      if (!fits_whole(document)) left.push_back(document);
    for (DocumentPart& document : left) cut_into_holes(document);
    for (std::vector<DocumentPart>& sample : samples_)
      std::sort(sample.begin(), sample.end(), [](const DocumentPart& a, const DocumentPart& b) { return a.token < b.token; });
    return std::move(samples_);
  }

 private:
  using Hole = std::pair<int64_t, size_t>;  // tokens and sample

  void put(const DocumentPart& piece, Hole hole) {
    std::vector<DocumentPart>& sample = samples_[hole.second];
    sample.push_back(piece);
    room_.erase(hole);
    crowded_.erase(hole);
    hole.first -= piece.count;
    if (hole.first > 0) (std::ssize(sample) < most_ ? room_ : crowded_).insert(hole);
  }

  void cut(DocumentPart& document, int64_t count, const Hole& hole) {
    const DocumentPart part{document.token, count, false};
    document.token += count;
    document.count -= count;
    put(part, hole);
  }

  bool fits_whole(const DocumentPart& document) {
    const auto hole = room_.lower_bound({document.count, 0});
    if (hole == room_.end()) return false;
    put(document, *hole);
    return true;
  }

  // The largest of them first; of equal ones, that of the lowest number.
  void cut_into_holes(DocumentPart& document) {
    while (!fits_whole(document)) {
      const std::set<Hole>& holes = room_.empty() ? crowded_ : room_;
      const Hole hole = *holes.lower_bound({holes.rbegin()->first, 0});
      if (hole.first >= document.count) return put(document, hole);
      cut(document, hole.first, hole);
    }
  }

  int64_t sequence_, most_;
  std::vector<std::vector<DocumentPart>> samples_;
  std::set<Hole> room_, crowded_;  // of samples below `most` pieces, and of the others
};

}  // namespace

std::vector<std::vector<DocumentPart>> pack(int64_t token, int64_t samples, int64_t sequence, std::span<const int64_t> ends,
                                            int64_t most) {
  return Packer(samples, sequence, most).pack(documents_of(token, token + samples * sequence, ends));
}

CutCount count_cuts(int64_t token, int64_t samples, int64_t sequence, std::span<const int64_t> ends, bool first_begins,
                    int64_t most) {
  const std::vector<DocumentPart> documents = documents_of(token, token + samples * sequence, ends);
  CutCount count{.documents = std::ssize(documents), .tokens = samples * sequence};
  std::vector<int64_t> pieces(documents.size());  // those of packing
  for (const std::vector<DocumentPart>& sample : pack(token, samples, sequence, ends, most)) {
    for (size_t i = static_cast<size_t>(most); i < sample.size(); ++i) count.packed_padding += sample[i].count;
    for (const DocumentPart& piece : sample) {
      const auto after = std::upper_bound(documents.begin(), documents.end(), piece.token,
                                          [](int64_t at, const DocumentPart& document) { return at < document.token; });
      ++pieces[static_cast<size_t>(after - documents.begin()) - 1];
    }
  }
  std::vector<int64_t> in_sample(static_cast<size_t>(samples));  // pieces of contiguous ones
  for (const DocumentPart& document : documents)
    for (int64_t at = document.token - token, end = at + document.count; at < end;) {
      const int64_t sample = at / sequence, next = std::min(end, (sample + 1) * sequence);
      if (++in_sample[static_cast<size_t>(sample)] > most) count.contiguous_padding += next - at;
      at = next;
    }
  for (size_t i = 0; i < documents.size(); ++i) {
    const DocumentPart& document = documents[i];
    const bool at_border = !document.ends || (i == 0 && !first_begins);
    count.packed += at_border || pieces[i] > 1;
    count.contiguous +=
        at_border || (document.token - token) / sequence != (document.token + document.count - 1 - token) / sequence;
  }
  return count;
}

}  // namespace drover
