#include "data/import_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "data/import_source.h"
#include "data/kept_tokenizer.h"
#include "data/output_directory.h"
#include "data/shard_directory.h"
#include "data/tokenizer.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

struct Identity {
  std::string name = "unknown";
  uint64_t hash = 0;
  int64_t vocab = 0;
};

Identity identity_of(const ImportOptions& options) {
  if (options.tokenizer.empty() == (options.vocab == 0))
    throw Error(ExitCode::config, "one of --tokenizer (whose ids these are) and --vocab (how many ids there are) is needed");
  if (options.tokenizer.empty()) return {.vocab = options.vocab};
  const auto tokenizer = make_tokenizer(options.tokenizer);
  return {tokenizer->name(), tokenizer->hash(), tokenizer->vocab()};
}

void check_options(const ImportOptions& options, const Identity& identity) {
  const int rules = (options.end_token ? 1 : 0) + (options.begin_token ? 1 : 0) + (options.whole_files ? 1 : 0);
  if (rules > 1) throw Error(ExitCode::config, "--end-token, --begin-token and --whole-files exclude each other");
  for (const auto& [option, id] : {std::pair{"--end-token", options.end_token}, {"--begin-token", options.begin_token}})
    if (id && (*id < 0 || *id >= identity.vocab))
      throw Error(ExitCode::config, fmt::format("{} {} is outside the vocabulary of {}", option, *id, identity.vocab));
}

std::optional<TokenType> type_of(const ImportOptions& options) {
  if (options.dtype.empty()) return std::nullopt;
  const auto type = token_type(options.dtype);
  if (!type) throw Error(ExitCode::config, fmt::format("--dtype {}: {}", options.dtype, token_type_names()));
  return type;
}

class Import {
 public:
  Import(const ImportOptions& options, const Identity& identity, OutputDirectory& out,
         const std::function<void(const std::filesystem::path&, int64_t)>& progress)
      : options_(options), identity_(identity), out_(out), progress_(progress) {}

  void add(ImportSource& source) {
    if (options_.in_place)
      refer(source);
    else
      copy(source);
    source.require_unchanged();
  }
  void finish() {
    if (writer_) writer_->finish();
    writer_.reset();
  }
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

 private:
  void tell(const ImportSource& source, int64_t done) const {
    if (progress_) progress_(source.found().path, done);
  }

  void copy(ImportSource& source) {
    int64_t done = 0;
    while (source.next()) {
      const std::span<const int32_t> all = source.tokens;
      size_t begin = 0;
      for (const size_t end : source.ends) {
        write(all.subspan(begin, end - begin));
        writer_->end_document();
        ++documents_;
        begin = end;
      }
      write(all.subspan(begin));
      tell(source, done += std::ssize(all));
    }
  }

  void write(std::span<const int32_t> tokens) {
    tokens_ += std::ssize(tokens);
    while (!tokens.empty()) {
      if (writer_ && writer_->tokens() == static_cast<uint64_t>(options_.shard_tokens)) finish();
      if (!writer_)
        writer_ = std::make_unique<ShardWriter>(out_.next_shard(), identity_.vocab <= 65536 ? 2 : 4,
                                                static_cast<uint64_t>(identity_.vocab), identity_.name, identity_.hash);
      const auto part = tokens.first(std::min(tokens.size(), static_cast<size_t>(options_.shard_tokens) - writer_->tokens()));
      writer_->append(part);
      tokens = tokens.subspan(part.size());
    }
  }

