#include "data/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr char kMagic[8] = {'D', 'R', 'O', 'V', 'T', 'O', 'K', 'S'};
constexpr uint32_t kVersion = 1, kReference = 2;  // format versions: tokens in the file itself, and in another

struct RawHeader {  // little-endian, as on disk
  char magic[8];
  uint32_t version, width;
  uint64_t vocab, tokenizer_hash;
  char tokenizer[64];
  uint64_t tokens, documents, payload_hash;
  uint64_t foreign_offset, foreign_bytes;  // these five in version 2 only, else zeros
  int64_t foreign_modified;
  uint64_t path_bytes, path_hash;
  char reserved[256 - 8 - 8 - 16 - 64 - 24 - 40 - 8];
  uint64_t header_hash;  // XXH3 of the bytes before it
};
static_assert(sizeof(RawHeader) == ShardHeader::kBytes);

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "token shard " + path.string() + ": " + what + "; make it again with `drover prepare`");
}

std::unique_ptr<DataFile> open_shard(const std::filesystem::path& path) {
  try {
    return std::make_unique<DataFile>(path);
  } catch (const Error& error) {
    throw Error(ExitCode::data, std::string("token shard: ") + error.what());
  }
}

RawHeader raw_of(const ShardHeader& header) {
  RawHeader raw{};
  std::memcpy(raw.magic, kMagic, sizeof kMagic);
  raw.version = header.foreign ? kReference : kVersion;
  raw.width = header.width;
  raw.vocab = header.vocab;
  raw.tokenizer_hash = header.tokenizer_hash;
  std::memcpy(raw.tokenizer, header.tokenizer.data(), std::min(header.tokenizer.size(), sizeof raw.tokenizer - 1));
  raw.tokens = header.tokens;
  raw.documents = header.documents;
  raw.payload_hash = header.payload_hash;
  if (header.foreign) {
    const std::string& path = header.foreign->path.native();
    raw.foreign_offset = header.foreign->offset;
    raw.foreign_bytes = header.foreign->bytes;
    raw.foreign_modified = header.foreign->modified;
    raw.path_bytes = path.size();
    raw.path_hash = xxh3(path);
  }
  raw.header_hash = xxh3(&raw, offsetof(RawHeader, header_hash));
  return raw;
}

ForeignTokens read_reference(const DataFile& file, const RawHeader& raw) {
  constexpr uint64_t kLongestPath = 4096;
  const uint64_t room = static_cast<uint64_t>(file.size() - ShardHeader::kBytes);
  if (raw.path_bytes == 0 || raw.path_bytes > std::min(kLongestPath, room))
    damaged(file.path(), "the path of its tokens is cut off");
  std::string path(raw.path_bytes, '\0');
  file.read_at(ShardHeader::kBytes, path.data(), path.size());
  if (xxh3(path) != raw.path_hash) damaged(file.path(), "the checksum of the path of its tokens does not match");
  if (raw.foreign_bytes > INT64_MAX || raw.foreign_offset > raw.foreign_bytes ||
      raw.tokens > (raw.foreign_bytes - raw.foreign_offset) / raw.width)
    damaged(file.path(), fmt::format("{} tokens from byte {} on are more than {} of {} bytes holds", raw.tokens, raw.foreign_offset,
                                     path, raw.foreign_bytes));
  return {path, raw.foreign_offset, raw.foreign_bytes, raw.foreign_modified};
}

std::unique_ptr<DataFile> open_foreign(const std::filesystem::path& shard, const ForeignTokens& said) {
  const std::string again = "; `drover import-tokens` makes the shards again";
  std::unique_ptr<DataFile> file;
  try {
    file = std::make_unique<DataFile>(said.path);
  } catch (const Error& error) {
    throw Error(ExitCode::data, fmt::format("token shard {} refers to its tokens: {}{}", shard.string(), error.what(), again));
  }
  if (static_cast<uint64_t>(file->size()) != said.bytes || file->modified() != said.modified)
    throw Error(ExitCode::data,
                fmt::format("{} has changed since token shard {} was made, which refers to it: {} bytes of time {}, then {} "
                            "bytes of time {}{}",
                            said.path.string(), shard.string(), file->size(), file->modified(), said.bytes, said.modified, again));
  return file;
}

template <class Stored> void copy_tokens(std::span<const int32_t> tokens, std::byte* to) {
  for (const int32_t token : tokens) {
    const auto stored = static_cast<Stored>(token);
    std::memcpy(to, &stored, sizeof stored);
    to += sizeof stored;
  }
}

}  // namespace

