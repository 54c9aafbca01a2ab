#include "data/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>

#include "data/encode.h"
#include "data/shard.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/threads.h"

namespace drover {
namespace {

constexpr int kMostShards = 100000;  // of five digits: they are read in the order of their names

// A shard, or one that was not finished, by the names that ShardSet gives.
bool is_own(const std::filesystem::directory_entry& entry) {
  static const std::regex own(R"(shard_[0-9]{5}\.tokens(\.tmp)?)");
  return !entry.is_directory() && std::regex_match(entry.path().filename().string(), own);
}

// Training reads every *.tokens of a directory as data: one that is somebody else's must not get into it, and is not ours to remove.
void require_no_other_shards(const std::filesystem::path& directory) {
  std::error_code not_there_yet;
  for (const auto& entry : std::filesystem::directory_iterator(directory, not_there_yet))
    if (entry.path().extension() == ".tokens" && !is_own(entry))
      throw Error(ExitCode::data, fmt::format("{} was not made by prepare, and training would read it as part of the data in {}; "
                                              "move it away, or choose another --out",
                                              entry.path().string(), directory.string()));
}

// Keeps a second prepare away from the same output directory.
File lock_output(const std::filesystem::path& out) {
  make_directories(out);
  const auto path = out / "prepare.lock";
  if (auto lock = lock_file(path)) return std::move(*lock);
  throw Error(ExitCode::data, fmt::format("{} is being prepared by another process ({}); wait for it, or choose another --out",
                                          out.string(), read_text(path)));
}

// The shards of one output directory.
class ShardSet {
 public:
  ShardSet(std::filesystem::path directory, const Tokenizer& tokenizer, int64_t shard_tokens)
      : directory_(std::move(directory)), tokenizer_(tokenizer), shard_tokens_(shard_tokens) {
    make_directories(directory_);
    if (std::filesystem::remove(directory_ / "prepare.json")) sync_directory(directory_);  // from here on it is not finished
    for (const auto& entry : std::filesystem::directory_iterator(directory_))              // left by a prepare that did not finish
      if (is_own(entry)) std::filesystem::remove(entry.path());
  }

  void append(const Encoded& piece) {
    size_t begin = 0;
    for (const size_t end : piece.ends) {
      write(std::span(piece.tokens).subspan(begin, end - begin));
      writer_->end_document();
      ++documents_;
      begin = end;
    }
    write(std::span(piece.tokens).subspan(begin));
  }
  void finish() {
    if (writer_) writer_->finish();
    writer_.reset();
  }
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }
  int shards() const { return shards_; }
  bool holds_text() const { return tokens_ > 2 * documents_; }  // more than begins and ends

 private:
  void write(std::span<const int32_t> tokens) {
    tokens_ += static_cast<int64_t>(tokens.size());
    while (!tokens.empty()) {
      if (writer_ && room() == 0) finish();
      if (!writer_) open_next();
      const auto part = tokens.first(std::min(tokens.size(), room()));
      writer_->append(part);
      tokens = tokens.subspan(part.size());
    }
  }
  size_t room() const { return static_cast<size_t>(shard_tokens_) - writer_->tokens(); }
  void open_next() {
    if (shards_ == kMostShards)
      throw Error(ExitCode::data,
                  fmt::format("{}: more than {} shards, whose names would be out of order; --shard-tokens {} is too small",
                              directory_.string(), kMostShards, shard_tokens_));
    const uint32_t width = tokenizer_.vocab() <= 65536 ? 2 : 4;
    writer_.emplace(directory_ / fmt::format("shard_{:05d}.tokens", shards_++), width, static_cast<uint64_t>(tokenizer_.vocab()),
                    tokenizer_.name(), tokenizer_.hash());
  }

