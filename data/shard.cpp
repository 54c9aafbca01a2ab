#include "data/shard.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr char kMagic[8] = {'D', 'R', 'O', 'V', 'T', 'O', 'K', 'S'};
constexpr uint32_t kVersion = 1;

struct RawHeader {  // little-endian, as on disk
  char magic[8];
  uint32_t version, width;
  uint64_t vocab, tokenizer_hash;
  char tokenizer[64];
  uint64_t tokens, documents, payload_hash;
  char reserved[256 - 8 - 8 - 16 - 64 - 24 - 8];
  uint64_t header_hash;  // XXH3 of the bytes before it
};
static_assert(sizeof(RawHeader) == ShardHeader::kBytes);

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "token shard " + path.string() + ": " + what + "; make it again with `drover prepare`");
}

MappedFile map_shard(const std::filesystem::path& path) {
  try {
    return MappedFile(path);
  } catch (const Error& error) {
    throw Error(ExitCode::data, std::string("token shard: ") + error.what());
  }
}

template <class Stored> void copy_tokens(std::span<const int32_t> tokens, std::byte* to) {
  for (const int32_t token : tokens) {
    const auto stored = static_cast<Stored>(token);
    std::memcpy(to, &stored, sizeof stored);
    to += sizeof stored;
  }
}

}  // namespace

ShardHeader read_shard_header(std::span<const std::byte> file, const std::filesystem::path& path) {
  RawHeader raw;
  if (file.size() < sizeof raw) damaged(path, "truncated: " + std::to_string(file.size()) + " bytes, the header alone has 256");
  std::memcpy(&raw, file.data(), sizeof raw);
  if (std::memcmp(raw.magic, kMagic, sizeof kMagic) != 0) damaged(path, "not a token shard (wrong magic)");
  if (raw.version != kVersion)
    damaged(path, "format version " + std::to_string(raw.version) + ", this program reads version " + std::to_string(kVersion));
  if (raw.header_hash != xxh3(file.data(), offsetof(RawHeader, header_hash))) damaged(path, "the header's checksum does not match");
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
  if (raw.tokens > file.size() || raw.documents > file.size() || file.size() != header.file_bytes())
    damaged(path, "truncated or extended: " + std::to_string(file.size()) + " bytes, the header says " +
                      std::to_string(raw.tokens) + " tokens and " + std::to_string(raw.documents) + " document ends");
  return header;
}

Shard::Shard(const std::filesystem::path& path)
    : path_(path), file_(map_shard(path)), header_(read_shard_header(file_.bytes(), path)) {
  tokens_ = file_.bytes().data() + ShardHeader::kBytes;
  ends_ = {reinterpret_cast<const uint64_t*>(file_.bytes().data() + header_.ends_offset()), header_.documents};
}

uint64_t Shard::compute_payload_hash() const {
  Xxh3Stream hash;
  hash.update(tokens_, header_.tokens * header_.width);
  hash.update(ends_.data(), ends_.size_bytes());
  return hash.digest();
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
  RawHeader raw{};
  std::memcpy(raw.magic, kMagic, sizeof kMagic);
  raw.version = kVersion;
  raw.width = header_.width;
  raw.vocab = header_.vocab;
  raw.tokenizer_hash = header_.tokenizer_hash;
  std::memcpy(raw.tokenizer, header_.tokenizer.data(), std::min(header_.tokenizer.size(), sizeof raw.tokenizer - 1));
  raw.tokens = header_.tokens;
  raw.documents = header_.documents;
  raw.payload_hash = hash_.digest();
  raw.header_hash = xxh3(&raw, offsetof(RawHeader, header_hash));
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