ShardHeader read_shard_header(const DataFile& file) {
  const std::filesystem::path& path = file.path();
  RawHeader raw;
  const uint64_t size = static_cast<uint64_t>(file.size());
  if (size < sizeof raw) damaged(path, "truncated: " + std::to_string(size) + " bytes, the header alone has 256");
  file.read_at(0, &raw, sizeof raw);
  if (std::memcmp(raw.magic, kMagic, sizeof kMagic) != 0) damaged(path, "not a token shard (wrong magic)");
  if (raw.version != kVersion && raw.version != kReference)
    damaged(path, fmt::format("format version {}, this program reads versions {} and {}", raw.version, kVersion, kReference));
  if (raw.header_hash != xxh3(&raw, offsetof(RawHeader, header_hash))) damaged(path, "the header's checksum does not match");
  if (raw.width != 2 && raw.width != 4) damaged(path, "token width " + std::to_string(raw.width) + "; 2 or 4");
  ShardHeader header;
  header.width = raw.width;
  header.vocab = raw.vocab;
  header.tokenizer_hash = raw.tokenizer_hash;
  header.tokenizer = std::string(raw.tokenizer, strnlen(raw.tokenizer, sizeof raw.tokenizer));
  header.tokens = raw.tokens;
  header.documents = raw.documents;
  header.payload_hash = raw.payload_hash;
  header.header_hash = raw.header_hash;
  if (raw.version == kReference) header.foreign = read_reference(file, raw);
  if ((!header.foreign && raw.tokens > size) || raw.documents > size || size != header.file_bytes())
    damaged(path, "truncated or extended: " + std::to_string(size) + " bytes, the header says " + std::to_string(raw.tokens) +
                      " tokens and " + std::to_string(raw.documents) + " document ends");
  return header;
}

Shard::Shard(const std::filesystem::path& path)
    : path_(path), file_(open_shard(path)), header_(read_shard_header(*file_)),
      ends_(*file_, static_cast<int64_t>(header_.ends_offset()), static_cast<int64_t>(header_.documents)) {
  if (!header_.foreign) return;
  foreign_ = open_foreign(path, *header_.foreign);
  tokens_offset_ = static_cast<int64_t>(header_.foreign->offset);
}

void Shard::read(int64_t first, std::span<std::byte> bytes) const {
  tokens_file().read_at(tokens_offset_ + first * header_.width, bytes.data(), bytes.size());
}

void Shard::read(int64_t first, std::span<int32_t> tokens) const {
  if (header_.width == 4) return read(first, std::as_writable_bytes(tokens));
  std::vector<uint16_t> narrow(tokens.size());
  read(first, std::as_writable_bytes(std::span(narrow)));
  std::copy(narrow.begin(), narrow.end(), tokens.begin());
}

int64_t Shard::token(int64_t index) const {
  int32_t token = 0;
  read(index, {&token, 1});
  return static_cast<uint32_t>(token);
}

std::optional<uint64_t> Shard::compute_payload_hash(size_t block, const std::function<bool(size_t)>& after_block) const {
  Xxh3Stream hash;
  std::vector<std::byte> buffer;
  const auto hash_all = [&](const DataFile& file, uint64_t offset, uint64_t bytes) {
    for (uint64_t done = 0; done < bytes; done += buffer.size()) {
      buffer.resize(std::min<uint64_t>(block, bytes - done));
      file.read_at(static_cast<int64_t>(offset + done), buffer.data(), buffer.size());
      hash.update(buffer.data(), buffer.size());
      if (!after_block(buffer.size())) return false;
    }
    return true;
  };
  if (!hash_all(tokens_file(), static_cast<uint64_t>(tokens_offset_), header_.tokens * header_.width) ||
      !hash_all(*file_, header_.ends_offset(), 8 * header_.documents))
    return std::nullopt;
  return hash.digest();
}

uint64_t Shard::compute_payload_hash() const {
  return *compute_payload_hash(size_t{1} << 20, [](size_t) { return true; });
}

void write_reference(const std::filesystem::path& path, const ShardHeader& header, std::span<const uint64_t> ends) {
  const RawHeader raw = raw_of(header);
  const std::string& tokens = header.foreign->path.native();
  std::string file(header.file_bytes(), '\0');
  std::memcpy(file.data(), &raw, sizeof raw);
  std::memcpy(file.data() + sizeof raw, tokens.data(), tokens.size());
  if (!ends.empty()) std::memcpy(file.data() + header.ends_offset(), ends.data(), ends.size_bytes());
  write_durably(path, file);
}

