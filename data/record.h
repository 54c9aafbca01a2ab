// The text of a JSONL record. Where CMake finds simdjson it reads what it can; what it refuses, and everything without it, is for nlohmann's
// parser to judge, so that both builds take the same records and say the same of the others.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace drover {

std::string json_version();  // "simdjson 3.0.1", or what it means to be without

class RecordReader {
 public:
  // `field`: of the record, holds the text. `replace`: ill-formed UTF-8, and an escaped surrogate without its other half, become U+FFFD.
  RecordReader(std::string field, bool replace);
  ~RecordReader();
  // True: text() is the record's. False: why() says what is wrong with it. Of a field that is there twice the last counts.
  bool read(std::string_view record);
  std::string_view text() const { return text_; }  // until the next read
  const std::string& why() const { return why_; }

 private:
  bool read_quickly(std::string_view record);
  bool parse(std::string_view record);
  bool refuse(std::string why);

  std::string field_;
  bool replace_;
  std::string_view text_;
  std::string why_, parsed_;
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace drover
