// A token file of another program, block by block: ids checked, as Drover has them, and cut into documents.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/data_file.h"
#include "data/import_formats.h"
#include "data/import_tokens.h"

namespace drover {

// Throws Error(config) when nothing says where the documents of `file` end, or both the format and an option do.
void require_document_rule(const ImportOptions& options, const ForeignFile& file);

class ImportSource {
 public:
  ImportSource(const ImportOptions& options, int64_t vocab, ForeignFile found);

  const ForeignFile& found() const { return found_; }
  const DataFile& file() const { return file_; }
  // The next block into the three below; false at the end. Throws Error(data) for a token outside the vocabulary.
  bool next();
  // Throws Error(data) when the file is another than when it was opened: what was read would be of two moments.
  void require_unchanged() const;

  std::vector<int32_t> tokens;
  std::vector<std::byte> bytes;  // the same as they are in the file
  std::vector<size_t> ends;      // of documents, as places in `tokens` after their last; the last token of a file ends one

 private:
  void convert();
  template <class Token> void convert_from();
  void cut();

  const ImportOptions& options_;
  int64_t vocab_;
  ForeignFile found_;
  DataFile file_;
  std::vector<uint64_t> ends_;  // what the format says
  size_t next_end_ = 0;
  int64_t at_ = 0;  // index of the block's first token
};

}  // namespace drover
