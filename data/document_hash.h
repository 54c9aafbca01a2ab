// The hash by which documents are told apart: XXH3 with 128 bits and seed 0 of a document's text, in UTF-8, as it is tokenized.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace drover {

struct DocumentHash {
  uint64_t high = 0, low = 0;
  auto operator<=>(const DocumentHash&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
};

DocumentHash document_hash(std::string_view text);

class DocumentHashStream {  // the same over all updates in order
 public:
  DocumentHashStream();
  ~DocumentHashStream();
  void update(std::string_view text);
  DocumentHash digest() const;
  void reset();  // as if nothing had come yet

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace drover
