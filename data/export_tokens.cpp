#include "data/export_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "data/new_file.h"
#include "data/shard.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr int64_t kBlock = 1 << 18;  // tokens at a time

template <class Value> std::span<const std::byte> bytes_of(const std::vector<Value>& values) {
  return std::as_bytes(std::span(values));
}

// All shards of a directory in order.
struct Source {
  explicit Source(const std::filesystem::path& directory) {
    for (const auto& path : list_shards(directory)) shards.emplace_back(path);
    for (const Shard& shard : shards) {
      if (shard.header().width != width())
        throw Error(ExitCode::data, fmt::format("{} has {} bytes a token, {} has {}: export them apart", shard.path().string(),
                                                shard.header().width, shards.front().path().string(), width()));
      tokens += static_cast<int64_t>(shard.header().tokens);
    }
  }
  uint32_t width() const { return shards.front().header().width; }

  // Calls write(bytes) for all tokens.
  void each_block(const std::function<void(std::span<const std::byte>)>& write) const {
    std::vector<std::byte> block;
    for (const Shard& shard : shards) {
      const int64_t count = static_cast<int64_t>(shard.header().tokens);
      for (int64_t begin = 0; begin < count; begin += kBlock) {
        block.resize(static_cast<size_t>(std::min(kBlock, count - begin)) * width());
        shard.read(begin, block);
        require_vocabulary(shard, begin, block);
        write(block);
      }
    }
  }
  // Lengths of all documents. What comes behind the last end is one too.
  std::vector<int32_t> document_lengths() const {
    std::vector<int32_t> lengths;
    int64_t open = 0;
    const auto end_document = [&] {
      if (open > INT32_MAX)
        throw Error(ExitCode::data,
                    fmt::format("document {} has {} tokens; Megatron's index has 31 bits for it", lengths.size(), open));
      if (open > 0) lengths.push_back(static_cast<int32_t>(open));
      open = 0;
    };
    for (const Shard& shard : shards) {
      uint64_t begin = 0;
      for (const uint64_t end : shard.ends()) {
        if (end < begin || end > shard.header().tokens)
          throw Error(ExitCode::data, fmt::format("{}: document end {} is out of order; `drover data verify` finds more",
                                                  shard.path().string(), end));
        open += static_cast<int64_t>(end - begin);
        end_document();
        begin = end;
      }
      open += static_cast<int64_t>(shard.header().tokens - begin);
    }
    end_document();
    return lengths;
  }

  std::vector<Shard> shards;
  int64_t tokens = 0;

 private:
  // A damaged shard is not passed on as sound data.
  static void require_vocabulary(const Shard& shard, int64_t begin, std::span<const std::byte> block) {
    const uint32_t width = shard.header().width;
    for (size_t i = 0; i < block.size() / width; ++i) {
      uint32_t token = 0;
      std::memcpy(&token, block.data() + i * width, width);
      if (token >= shard.header().vocab || token > INT32_MAX)
        throw Error(ExitCode::data,
                    fmt::format("{}: token {} at index {} is outside the vocabulary of {}", shard.tokens_path().string(), token,
                                begin + static_cast<int64_t>(i), shard.header().vocab));
    }
  }
};

ExportResult export_megatron(const Source& source, const std::filesystem::path& out) {
  NewFile tokens(out.string() + ".bin"), index(out.string() + ".idx");
  source.each_block([&](std::span<const std::byte> block) { tokens.append(block); });
  const std::vector<int32_t> lengths = source.document_lengths();
  const uint64_t sequences = lengths.size(), marks = sequences + 1;
  std::vector<std::byte> header(34);
  const uint64_t version = 1;
  std::memcpy(header.data(), "MMIDIDX\0", 9);
  std::memcpy(header.data() + 9, &version, 8);
  header[17] = static_cast<std::byte>(source.width() == 2 ? 8 : 4);  // uint16, int32
  std::memcpy(header.data() + 18, &sequences, 8);
  std::memcpy(header.data() + 26, &marks, 8);
  index.append(header);
  index.append(bytes_of(lengths));
  std::vector<int64_t> numbers;
  int64_t place = 0;
  for (const int32_t length : lengths) {
    numbers.push_back(place);
    place += int64_t{length} * source.width();
  }
  index.append(bytes_of(numbers));
  numbers.push_back(0);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i);
  index.append(bytes_of(numbers));
  tokens.finish();
  index.finish();
  return {static_cast<int64_t>(sequences), source.tokens, {out.string() + ".bin", out.string() + ".idx"}};
}

std::vector<int32_t> llmc_header(uint32_t width, int64_t tokens) {
  std::vector<int32_t> numbers(256, 0);
  numbers[0] = width == 2 ? 20240520 : 20240801;
  numbers[1] = width == 2 ? 1 : 7;
  numbers[2] = static_cast<int32_t>(tokens);
  return numbers;
}

// Files as they fill up; all of them, or none.
class LlmcFiles {
 public:
  LlmcFiles(std::filesystem::path out, uint32_t width, int64_t file_tokens)
      : out_(std::move(out)), width_(width), file_tokens_(file_tokens) {}
  ~LlmcFiles() {
    std::error_code ignored;
    for (const auto& path : finished_) std::filesystem::remove(path, ignored);
  }
  void append(std::span<const std::byte> block) {
    while (!block.empty()) {
      if (tokens_ == file_tokens_) finish_file();
      if (!file_) {
        path_ = fmt::format("{}_{:06d}.bin", out_.string(), finished_.size());
        file_.emplace(path_);
        file_->append(bytes_of(llmc_header(width_, 0)));
      }
      const int64_t count = std::min<int64_t>(std::ssize(block) / width_, file_tokens_ - tokens_);
      const size_t bytes = static_cast<size_t>(count) * width_;
      file_->append(block.first(bytes));
      block = block.subspan(bytes);
      tokens_ += count;
    }
  }
  std::vector<std::filesystem::path> finish() {
    if (file_) finish_file();
    return std::exchange(finished_, {});
  }

 private:
  void finish_file() {
    file_->rewrite(bytes_of(llmc_header(width_, tokens_)));
    file_->finish();
    file_.reset();
    finished_.push_back(path_);
    tokens_ = 0;
  }
  std::filesystem::path out_, path_;
  uint32_t width_;
  int64_t file_tokens_, tokens_ = 0;
  std::optional<NewFile> file_;
  std::vector<std::filesystem::path> finished_;
};

ExportResult export_llmc(const Source& source, const std::filesystem::path& out, int64_t file_tokens) {
  LlmcFiles files(out, source.width(), file_tokens);
  source.each_block([&](std::span<const std::byte> block) { files.append(block); });
  return {static_cast<int64_t>(source.document_lengths().size()), source.tokens, files.finish()};
}

}  // namespace

std::vector<std::string> export_formats() { return {"megatron", "llm.c"}; }

ExportResult export_tokens(const ExportOptions& options) {
  const Source source(options.directory);
  try {
    if (options.format == "megatron") return export_megatron(source, options.out);
    if (options.format == "llm.c") return export_llmc(source, options.out, options.file_tokens);
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ExitCode::storage, error.what());
  }
  throw Error(ExitCode::config,
              fmt::format("unknown format {} of token files to export; there are megatron, llm.c", options.format));
}

}  // namespace drover