  // A shard for the file as it is: what is in it is read once, for its checksum, its documents, and ids that are too large.
  void refer(ImportSource& source) {
    const ForeignFile& found = source.found();
    Xxh3Stream hash;
    std::vector<uint64_t> ends;
    int64_t done = 0;
    while (source.next()) {
      hash.update(source.bytes.data(), source.bytes.size());
      for (const size_t end : source.ends)
        if (const uint64_t place = static_cast<uint64_t>(done) + end; ends.empty() || place > ends.back()) ends.push_back(place);
      tell(source, done += std::ssize(source.tokens));
    }
    if (done == 0) return;
    hash.update(ends.data(), ends.size() * sizeof(uint64_t));
    const ForeignTokens where{std::filesystem::absolute(found.path).lexically_normal(), static_cast<uint64_t>(found.offset),
                              static_cast<uint64_t>(source.file().size()), source.file().modified()};
    write_reference(out_.next_shard(),
                    {.width = static_cast<uint32_t>(bytes_of(found.type)),
                     .vocab = static_cast<uint64_t>(identity_.vocab),
                     .tokenizer_hash = identity_.hash,
                     .tokenizer = identity_.name,
                     .tokens = static_cast<uint64_t>(found.tokens),
                     .documents = ends.size(),
                     .payload_hash = hash.digest(),
                     .foreign = where},
                    ends);
    tokens_ += done;
    documents_ += std::ssize(ends);
  }

  const ImportOptions& options_;
  const Identity& identity_;
  OutputDirectory& out_;
  const std::function<void(const std::filesystem::path&, int64_t)>& progress_;
  std::unique_ptr<ShardWriter> writer_;
  int64_t tokens_ = 0, documents_ = 0;
};

// What decides the shards: kept beside them, so that a second run knows that there is nothing to do.
nlohmann::json made_from(const ImportOptions& options, const Identity& identity, const std::vector<ForeignFile>& files) {
  nlohmann::json inputs = nlohmann::json::array();
  const auto add = [&](const std::filesystem::path& path) {
    const DataFile file(path);
    inputs.push_back({{"path", std::filesystem::absolute(path).lexically_normal().string()},
                      {"bytes", file.size()},
                      {"written", file.modified()}});
  };
  for (const ForeignFile& file : files) {
    add(file.path);
    for (const auto& path : file.beside) add(path);
  }
  return {{"format", options.format},
          {"tokenizer", identity.name},
          {"tokenizer_hash", identity.hash},
          {"vocab", identity.vocab},
          {"inputs", inputs},
          {"dtype", options.dtype},
          {"end_token", options.end_token.value_or(-1)},
          {"begin_token", options.begin_token.value_or(-1)},
          {"whole_files", options.whole_files},
          {"in_place", options.in_place},
          {"shard_tokens", options.shard_tokens}};
}

void require_whole_words(const ForeignFile& file) {
  const int64_t width = bytes_of(file.type);
  if (width != 2 && width != 4)
    throw Error(ExitCode::config, fmt::format("{} has {} bytes a token; --in-place takes 2 or 4: leave it out, and they are copied",
                                              file.path.string(), width));
}

}  // namespace

ImportResult import_tokens(const ImportOptions& options,
                           const std::function<void(const std::filesystem::path&, int64_t)>& progress) {
  const Identity identity = identity_of(options);
  check_options(options, identity);
  std::vector<ForeignFile> files;
  for (const auto& path : options.inputs) {
    files.push_back(find_tokens(options.format, path, type_of(options)));
    require_document_rule(options, files.back());
    if (options.in_place) require_whole_words(files.back());
    files.back().ends.reset();  // 8 bytes a document, for one file at a time
  }
  const nlohmann::json inputs = made_from(options, identity, files);
  const auto done = [](const PreparedTotals& totals) { return ImportResult{totals.documents, totals.tokens, totals.shards, true}; };
  if (const auto found = find_finished(options.out, inputs)) return done(*found);  // perhaps where nothing can be written
  OutputDirectory out(options.out);
  if (const auto found = find_finished(options.out, inputs))
    return done(*found);  // another process finished before the lock was ours
  try {
    out.clear();
    Import import(options, identity, out, progress);
    for (const auto& path : options.inputs) {
      ImportSource source(options, identity.vocab, find_tokens(options.format, path, type_of(options)));
      import.add(source);
    }
    import.finish();
    if (import.tokens() == 0) throw Error(ExitCode::data, "the inputs hold no tokens");
    if (!options.tokenizer.empty()) keep_tokenizer(*make_tokenizer(options.tokenizer), options.out);
    out.finish(inputs, import.tokens(), import.documents());
    return {import.documents(), import.tokens(), out.shards(), false};
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ExitCode::storage, error.what());
  }
}

}  // namespace drover
