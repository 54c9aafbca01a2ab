#include "data/prepare_unit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <future>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/words.h"

namespace drover {
namespace {

// Results of tasks, taken in the order in which the tasks were given.
template <class Result> class InOrder {
 public:
  InOrder(size_t depth, std::function<void(const TextPlace&, const Result&)> take) : depth_(depth), take_(std::move(take)) {}
  ~InOrder() {
    for (auto& [place, result] : pending_) result.wait();  // they use what the caller has
  }
  void add(const TextPlace& place, std::future<Result> result) {
    pending_.emplace_back(place, std::move(result));
    if (pending_.size() >= depth_) take_oldest();
  }
  void finish() {
    while (!pending_.empty()) take_oldest();
  }

 private:
  void take_oldest() {
    auto [place, future] = std::move(pending_.front());
    pending_.pop_front();
    take_(place, future.get());
  }
  size_t depth_;
  std::function<void(const TextPlace&, const Result&)> take_;
  std::deque<std::pair<TextPlace, std::future<Result>>> pending_;
};

TextLimits limits_for(const Tokenizer& tokenizer) {
  TextLimits limits;
  limits.cuts = tokenizer.splits_at_cuts();
  return limits;
}

TextRules rules_of(const UnitWork& work) {
  const PrepareOptions& options = work.options;
  return {.field = options.jsonl_field,
          .column = options.column,
          .replace_ill_formed = options.replace_ill_formed,
          .ranges = work.tokenizer.ranges()};
}

// Cuts a piece in two at the first line break at or behind `at`, or where there is none at the next character: both halves are whole documents.
std::pair<TextPiece, TextPiece> split(const TextPiece& piece, size_t at) {
  TextPiece head = piece, tail = piece;
  size_t cut = 0, rows = 0;
  if (piece.format == InputFormat::parquet) {
    while (rows < piece.row_ends.size() && cut < at) cut = piece.row_ends[rows++];
    const auto middle = static_cast<std::ptrdiff_t>(rows);
    head.row_ends.resize(rows), head.row_is_null.resize(rows);
    tail.row_ends.erase(tail.row_ends.begin(), tail.row_ends.begin() + middle);
    tail.row_is_null.erase(tail.row_is_null.begin(), tail.row_is_null.begin() + middle);
    for (size_t& end : tail.row_ends) end -= cut;
    tail.place.line += static_cast<int64_t>(rows);
  } else if (const size_t newline = piece.text.find('\n', at); newline != std::string::npos) {
    cut = newline + 1;
  } else {
    cut = at;
    while (piece.format == InputFormat::text && cut < piece.text.size() &&
           (static_cast<unsigned char>(piece.text[cut]) & 0xc0) == 0x80)
      ++cut;
    if (piece.format == InputFormat::jsonl) cut = piece.text.size();
  }
  head.text = piece.text.substr(0, cut);
  tail.text = piece.text.substr(cut);
  if (piece.format != InputFormat::parquet) tail.place.line += std::count(head.text.begin(), head.text.end(), '\n');
  head.ends_document = true;
  tail.begins_document = true;
  return {head, tail};
}

struct Surveyed {
  std::vector<SurveyRecord> records;
  BadRecords bad;
  std::string plain;  // text, where it is plain text
  bool begins_document = false, ends_document = false;
};

Surveyed survey(const TextPiece& piece, const TextRules& rules) {
  Surveyed out{.begins_document = piece.begins_document, .ends_document = piece.ends_document};
  if (piece.format == InputFormat::text) {
    std::string repaired;
    out.plain = plain_text(piece, rules, repaired);
    return out;
  }
  out.begins_document = out.ends_document = false;
  out.bad = for_each_document(piece, rules, [&](std::string_view text, int64_t line) {
    out.records.push_back({document_hash(text), document_key(piece.place, line)});
  });
  return out;
}

}  // namespace

PrepareMonitor::PrepareMonitor(const PrepareOptions& options, int64_t size,
                               const std::function<void(const PrepareProgress&)>& progress)
    : options_(options), progress_(progress), sum_{.size = size} {}

void PrepareMonitor::surveying(bool on) {
  const std::lock_guard lock(mutex_);
  sum_ = {.size = sum_.size, .surveying = on};
  bad_ = {};
}

void PrepareMonitor::add(const PrepareProgress& more, const BadRecords& bad) {
  const std::lock_guard lock(mutex_);
  if (stopped_) throw Error(ExitCode::internal, "");
  sum_.bytes += more.bytes, sum_.documents += more.documents, sum_.tokens += more.tokens, sum_.position += more.position;
  bad_.add(bad);
  require_few(bad_, options_.max_bad);
  if (progress_) progress_(sum_);
}

void require_few(const BadRecords& bad, int64_t most) {
  if (bad.count <= most) return;
  if (most == 0) throw Error(ExitCode::data, bad.first.front());
  throw Error(ExitCode::data,
              fmt::format("{}, more than --max-bad {} allows:\n  {}{}", counted(bad.count, "bad record"), most,
                          fmt::join(bad.first, "\n  "), bad.count > static_cast<int64_t>(bad.first.size()) ? "\n  ..." : ""));
}

void survey_unit(const UnitWork& work, const std::filesystem::path& path, bool hashes) {
  const TextRules rules = rules_of(work);
  SurveyWriter out(path);
  TextReader reader(work.inputs, work.options.column, {}, limits_for(work.tokenizer));
  int64_t position = 0;
  const auto shown = [&](int64_t bytes) {
    const int64_t before = std::exchange(position, reader.position());
    return PrepareProgress{.bytes = bytes, .position = position - before};
  };
  DocumentHashStream plain;
  InOrder<Surveyed> results(work.depth, [&](const TextPlace& place, const Surveyed& piece) {
    if (piece.begins_document) plain.reset();
    plain.update(piece.plain);
    if (piece.ends_document) out.add({plain.digest(), document_key(place, 0)});
    for (const SurveyRecord& record : piece.records) out.add(record);
    work.monitor.add({}, piece.bad);
  });
  TextPiece piece;
  while (reader.next(piece)) {
    work.monitor.add(shown(static_cast<int64_t>(piece.text.size())), {});
    if (!hashes) continue;
    const TextPlace place = piece.place;
    results.add(place, work.pool.run([&rules, piece = std::move(piece)] { return survey(piece, rules); }));
  }
  results.finish();
  out.finish(reader.bytes());
}

namespace {

class UnitMaker {
 public:
  UnitMaker(const UnitWork& work, const PrepareOutput& output, size_t parts, const UnitVerdicts& verdicts)
      : work_(work), verdicts_(verdicts), rules_(rules_of(work)),
        journal_(output.journal_file(work.unit, ".shards"), [&](size_t part, int shard, const ShardPlace&) {
          return part < parts && is_sound(output.names(part, work.unit).path(shard));
        }) {
    for (size_t part = 0; part < parts; ++part)
      sets_.emplace_back(output.names(part, work.unit), work.tokenizer, work.options.shard_tokens, journal_.place(part),
                         [this, part](const ShardPlace& place) { journal_.add(part, place, tally_before_); });
  }

