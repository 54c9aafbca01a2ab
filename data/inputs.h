// What `prepare` reads: input files by name or pattern, what each holds, and how they are divided into units of work.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace drover {

enum class InputFormat : uint8_t { text, jsonl, parquet };

struct Input {
  std::filesystem::path path;  // "-": standard input
  InputFormat format = InputFormat::text;
  int64_t bytes = 0;  // of the file, as it is compressed; 0 for standard input
  bool is_standard_input() const { return path == "-"; }
};

// "text" and "jsonl", for standard input; a file's name says what it holds: .jsonl and .ndjson (a record a line), .parquet (a row a document),
// others plain text; in upper or lower case; all but .parquet also with .gz or .zst behind.
struct InputNames {
  std::vector<std::filesystem::path> names;
  std::string standard_input_format;  // "": "-" is refused
};

// The files: a name that is no file but has *, ? or [ is a pattern, whose files come in the order of their names' bytes. Throws Error(data) for
// what is missing, a directory, a pattern without files, a .json, and a .parquet where this build cannot read it.
std::vector<Input> find_inputs(const InputNames& names);

// [begin, end) of the inputs. Consecutive files are one unit while together they have at most kUnitBytes: a function of the files' sizes alone.
struct InputRange {
  size_t begin = 0, end = 0;
};
inline constexpr int64_t kUnitBytes = int64_t{256} << 20;
std::vector<InputRange> divide_into_units(std::span<const Input> inputs, int64_t unit_bytes = kUnitBytes);

}  // namespace drover
