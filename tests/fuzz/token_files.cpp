// Token files of other programs: their headers and indices. Input: one byte that chooses the format, one for how many bytes of the rest, in
// 32nds, are its first file; the others are the second (Megatron's index, datatrove's document ends).
#include "data/import_formats.h"
#include "data/import_tokens.h"
#include "data/inspect.h"
#include "tests/fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

struct Kind {
  const char *format, *name, *first, *second;
};
constexpr Kind kKinds[] = {{"megatron", "a", "a.bin", "a.idx"},
                           {"llm.c", "a.bin", "a.bin", nullptr},
                           {"numpy", "a.npy", "a.npy", nullptr},
                           {"nanotron", "a.ds", "a.ds", "a.ds.index"},
                           {"nanotron", "a.ds", "a.ds", "a.ds.metadata"}};

void check(const ForeignFile& file) {
  const int64_t bytes = static_cast<int64_t>(std::filesystem::file_size(file.path));
  require(file.offset >= 0 && file.tokens >= 0 && file.tokens <= bytes, "more tokens than bytes");
  require(file.offset + file.tokens * bytes_of(file.type) == bytes, "bytes behind the tokens");
  uint64_t before = 0;
  if (file.ends)
    for (const uint64_t end : *file.ends) {
      require(end > before && end <= static_cast<uint64_t>(file.tokens), "document ends out of order");
      before = end;
    }
}

void run(const Kind& kind, const std::string& first, const std::string& second, bool in_place, const Scratch& scratch) {
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path)) std::filesystem::remove_all(entry.path());
  scratch.write(kind.first, first);
  if (kind.second != nullptr) scratch.write(kind.second, second);
  bool has_ends = false;
  const bool sound = accepted(ExitCode::data, [&] {
    const ForeignFile file = find_tokens(
        kind.format, scratch.path / kind.name,
        first.starts_with("\x93NUMPY") || std::string(kind.format) != "numpy" ? std::nullopt : std::optional(TokenType::u16));
    check(file);
    has_ends = file.ends.has_value();
    in_place = in_place && (bytes_of(file.type) == 2 || bytes_of(file.type) == 4);
  });
  if (!sound) return;
  accepted(ExitCode::data, [&] {
    ImportOptions options{.format = kind.format, .out = scratch.path / "out", .inputs = {scratch.path / kind.name}, .vocab = 70000};
    options.whole_files = !has_ends;
    options.in_place = in_place;
    options.shard_tokens = 3;
    if (std::string(kind.format) == "numpy" && !first.starts_with("\x93NUMPY")) options.dtype = "uint16";
    import_tokens(options, {});
    require(verify_data(options.out).empty(), "what was imported is not sound");
  });
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  if (size < 2) return 0;
  const std::string rest(data + 2, data + size);
  const size_t first = rest.size() * (data[1] % 33) / 32;
  drover::fuzz::run(drover::fuzz::kKinds[data[0] % std::size(drover::fuzz::kKinds)], rest.substr(0, first), rest.substr(first),
                    data[1] >= 128, scratch);
  return 0;
}