  UnitResult run() {
    const ShardPlace &train = journal_.place(0), &validation = journal_.place(1);
    const bool before_tail = verdicts_.cut && train.place.bytes <= *verdicts_.cut;  // validation has nothing of that
    const size_t first = sets_.size() > 1 && validation.place.order(train.place) < 0 && !before_tail ? 1 : 0;
    tally_ = tally_before_ = journal_.tally(first);
    place_ = journal_.place(first).place;
    work_.monitor.add({}, tally_.bad);
    TextReader reader(work_.inputs, work_.options.column, journal_.place(first).place, limits_for(work_.tokenizer));
    InOrder<EncodedPiece> results(work_.depth, [this](const TextPlace& place, const EncodedPiece& piece) { write(place, piece); });
    TextPiece piece;
    while (reader.next(piece)) {
      const int64_t bytes = static_cast<int64_t>(piece.text.size()), before = std::exchange(position_, reader.position());
      submit(std::move(piece), results);
      work_.monitor.add({.bytes = bytes, .position = position_ - before}, {});
    }
    results.finish();
    UnitResult result{.bytes = reader.bytes(), .tally = tally_};
    for (size_t part = 0; part < sets_.size(); ++part) {
      sets_[part].finish();
      result.parts[part] = {sets_[part].documents(), sets_[part].tokens(), sets_[part].shards()};
    }
    return result;
  }

