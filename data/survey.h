// A first look at all documents, where what becomes of one depends on others, or on more of it than a piece: their hashes, and the bytes of text.
// A unit's survey is a file of the journal, so that ranks survey on their own and any of them puts the surveys together.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/document_hash.h"
#include "kernels/base/files.h"

namespace drover {

struct SurveyRecord {
  DocumentHash hash;
  uint64_t key = 0;  // document_key
};

class SurveyWriter {  // in constant memory; the file has its name when it is whole
 public:
  explicit SurveyWriter(std::filesystem::path path);
  ~SurveyWriter();
  void add(const SurveyRecord& record);
  void finish(int64_t text_bytes);

 private:
  void flush();
  std::filesystem::path path_, temporary_;
  File file_;
  std::vector<SurveyRecord> buffer_;
  int64_t records_ = 0;
};

class Survey {
 public:
  explicit Survey(const std::filesystem::path& path);
  int64_t text_bytes() const { return text_bytes_; }
  std::span<const SurveyRecord> records() const { return records_; }  // in the order of the documents

 private:
  MappedFile file_;
  int64_t text_bytes_ = 0;
  std::span<const SurveyRecord> records_;
};

// The documents whose hash was seen before, in the order of units and documents: their keys, unit by unit, ascending. Takes 20 bytes a document.
void find_duplicates(int64_t documents, int units, const std::function<Survey(int unit)>& survey,
                     const std::function<void(int unit, const std::vector<uint64_t>& keys)>& found);

}  // namespace drover
