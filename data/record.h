// The text of a JSONL record. Where CMake finds simdjson it reads what it can; what it refuses, and everything without it, is for nlohmann's
// parser to judge, so that both builds take the same records and say the same of the others.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace drover {

std::string json_version();  // "simdjson 3.0.1", or what it means to be without

class RecordReader {
 public:
  // `field`: of the record, holds the text, or a list of texts and of objects {NAME: [code, ...]}, spans of the tokenizer's `ranges`
  // (data/spans.h). `replace`: ill-formed UTF-8, and an escaped surrogate without its other half, become U+FFFD.
  RecordReader(std::string field, bool replace, std::vector<VocabularyRange> ranges = {});
  ~RecordReader();
  // True: text() is the record's. False: why() says what is wrong with it. Of a field that is there twice the last counts.
  bool read(std::string_view record);
  std::string_view text() const { return text_; }  // until the next read
  const std::string& why() const { return why_; }

 private:
  bool read_quickly(std::string_view record);
  bool parse(std::string_view record);
  bool join(const nlohmann::json& parts);
  bool refuse(std::string why);

  std::string field_;
  bool replace_;
  std::vector<VocabularyRange> ranges_;
  std::string_view text_;
  std::string why_, parsed_;
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace drover
