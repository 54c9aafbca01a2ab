#include "data/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "data/kept_tokenizer.h"
#include "data/prepare_output.h"
#include "data/prepare_unit.h"
#include "data/survey.h"
#include "data/worker_pool.h"
#include "kernels/base/error.h"
#include "kernels/base/threads.h"

namespace drover {
namespace {

// What decides the shards: kept beside them, so that a second run knows that there is nothing to do. What was not there in earlier versions is named
// only where it is used, so that what they made is still known.
nlohmann::json identity(const PrepareOptions& options, const std::vector<Input>& files, const Tokenizer& tokenizer) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const Input& input : files) {
    if (input.is_standard_input()) {
      inputs.push_back({{"path", "-"}, {"format", options.standard_input_format}});
      continue;
    }
    std::error_code error;
    const auto written = std::filesystem::last_write_time(input.path, error).time_since_epoch().count();
    if (error) throw Error(ExitCode::data, "input " + input.path.string() + ": " + error.message());
    inputs.push_back({{"path", std::filesystem::absolute(input.path).lexically_normal().string()},
                      {"bytes", input.bytes},
                      {"written", written}});
  }
  nlohmann::json json = {
      {"tokenizer", tokenizer.name()},      {"tokenizer_hash", tokenizer.hash()},   {"inputs", inputs},
      {"jsonl_field", options.jsonl_field}, {"shard_tokens", options.shard_tokens}, {"validation_tail", options.validation_tail}};
  if (options.validation_share > 0) json["validation_share"] = options.validation_share;
  if (options.deduplicate) json["deduplicate"] = true;
  if (options.replace_ill_formed) json["invalid_utf8"] = "replace";
  if (std::any_of(files.begin(), files.end(), [](const Input& input) { return input.format == InputFormat::parquet; }))
    json["column"] = options.column;
  if (options.unit_bytes != kUnitBytes) json["unit_bytes"] = options.unit_bytes;
  return json;
}

void require_sound(const PrepareOptions& options) {
  if (options.inputs.empty()) throw Error(ExitCode::data, "no input files");
  if (!(options.validation_tail >= 0 && options.validation_tail < 1))
    throw Error(ExitCode::data, fmt::format("validation tail {}: a share of the text, 0 to below 1", options.validation_tail));
  if (!(options.validation_share >= 0 && options.validation_share < 1))
    throw Error(ExitCode::data, fmt::format("validation share {}: of the documents, 0 to below 1", options.validation_share));
  if (options.validation_tail > 0 && options.validation_share > 0)
    throw Error(ExitCode::data, "both a validation tail and a validation share; one of the two says what is held out");
}

class Preparation {
 public:
  Preparation(const PrepareOptions& options, std::vector<Input> inputs, const Tokenizer& tokenizer,
              const std::function<void(const PrepareProgress&)>& progress)
      : options_(options), inputs_(std::move(inputs)), ranges_(divide_into_units(inputs_, options.unit_bytes)),
        tokenizer_(tokenizer), parts_(options.validation_tail > 0 || options.validation_share > 0 ? 2 : 1),
        output_(options.out, parts_ == 2 ? std::vector<std::string>{"train", "validation"} : std::vector<std::string>{""},
                identity(options, inputs_, tokenizer), units()),
        from_standard_input_(inputs_.front().is_standard_input()),
        workers_(options.workers > 0 ? options.workers : available_cores()), monitor_(options, total_bytes(), progress) {
    const bool plain =
        std::any_of(inputs_.begin(), inputs_.end(), [](const Input& input) { return input.format == InputFormat::text; });
    hashes_ = options.deduplicate || (options.validation_share > 0 && plain);
    survey_ = hashes_ || options.validation_tail > 0;
    if (!from_standard_input_) return;
    if (survey_)
      throw Error(ExitCode::data,
                  "standard input is read once: --deduplicate, --validation-tail, and --validation-share of plain text "
                  "need a first look at all of it; write it to a file, and name that");
    if (options.processes > 1)
      throw Error(ExitCode::data, fmt::format("standard input reaches one process, and {} were started; start one, or name files",
                                              options.processes));
  }

