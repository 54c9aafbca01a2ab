#include "data/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/spans.h"
#include "data/utf8.h"
#ifdef DROVER_WITH_SIMDJSON
#include <simdjson.h>
#endif

namespace drover {
namespace {

// The number of a \uXXXX that begins at `at`; -1: there is none.
int escaped_at(std::string_view text, size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int number = 0;
  for (const char c : text.substr(at + 2, 4)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    number = 16 * number + digit;
  }
  return number;
}

std::string replace_lone_surrogates(std::string record) {
  const auto within = [](int number, int low) { return number >= low && number < low + 0x400; };
  for (size_t at = 0; (at = record.find('\\', at)) != std::string::npos;) {
    const int number = escaped_at(record, at);
    if (within(number, 0xd800) && within(escaped_at(record, at + 6), 0xdc00))
      at += 12;
    else if (within(number, 0xd800) || within(number, 0xdc00))
      record.replace(at, 6, "\\ufffd"), at += 6;
    else
      at += 2;  // also what stands behind a backslash is no backslash that begins an escape
  }
  return record;
}

}  // namespace

#ifdef DROVER_WITH_SIMDJSON

std::string json_version() {
  // fmt 10 and later format no enumerators.
  return fmt::format("simdjson {}.{}.{}", int{simdjson::SIMDJSON_VERSION_MAJOR}, int{simdjson::SIMDJSON_VERSION_MINOR},
                     int{simdjson::SIMDJSON_VERSION_REVISION});
}

struct RecordReader::Parser {
  simdjson::dom::parser parser;
  std::string padded;  // simdjson reads beyond the record
};

bool RecordReader::read_quickly(std::string_view record) {
  parser_->padded.assign(record);
  parser_->padded.append(simdjson::SIMDJSON_PADDING, '\0');
  simdjson::dom::object object;
  if (parser_->parser.parse(parser_->padded.data(), record.size(), false).get(object) != simdjson::SUCCESS) return false;
  bool found = false;
  for (const auto entry : object)
    if (entry.key == field_) found = entry.value.get(text_) == simdjson::SUCCESS;
  return found;
}

#else

std::string json_version() { return "without simdjson (JSONL is read many times slower)"; }

struct RecordReader::Parser {};

bool RecordReader::read_quickly(std::string_view) { return false; }

#endif

RecordReader::RecordReader(std::string field, bool replace, std::vector<VocabularyRange> ranges)
    : field_(std::move(field)), replace_(replace), ranges_(std::move(ranges)), parser_(std::make_unique<Parser>()) {}
RecordReader::~RecordReader() = default;

bool RecordReader::refuse(std::string why) {
  why_ = std::move(why);
  return false;
}

bool RecordReader::parse(std::string_view record) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(record);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception...] parse error at line 1, column 3: why; last read: '...'": the line is not the file's, what was read may be long.
    // Or "[json.exception...] number overflow parsing '1e999'".
    std::string reason = error.what();
    reason.erase(0, reason.find("] ") + 2);
    if (const size_t column = reason.find("column "); column != std::string::npos) reason.erase(0, column);
    return refuse(fmt::format("not a JSON object ({})", reason.substr(0, reason.find("; last read"))));
  }
  if (!json.is_object()) return refuse("not a JSON object");
  const auto text = json.find(field_);
  if (text == json.end()) return refuse(fmt::format("no field \"{}\" for the text; --jsonl-field names another", field_));
  if (text->is_array()) return join(*text);
  if (!text->is_string())
    return refuse(fmt::format("field \"{}\" is no text but of type {}; --jsonl-field names another", field_, text->type_name()));
  parsed_ = std::move(text->get_ref<std::string&>());
  text_ = parsed_;
  return true;
}

bool RecordReader::join(const nlohmann::json& parts) {
  parsed_.clear();
  for (size_t i = 0; i < parts.size(); ++i) {
    const nlohmann::json& part = parts[i];
    const auto wrong = [&](const std::string& why) { return refuse(fmt::format("field \"{}\", part {}: {}", field_, i + 1, why)); };
    if (part.is_string()) {
      parsed_ += part.get_ref<const std::string&>();
      continue;
    }
    const bool is_span =
        part.is_object() && part.size() == 1 && part.front().is_array() &&
        std::all_of(part.front().begin(), part.front().end(), [](const auto& code) { return code.is_number_integer(); });
    if (!is_span) return wrong("neither text nor a span of codes such as {\"image\": [17, 4]}");
    const std::string why = append_span(parsed_, part.begin().key(), part.front().get<std::vector<int64_t>>(), ranges_);
    if (!why.empty()) return wrong(why);
  }
  text_ = parsed_;
  return true;
}

bool RecordReader::read(std::string_view record) {
  if (read_quickly(record)) return true;
  if (replace_) return parse(replace_lone_surrogates(replace_ill_formed_utf8(record)));
  if (const size_t sound = well_formed_utf8(record); sound < record.size())
    return refuse(fmt::format("ill-formed UTF-8 at byte {} (0x{:02x}); --invalid-utf8 replace makes it U+FFFD", sound + 1,
                              static_cast<unsigned char>(record[sound])));
  return parse(record);
}

}  // namespace drover
