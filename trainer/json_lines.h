// Files of one JSON object a line, that programs append to and may be killed while they do.
#pragma once
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "kernels/base/files.h"

namespace drover {

// The complete lines that hold an object, in order; others (torn, zeroed by a failed disk) are passed over and counted. A file that is not
// there has no lines; one that cannot be read is Error(storage). One line is in memory at a time.
class JsonLines {
 public:
  explicit JsonLines(const std::filesystem::path& path);
  bool next(nlohmann::json& object);
  const std::string& line() const { return line_; }  // that the last object was
  int64_t damaged() const { return damaged_; }       // complete lines so far that hold no object

 private:
  std::ifstream file_;
  std::string line_;
  int64_t damaged_ = 0;
};
void for_each_json(const std::filesystem::path& path,
                   const std::function<void(const std::string& line, const nlohmann::json& object)>& body);

// Opens for appending; makes the file when it is not there.
File open_append(const std::filesystem::path& path);

// The line and its end by one write() call, so that a killed process leaves all of it or a torn end. Throws Error(storage).
void append_line(File& file, const std::filesystem::path& path, std::string line);

std::string json_number(double value);  // every digit; JSON has no NaN and no infinity: null

}  // namespace drover
