#include "data/inputs.h"

#include <fmt/format.h>
#include <glob.h>

#include <cctype>

#include "data/parquet_source.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "input " + path.string() + ": " + what);
}

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

// Of a.jsonl, A.JSONL and a.jsonl.gz: jsonl.
InputFormat format_of(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  const bool compressed = extension == ".gz" || extension == ".zst";
  const std::string format = compressed ? lower_extension(path.stem()) : extension;
  if (format == ".jsonl" || format == ".ndjson") return InputFormat::jsonl;
  if (format == ".json")
    fail(path,
         "JSON is no plain text; if it has a record a line, name it .jsonl (a link will do); of an array, "
         "`jq -c '.[]' FILE.json > FILE.jsonl` makes such a file");
  if (format != ".parquet") return InputFormat::text;
  if (!reads_parquet())
    fail(path,
         "this build reads no Parquet (build it where CMake finds Arrow C++), so convert it, in Python: "
         "pandas.read_parquet(\"FILE.parquet\").to_json(\"FILE.jsonl\", orient=\"records\", lines=True)");
  if (compressed) fail(path, "Parquet compresses its columns itself; decompress the file");
  return InputFormat::parquet;
}

Input file_input(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) fail(path, error ? error.message() : "does not exist");
  if (std::filesystem::is_directory(path, error))
    fail(path, fmt::format("is a directory; name the files in it, or a pattern in quotes, for example \"{}\"",
                           (path / "*.jsonl.gz").string()));
  Input input{.path = path, .format = format_of(path)};
  input.bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) {
    if (std::filesystem::is_regular_file(path)) fail(path, error.message());
    fail(path, "is no regular file; give it as standard input: - --input-format text|jsonl < FILE");
  }
  return input;
}

std::vector<std::filesystem::path> matches_of(const std::string& pattern) {
  struct Matches {
    ~Matches() { globfree(&found); }
    glob_t found{};
  } matches;
  const int code = ::glob(pattern.c_str(), GLOB_ERR, nullptr, &matches.found);
  if (code == GLOB_NOMATCH) fail(pattern, "no file matches this pattern");
  if (code != 0) fail(pattern, "this pattern's directories cannot be read");
  return {matches.found.gl_pathv, matches.found.gl_pathv + matches.found.gl_pathc};
}

}  // namespace

std::vector<Input> find_inputs(const InputNames& names) {
  std::vector<Input> inputs;
  for (const auto& name : names.names) {
    std::error_code error;
    if (name == "-") {
      if (names.names.size() > 1) fail(name, "standard input comes alone; concatenate it with the files, or prepare it first");
      if (names.standard_input_format.empty())
        fail(name, "standard input has no name that says what it holds: --input-format text|jsonl");
      inputs.push_back({.path = name, .format = names.standard_input_format == "jsonl" ? InputFormat::jsonl : InputFormat::text});
    } else if (name.string().find_first_of("*?[") != std::string::npos && !std::filesystem::exists(name, error)) {
      for (const auto& path : matches_of(name.string())) inputs.push_back(file_input(path));
    } else {
      inputs.push_back(file_input(name));
    }
  }
  return inputs;
}

std::vector<InputRange> divide_into_units(std::span<const Input> inputs, int64_t unit_bytes) {
  std::vector<InputRange> units;
  int64_t bytes = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (units.empty() || bytes + inputs[i].bytes > unit_bytes) {
      units.push_back({i, i});
      bytes = 0;
    }
    bytes += inputs[i].bytes;
    units.back().end = i + 1;
  }
  return units;
}

}  // namespace drover