  std::filesystem::path directory_;
  const Tokenizer& tokenizer_;
  int64_t shard_tokens_, tokens_ = 0, documents_ = 0;
  int shards_ = 0;
  std::optional<ShardWriter> writer_;
};

// What decides the shards: kept beside them, so that a second run knows that there is nothing to do.
nlohmann::json identity(const PrepareOptions& options, const Tokenizer& tokenizer) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const auto& path : options.inputs) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) throw Error(ExitCode::data, "input " + path.string() + ": " + error.message());
    const auto written = std::filesystem::last_write_time(path, error).time_since_epoch().count();
    inputs.push_back(
        {{"path", std::filesystem::absolute(path).lexically_normal().string()}, {"bytes", size}, {"written", written}});
  }
  return {
      {"tokenizer", tokenizer.name()},      {"tokenizer_hash", tokenizer.hash()},   {"inputs", inputs},
      {"jsonl_field", options.jsonl_field}, {"shard_tokens", options.shard_tokens}, {"validation_tail", options.validation_tail}};
}

bool shards_open(const std::filesystem::path& directory) {
  try {
    for (const auto& path : list_shards(directory)) Shard{path};
    return true;
  } catch (const Error&) {
    return false;
  }
}

// True when `directory` already holds what `wanted` describes; throws when it holds something else.
bool is_prepared(const std::filesystem::path& directory, const nlohmann::json& wanted, PrepareResult& result) {
  const auto path = directory / "prepare.json";
  if (!std::filesystem::exists(path)) return false;
  const auto found = nlohmann::json::parse(read_text(path), nullptr, false);
  if (found.is_discarded() || !found.contains("made_from") || found["made_from"] != wanted)
    throw Error(ExitCode::data,
                directory.string() + " already holds shards of other inputs or options; choose another --out, or remove it");
  const PreparedTotals totals = read_totals(directory);
  if (totals.shards > 0 && !shards_open(directory)) return false;
  result.documents += totals.documents;
  result.tokens += totals.tokens;
  result.shards += static_cast<int>(totals.shards);
  return true;
}

// What a finished prepare left for the same inputs and options.
std::optional<PrepareResult> find_prepared(const std::vector<std::filesystem::path>& directories, const nlohmann::json& wanted) {
  PrepareResult result{.already_prepared = true};
  for (const auto& directory : directories)
    if (!is_prepared(directory, wanted, result)) return std::nullopt;
  return result;
}

int64_t total_text(const std::vector<std::filesystem::path>& inputs, const std::function<void(const PrepareProgress&)>& progress) {
  TextReader reader(inputs);
  TextPiece piece;
  while (reader.next(piece))
    if (progress) progress({.bytes = reader.bytes(), .counting = true});
  return reader.bytes();
}

// Cuts a piece in two at the first line break at or after `at`, for the validation tail. Plain text: both halves are whole documents.
std::pair<TextPiece, TextPiece> split(const TextPiece& piece, size_t at) {
  const size_t newline = piece.text.find('\n', at);
  const size_t cut = newline == std::string::npos ? piece.text.size() : newline + 1;
  TextPiece head = piece, tail = piece;
  head.text = piece.text.substr(0, cut);
  tail.text = piece.text.substr(cut);
  tail.first_line += std::count(head.text.begin(), head.text.end(), '\n');
  head.ends_document = true;
  tail.begins_document = true;
  return {head, tail};
}

class Preparation {
 public:
  Preparation(const PrepareOptions& options, const Tokenizer& tokenizer,
              const std::function<void(const PrepareProgress&)>& progress)
      : options_(options), tokenizer_(tokenizer), progress_(progress),
        workers_(options.workers > 0 ? options.workers : available_cores()), reader_(options.inputs) {}