  PrepareResult run() {
    if (const auto found = find_prepared()) return *found;  // perhaps where nothing can be written or locked
    output_.begin(!from_standard_input_);
    if (const auto found = find_prepared()) return *found;
    pool_.emplace(workers_);
    if (survey_) {
      monitor_.surveying(true);
      on_all_units(UnitStage::survey, [&](int unit) { survey_unit(work(unit), output_.journal_file(unit, ".survey"), hashes_); });
      put_surveys_together();
      monitor_.surveying(false);
    }
    on_all_units(UnitStage::make, [&](int unit) { make(unit); });
    output_.finish([this](size_t part) { return summary(part); });
    const auto made = find_prepared();
    if (!made)
      throw Error(ExitCode::data,
                  fmt::format("{} holds shards that this prepare did not make, beside its own; remove them, and run it again",
                              options_.out.string()));
    PrepareResult result = *made;
    result.already_prepared = false;
    return result;
  }

 private:
  int units() const { return static_cast<int>(ranges_.size()); }
  int64_t total_bytes() const {
    int64_t bytes = 0;
    for (const Input& input : inputs_) bytes += input.bytes;
    return bytes;
  }

  // What a finished prepare left for the same inputs and options.
  std::optional<PrepareResult> find_prepared() const {
    const auto totals = output_.find_prepared();
    if (!totals) return std::nullopt;
    if (from_standard_input_ && !made_here_)
      throw Error(ExitCode::data,
                  options_.out.string() +
                      " already holds shards of standard input, perhaps of another; choose another --out, or remove it");
    PrepareResult result{.documents = totals->documents,
                         .tokens = totals->tokens,
                         .shards = static_cast<int>(totals->shards),
                         .already_prepared = true};
    const auto json = nlohmann::json::parse(read_text(output_.directories().front() / "prepare.json"));
    result.bytes = json.value("bytes", int64_t{0});
    result.duplicates = json.value("duplicates", int64_t{0});
    result.bad.count = json.value("bad_records", int64_t{0});
    result.bad.first = json.value("bad_records_first", std::vector<std::string>{});
    return result;
  }

  UnitWork work(int unit) {
    const InputRange range = ranges_[static_cast<size_t>(unit)];
    const auto begin = inputs_.begin();
    return {.unit = unit,
            .inputs = {begin + static_cast<std::ptrdiff_t>(range.begin), begin + static_cast<std::ptrdiff_t>(range.end)},
            .options = options_,
            .tokenizer = tokenizer_,
            .pool = *pool_,
            .monitor = monitor_,
            .depth = static_cast<size_t>(std::max(2, 2 * workers_ / threads()))};
  }

  // Of units at once, each with a thread that reads and writes: not all here where other processes have a share.
  int threads() const { return std::clamp((units() + options_.processes - 1) / options_.processes, 1, workers_); }

  // Until the stage is done in all units, whoever works on them. The error is that of the first unit which has one.
  void on_all_units(UnitStage stage, const std::function<void(int unit)>& body) {
    std::mutex mutex;
    std::exception_ptr error;
    int failed = units();
    const auto work = [&](bool stays) {
      int unit = -1;
      try {
        while (!monitor_.stopped()) {
          const PrepareOutput::Claim claim = [&] {
            const std::lock_guard lock(mutex);
            return output_.claim(stage);
          }();
          unit = claim.unit;
          if (unit >= 0) {
            body(unit);
            continue;
          }
          if (claim.all_done || !stays) return;
          std::this_thread::sleep_for(std::chrono::milliseconds(100));  // another process may end without having finished its unit
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        const bool first = !monitor_.stopped() || unit < failed;
        if (first && !is_stop(std::current_exception())) error = std::current_exception(), failed = unit;
        monitor_.stop();
      }
    };
    std::vector<std::thread> others;
    for (int i = 1; i < threads(); ++i) others.emplace_back(work, false);
    work(true);
    for (std::thread& thread : others) thread.join();
    if (error) std::rethrow_exception(error);
  }

  static bool is_stop(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const Error& known) {
      return known.code() == ExitCode::internal && *known.what() == '\0';
    } catch (...) {
      return false;
    }
  }

  Survey survey(int unit) const { return Survey(output_.journal_file(unit, ".survey")); }

  // Bytes of text of all units, and the keys of duplicates, for all processes.
  void put_surveys_together() {
    const std::optional<std::string> text = output_.once("surveyed.json", [&] {
      std::vector<int64_t> bytes;
      int64_t documents = 0;
      for (int unit = 0; unit < units(); ++unit) {
        const Survey looked_at = survey(unit);
        bytes.push_back(looked_at.text_bytes());
        documents += static_cast<int64_t>(looked_at.records().size());
      }
      if (options_.deduplicate)
        find_duplicates(
            documents, units(), [&](int unit) { return survey(unit); },
            [&](int unit, const std::vector<uint64_t>& keys) {
              write_durably(output_.journal_file(unit, ".dropped"),
                            {reinterpret_cast<const char*>(keys.data()), keys.size() * sizeof(uint64_t)});
            });
      return nlohmann::json(bytes).dump();
    });
    if (text) text_bytes_ = nlohmann::json::parse(*text).get<std::vector<int64_t>>();
  }