 private:
  // A finished shard that is what it should be.
  bool is_sound(const std::filesystem::path& path) const {
    try {
      const Shard shard(path);
      return shard.header().tokens == static_cast<uint64_t>(work_.options.shard_tokens) &&
             shard.header().tokenizer_hash == work_.tokenizer.hash();
    } catch (const Error&) {
      return false;
    }
  }

  Assignment assignment_of(const TextPiece& piece) const {
    Assignment all{.dropped = verdicts_.dropped};
    for (size_t part = 0; part < kParts; ++part) all.wanted[part] = piece.place.order(journal_.place(part).place) >= 0;
    if (work_.options.validation_share > 0)
      all.validation_below = static_cast<uint64_t>(std::ldexp(work_.options.validation_share, 64));
    if (piece.format != InputFormat::text) return all;
    all.drop_all = std::binary_search(verdicts_.dropped.begin(), verdicts_.dropped.end(), document_key(piece.place, 0));
    if (all.validation_below > 0)
      all.all =
          verdicts_.plain_texts[static_cast<size_t>(piece.place.file)].high < all.validation_below ? Part::validation : Part::train;
    return all;
  }

  void submit(TextPiece piece, InOrder<EncodedPiece>& results) {
    Assignment assignment = assignment_of(piece);
    const TextPlace place = piece.place;
    const auto add = [&](TextPiece part) {
      results.add(place, work_.pool.run([this, assignment, part = std::move(part)] {
        return encode(part, rules_, work_.tokenizer, assignment);
      }));
    };
    if (!verdicts_.cut) return add(std::move(piece));
    const int64_t begin = place.bytes, end = begin + static_cast<int64_t>(piece.text.size()), cut = *verdicts_.cut;
    assignment.all = end <= cut ? Part::train : Part::validation;
    if (end <= cut || begin > cut) return add(std::move(piece));
    auto [head, tail] = split(piece, static_cast<size_t>(cut - begin));
    assignment.all = Part::train;
    add(std::move(head));
    assignment.all = Part::validation;  // even without text: it begins the document that goes on in the next piece
    add(std::move(tail));
  }

  void write(const TextPlace& place, const EncodedPiece& piece) {
    if (place.order(place_) != 0) tally_before_ = tally_;
    place_ = place;
    PrepareProgress more;
    for (size_t part = 0; part < sets_.size(); ++part) {
      more.documents -= sets_[part].documents(), more.tokens -= sets_[part].tokens();
      sets_[part].append(place, piece.parts[part]);
      more.documents += sets_[part].documents(), more.tokens += sets_[part].tokens();
    }
    tally_.bad.add(piece.bad);
    tally_.duplicates += piece.duplicates;
    work_.monitor.add(more, piece.bad);
  }

  const UnitWork& work_;
  const UnitVerdicts& verdicts_;
  TextRules rules_;
  UnitJournal journal_;
  std::deque<ShardSet> sets_;
  UnitTally tally_, tally_before_;  // of the pieces written so far, and of those before `place_`
  TextPlace place_;                 // of the piece that is written
  int64_t position_ = 0;
};

}  // namespace

UnitResult make_unit(const UnitWork& work, const PrepareOutput& output, size_t parts, const UnitVerdicts& verdicts) {
  return UnitMaker(work, output, parts, verdicts).run();
}

std::string UnitResult::to_json() const {
  nlohmann::json json = {{"bytes", bytes},
                         {"bad", tally.bad.count},
                         {"bad_first", tally.bad.first},
                         {"duplicates", tally.duplicates},
                         {"parts", nlohmann::json::array()}};
  for (const Totals& part : parts)
    json["parts"].push_back({{"documents", part.documents}, {"tokens", part.tokens}, {"shards", part.shards}});
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

UnitResult UnitResult::from_json(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  UnitResult result;
  json.at("bytes").get_to(result.bytes);
  json.at("bad").get_to(result.tally.bad.count);
  json.at("bad_first").get_to(result.tally.bad.first);
  json.at("duplicates").get_to(result.tally.duplicates);
  for (size_t part = 0; part < kParts; ++part) {
    const auto& totals = json.at("parts").at(part);
    result.parts[part] = {totals.at("documents"), totals.at("tokens"), totals.at("shards")};
  }
  return result;
}

}  // namespace drover