  void run(ShardSet& train, ShardSet* validation) {
    const int64_t total = validation == nullptr ? 0 : total_text(options_.inputs, progress_);
    const int64_t cut =
        validation == nullptr ? INT64_MAX : static_cast<int64_t>(static_cast<double>(total) * (1 - options_.validation_tail));
    TextPiece piece;
    bool in_tail = false;
    while (reader_.next(piece)) {
      const int64_t begin = reader_.bytes() - static_cast<int64_t>(piece.text.size());
      if (!in_tail && reader_.bytes() > cut) {
        auto [head, tail] = split(piece, static_cast<size_t>(std::max<int64_t>(0, cut - begin)));
        submit(std::move(head), train);
        flush();
        in_tail = true;
        submit(std::move(tail), *validation);  // even without text: it begins the document that goes on in the next piece
      } else {
        submit(std::move(piece), in_tail ? *validation : train);
      }
      if (progress_)
        progress_({.bytes = reader_.bytes(),
                   .documents = train.documents() + (validation ? validation->documents() : 0),
                   .tokens = train.tokens() + (validation ? validation->tokens() : 0),
                   .total = total});
    }
    flush();
  }
  int64_t bytes() const { return reader_.bytes(); }

 private:
  // Pieces are encoded in parallel and written in order.
  void submit(TextPiece piece, ShardSet& shards) {
    pending_.push_back({std::async(std::launch::async,
                                   [this, piece = std::move(piece)] { return encode(piece, options_.jsonl_field, tokenizer_); }),
                        &shards});
    if (static_cast<int>(pending_.size()) >= workers_) write_oldest();
  }
  void write_oldest() {
    pending_.front().shards->append(pending_.front().encoded.get());
    pending_.erase(pending_.begin());
  }
  void flush() {
    while (!pending_.empty()) write_oldest();
  }

  struct Pending {
    std::future<Encoded> encoded;
    ShardSet* shards;
  };
  const PrepareOptions& options_;
  const Tokenizer& tokenizer_;
  const std::function<void(const PrepareProgress&)>& progress_;
  int workers_;
  TextReader reader_;
  std::vector<Pending> pending_;
};

void write_identity(const std::filesystem::path& directory, const nlohmann::json& made_from, const ShardSet& shards) {
  const nlohmann::json json = {
      {"made_from", made_from}, {"documents", shards.documents()}, {"tokens", shards.tokens()}, {"shards", shards.shards()}};
  write_durably(directory / "prepare.json", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

PrepareResult prepare(const PrepareOptions& options, const std::function<void(const PrepareProgress&)>& progress) {
  if (options.inputs.empty()) throw Error(ExitCode::data, "no input files");
  const auto tokenizer = make_tokenizer(options.tokenizer);
  const bool tail = options.validation_tail > 0;
  if (!(options.validation_tail >= 0 && options.validation_tail < 1))
    throw Error(ExitCode::data, fmt::format("validation tail {}: a share of the text, 0 to below 1", options.validation_tail));
  const nlohmann::json made_from = identity(options, *tokenizer);
  Preparation preparation(options, *tokenizer, progress);
  std::vector<std::filesystem::path> directories{options.out};
  if (tail) directories = {options.out / "train", options.out / "validation"};
  if (const auto found = find_prepared(directories, made_from)) return *found;  // perhaps where nothing can be written or locked
  for (const auto& directory : directories) require_no_other_shards(directory);
  const File lock = lock_output(options.out);
  if (const auto found = find_prepared(directories, made_from)) return *found;  // another process finished before the lock was ours
  PrepareResult result;
  try {
    ShardSet train(directories.front(), *tokenizer, options.shard_tokens);
    std::optional<ShardSet> validation;
    if (tail) validation.emplace(directories.back(), *tokenizer, options.shard_tokens);
    preparation.run(train, validation ? &*validation : nullptr);
    if (!train.holds_text()) throw Error(ExitCode::data, "the inputs hold no text");
    train.finish();
    if (validation) validation->finish();
    write_identity(directories.front(), made_from, train);
    if (validation) write_identity(directories.back(), made_from, *validation);
    result.bytes = preparation.bytes();
    for (const ShardSet* shards : {&train, validation ? &*validation : nullptr})
      if (shards != nullptr) {
        result.documents += shards->documents();
        result.tokens += shards->tokens();
        result.shards += shards->shards();
      }
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ExitCode::storage, error.what());
  }
  return result;
}

}  // namespace drover