  void make(int unit) {
    UnitVerdicts verdicts;
    if (options_.validation_tail > 0) {
      int64_t before = 0, total = 0;
      for (int i = 0; i < units(); ++i) (i < unit ? before : total) += text_bytes_[static_cast<size_t>(i)];
      total += before;
      verdicts.cut = static_cast<int64_t>(static_cast<double>(total) * (1 - options_.validation_tail)) - before;
    }
    const UnitWork unit_work = work(unit);
    if (hashes_) {
      verdicts.plain_texts.resize(unit_work.inputs.size());
      const Survey looked_at = survey(unit);
      for (const SurveyRecord& record : looked_at.records()) {
        const auto file = static_cast<size_t>(record.key >> 40);
        if (unit_work.inputs[file].format == InputFormat::text) verdicts.plain_texts[file] = record.hash;
      }
    }
    std::optional<MappedFile> dropped;
    if (options_.deduplicate) {
      dropped.emplace(output_.journal_file(unit, ".dropped"));
      verdicts.dropped = {reinterpret_cast<const uint64_t*>(dropped->bytes().data()), dropped->bytes().size() / sizeof(uint64_t)};
    }
    output_.mark_done(UnitStage::make, unit, make_unit(unit_work, output_, parts_, verdicts).to_json());
  }

  // Of prepare.json. Throws Error(data) where there is nothing to train on.
  nlohmann::json summary(size_t part) {
    std::array<UnitResult::Totals, kParts> totals;
    UnitTally tally;
    int64_t bytes = 0;
    for (int unit = 0; unit < units(); ++unit) {
      const UnitResult result = UnitResult::from_json(output_.result(UnitStage::make, unit));
      bytes += result.bytes;
      tally.bad.add(result.tally.bad);
      tally.duplicates += result.tally.duplicates;
      for (size_t i = 0; i < kParts; ++i) {
        totals[i].documents += result.parts[i].documents;
        totals[i].tokens += result.parts[i].tokens;
        totals[i].shards += result.parts[i].shards;
      }
    }
    require_few(tally.bad, options_.max_bad);
    const int marks = tokenizer_.begin_document() >= 0 ? 2 : 1;  // of a document: its begin and end
    const auto holds_text = [marks](const UnitResult::Totals& all) { return all.tokens > marks * all.documents; };
    if (!holds_text(totals[0])) {
      output_.clear();
      if (!holds_text(totals[1])) {
        const std::string bad =
            tally.bad.count == 0 ? "" : fmt::format("; left out, as --max-bad allows: {}", tally.bad.first.front());
        throw Error(ExitCode::data, "the inputs hold no text" + bad);
      }
      throw Error(ExitCode::data, fmt::format("all text is held out for {}, none is left to train on; choose a smaller share",
                                              output_.directories().back().string()));
    }
    made_here_ = true;
    keep_tokenizer(tokenizer_, output_.directories()[part]);
    return {{"documents", totals[part].documents}, {"tokens", totals[part].tokens},
            {"shards", totals[part].shards},       {"bytes", bytes},
            {"duplicates", tally.duplicates},      {"bad_records", tally.bad.count},
            {"bad_records_first", tally.bad.first}};
  }

  const PrepareOptions& options_;
  std::vector<Input> inputs_;
  std::vector<InputRange> ranges_;
  const Tokenizer& tokenizer_;
  size_t parts_;
  PrepareOutput output_;
  bool from_standard_input_, hashes_ = false, survey_ = false, made_here_ = false;
  int workers_;
  PrepareMonitor monitor_;
  std::optional<WorkerPool> pool_;
  std::vector<int64_t> text_bytes_;  // of each unit, where there was a survey
};

}  // namespace

PrepareResult prepare(const PrepareOptions& options, const std::function<void(const PrepareProgress&)>& progress) {
  require_sound(options);
  const auto tokenizer = make_tokenizer(options.tokenizer);
  std::vector<Input> inputs = find_inputs({options.inputs, options.standard_input_format});
  try {
    return Preparation(options, std::move(inputs), *tokenizer, progress).run();
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ExitCode::storage, error.what());
  }
}

}  // namespace drover
