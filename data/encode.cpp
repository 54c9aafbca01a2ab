#include "data/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernels/base/error.h"

namespace drover {
namespace {

// A line of a JSONL file; what is wrong with it comes with its place.
nlohmann::json parse_record(std::string_view record, const std::string& where) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(record);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception...] parse error at line 1, column 3: why; last read: '...'": the line is not the file's, what was read may be long.
    // Or "[json.exception...] number overflow parsing '1e999'".
    std::string reason = error.what();
    reason.erase(0, reason.find("] ") + 2);
    if (const size_t column = reason.find("column "); column != std::string::npos) reason.erase(0, column);
    throw Error(ExitCode::data, fmt::format("{}: not a JSON object ({})", where, reason.substr(0, reason.find("; last read"))));
  }
  if (!json.is_object()) throw Error(ExitCode::data, where + ": not a JSON object");
  return json;
}

Encoded encode_jsonl(const TextPiece& piece, const std::string& field, const Tokenizer& tokenizer) {
  Encoded out;
  int64_t line = piece.first_line;
  for (size_t begin = 0; begin < piece.text.size(); ++line) {
    const size_t end = std::min(piece.text.find('\n', begin), piece.text.size());
    const std::string_view record(piece.text.data() + begin, end - begin);
    begin = end + 1;
    if (record.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", piece.path.string(), line);
    const nlohmann::json json = parse_record(record, where);
    const auto text = json.find(field);
    if (text == json.end())
      throw Error(ExitCode::data, fmt::format("{}: no field \"{}\" for the text; --jsonl-field names another", where, field));
    if (!text->is_string())
      throw Error(ExitCode::data, fmt::format("{}: field \"{}\" is no text but of type {}; --jsonl-field names another", where,
                                              field, text->type_name()));
    out.tokens.push_back(tokenizer.begin_document());
    tokenizer.encode(text->get_ref<const std::string&>(), out.tokens);
    out.tokens.push_back(tokenizer.end_document());
    out.ends.push_back(out.tokens.size());
  }
  return out;
}

}  // namespace

Encoded encode(const TextPiece& piece, const std::string& field, const Tokenizer& tokenizer) {
  if (piece.jsonl) return encode_jsonl(piece, field, tokenizer);
  Encoded out;
  if (piece.begins_document) out.tokens.push_back(tokenizer.begin_document());
  tokenizer.encode(piece.text, out.tokens);
  if (piece.ends_document) {
    out.tokens.push_back(tokenizer.end_document());
    out.ends.push_back(out.tokens.size());
  }
  return out;
}

}  // namespace drover