ShardWriter::ShardWriter(std::filesystem::path path, uint32_t width, uint64_t vocab, const std::string& tokenizer,
                         uint64_t tokenizer_hash)
    : path_(std::move(path)), temporary_(path_.string() + ".tmp"), file_(File::create(temporary_)) {
  header_.width = width;
  header_.vocab = vocab;
  header_.tokenizer = tokenizer;
  header_.tokenizer_hash = tokenizer_hash;
}

ShardWriter::~ShardWriter() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void ShardWriter::append(std::span<const int32_t> tokens) {
  constexpr size_t kBuffer = size_t{1} << 20;
  const size_t before = buffer_.size();
  buffer_.resize(before + tokens.size() * header_.width);
  if (header_.width == 2)
    copy_tokens<uint16_t>(tokens, buffer_.data() + before);
  else
    copy_tokens<uint32_t>(tokens, buffer_.data() + before);
  header_.tokens += tokens.size();
  if (buffer_.size() >= kBuffer) flush();
}

void ShardWriter::flush() {
  hash_.update(buffer_.data(), buffer_.size());
  file_->write_at(offset_, buffer_.data(), buffer_.size());
  offset_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void ShardWriter::finish() {
  flush();
  header_.documents = ends_.size();
  hash_.update(ends_.data(), ends_.size() * sizeof(uint64_t));
  file_->write_at(static_cast<int64_t>(header_.ends_offset()), ends_.data(), ends_.size() * sizeof(uint64_t));
  if (ends_.empty() && offset_ < static_cast<int64_t>(header_.ends_offset()))
    file_->write_at(offset_, "\0\0\0\0\0\0\0", header_.ends_offset() - static_cast<size_t>(offset_));
  header_.payload_hash = hash_.digest();
  const RawHeader raw = raw_of(header_);
  file_->write_at(0, &raw, sizeof raw);
  file_->sync();
  file_.reset();
  std::filesystem::rename(temporary_, path_);
  sync_directory(path_.parent_path());
}

namespace {

[[noreturn]] void refuse(const std::filesystem::path& directory, const std::string& what) {
  throw Error(ExitCode::data, "data directory " + directory.string() + " " + what);
}

bool is_there(const std::filesystem::path& directory, const char* name) {
  std::error_code error;
  const bool there = std::filesystem::exists(directory / name, error);
  if (error) refuse(directory, "cannot be read: " + error.message());
  return there;
}

}  // namespace

PreparedTotals read_totals(const std::filesystem::path& directory) {
  const std::string again = "; run `drover prepare --out " + directory.string() + " FILE...` (again)";
  if (std::error_code error; std::filesystem::is_regular_file(directory, error))
    refuse(directory, "is a file; name a directory that `drover prepare --out` made");
  if (!is_there(directory, "")) refuse(directory, "does not exist" + again);
  if (!is_there(directory, "prepare.json")) {
    if (is_there(directory, "train/prepare.json"))
      refuse(directory, "is cut in two: name " + (directory / "train").string() + " or " + (directory / "validation").string());
    refuse(directory, "is not finished or was never prepared (no prepare.json)" + again);
  }
  std::string text;
  try {
    text = read_text(directory / "prepare.json");
  } catch (const Error& error) {
    refuse(directory, std::string("cannot be read: ") + error.what());
  }
  const auto json = nlohmann::json::parse(text, nullptr, false);
  PreparedTotals totals;
  for (const auto& [field, value] :
       {std::pair{"shards", &totals.shards}, {"tokens", &totals.tokens}, {"documents", &totals.documents}}) {
    if (!json.is_object() || !json.contains(field) || !json[field].is_number_integer())
      refuse(directory, "has a damaged prepare.json; remove the directory and prepare it again");
    *value = json[field].get<int64_t>();
  }
  return totals;
}

std::vector<std::filesystem::path> list_shards(const std::filesystem::path& directory) {
  const PreparedTotals totals = read_totals(directory);
  std::error_code error;
  std::vector<std::filesystem::path> shards;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().extension() == ".tokens") shards.push_back(entry.path());
  if (error) refuse(directory, "cannot be read: " + error.message());
  if (shards.empty() && totals.shards == 0) refuse(directory, "has no *.tokens: nothing was left for it");
  if (static_cast<int64_t>(shards.size()) != totals.shards)
    refuse(directory, "has " + std::to_string(shards.size()) + " *.tokens, prepare.json says " + std::to_string(totals.shards) +
                          "; make it again with `drover prepare`");
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace drover
