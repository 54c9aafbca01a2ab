#include "data/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "data/record.h"
#include "data/spans.h"
#include "data/utf8.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

BadRecords for_each_record(const TextPiece& piece, const TextRules& rules,
                           const std::function<void(std::string_view, int64_t)>& body) {
  BadRecords bad;
  RecordReader reader(rules.field, rules.replace_ill_formed, rules.ranges);
  int64_t line = piece.place.line;
  for (size_t begin = 0; begin < piece.text.size(); ++line) {
    const size_t end = std::min(piece.text.find('\n', begin), piece.text.size());
    const std::string_view record(piece.text.data() + begin, end - begin);
    begin = end + 1;
    if (record.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (reader.read(record))
      body(reader.text(), line);
    else
      bad.add(fmt::format("{}:{}: {}", piece.path.string(), line, reader.why()));
  }
  return bad;
}

BadRecords for_each_row(const TextPiece& piece, const TextRules& rules,
                        const std::function<void(std::string_view, int64_t)>& body) {
  BadRecords bad;
  size_t begin = 0;
  for (size_t i = 0; i < piece.row_ends.size(); ++i) {
    const std::string_view text = std::string_view(piece.text).substr(begin, piece.row_ends[i] - begin);
    const int64_t row = piece.place.line + static_cast<int64_t>(i);
    begin = piece.row_ends[i];
    const bool sound = well_formed_utf8(text) == text.size();
    if (piece.row_is_null[i])
      bad.add(fmt::format("{}:{}: column \"{}\" is null in this row", piece.path.string(), row, rules.column));
    else if (!sound && !rules.replace_ill_formed)
      bad.add(fmt::format("{}:{}: ill-formed UTF-8 at byte {} of the row's text; --invalid-utf8 replace makes it U+FFFD",
                          piece.path.string(), row, well_formed_utf8(text) + 1));
    else if (sound)
      body(text, row);
    else
      body(replace_ill_formed_utf8(text), row);
  }
  return bad;
}

}  // namespace

void BadRecords::add(std::string what) {
  ++count;
  if (first.size() < kInFull) first.push_back(std::move(what));
}

void BadRecords::add(const BadRecords& later) {
  count += later.count;
  for (const std::string& what : later.first)
    if (first.size() < kInFull) first.push_back(what);
}

BadRecords for_each_document(const TextPiece& piece, const TextRules& rules,
                             const std::function<void(std::string_view text, int64_t line)>& body) {
  return piece.format == InputFormat::jsonl ? for_each_record(piece, rules, body) : for_each_row(piece, rules, body);
}

std::string_view plain_text(const TextPiece& piece, const TextRules& rules, std::string& repaired) {
  const size_t sound = well_formed_utf8(piece.text);
  if (sound == piece.text.size()) return piece.text;
  if (!rules.replace_ill_formed)
    throw Error(
        ExitCode::data,
        fmt::format(
            "{}:{}: ill-formed UTF-8 at byte {} of the file (0x{:02x}); a file of plain text is one document: convert "
            "it, for example by iconv, leave it out, or --invalid-utf8 replace makes it U+FFFD",
            piece.path.string(),
            piece.place.line + std::count(piece.text.begin(), piece.text.begin() + static_cast<std::ptrdiff_t>(sound), '\n'),
            piece.place.offset + static_cast<int64_t>(sound) + 1, static_cast<unsigned char>(piece.text[sound])));
  repaired = replace_ill_formed_utf8(piece.text);
  return repaired;
}

EncodedPiece encode(const TextPiece& piece, const TextRules& rules, const Tokenizer& tokenizer, const Assignment& assignment) {
  EncodedPiece out;
  const auto part_of = [&](Part part) -> Encoded& { return out.parts[static_cast<size_t>(part)]; };
  const auto wanted = [&](Part part) { return assignment.wanted[static_cast<size_t>(part)]; };
  const auto begin_document = [&](Part part) {
    if (tokenizer.begin_document() >= 0) part_of(part).tokens.push_back(tokenizer.begin_document());
  };
  const auto end = [&](Encoded& part) {
    part.tokens.push_back(tokenizer.end_document());
    part.ends.push_back(part.tokens.size());
  };
  if (piece.format == InputFormat::text) {
    out.duplicates = assignment.drop_all && piece.begins_document ? 1 : 0;
    const Part part = assignment.all.value_or(Part::train);
    std::string repaired;
    const std::string_view text = plain_text(piece, rules, repaired);
    if (assignment.drop_all || !wanted(part)) return out;
    if (piece.begins_document) begin_document(part);
    tokenizer.encode(text, part_of(part).tokens);
    if (piece.ends_document) end(part_of(part));
    return out;
  }
  out.bad = for_each_document(piece, rules, [&](std::string_view text, int64_t line) {
    if (std::binary_search(assignment.dropped.begin(), assignment.dropped.end(), document_key(piece.place, line))) {
      ++out.duplicates;
      return;
    }
    const bool held_out = assignment.validation_below > 0 && document_hash(text).high < assignment.validation_below;
    const Part part = assignment.all.value_or(held_out ? Part::validation : Part::train);
    if (!wanted(part)) return;
    begin_document(part);
    encode_document(tokenizer, text, part_of(part).tokens);
    end(part_of(part));
  });
  return out;
}

}  // namespace drover
