// Token files of other programs: what their headers and indices say of the tokens, checked against the files' sizes. One file a format.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace drover {

enum class TokenType : uint8_t { u8, i8, u16, i16, u32, i32, u64, i64 };
int64_t bytes_of(TokenType type);
// "uint16" and so on, as numpy calls them. Nothing for another word.
std::optional<TokenType> token_type(const std::string& name);
std::string token_type_names();

struct ForeignFile {
  std::filesystem::path path;                 // holds the tokens, one after the other, little-endian
  std::vector<std::filesystem::path> beside;  // what was read too
  TokenType type = TokenType::u16;
  int64_t offset = 0, tokens = 0;  // bytes before the first token; how many
  std::optional<std::vector<uint64_t>>
      ends;  // of documents: indices of the token after the last, ascending; nothing: the format does not say
};

// All throw Error(data) naming the file, the offset where there is one, and what is wrong: missing, cut short, with bytes too many, counts
// that do not add up, of a type that holds no tokens.

// Megatron-LM's and NeMo's indexed dataset: PREFIX, PREFIX.bin or PREFIX.idx names the pair. The index, little-endian: "MMIDIDX\0\0", version
// (u64, 1), type of the tokens (u8), S sequences (u64), D document marks (u64), S lengths (i32), S places of their first bytes in the .bin
// (i64), D marks (i64): numbers of the sequences that begin a document, with S as the last. (megatron/core/datasets/indexed_dataset.py)
// Refused: floating-point types, modes of sequences (of multimodal data), sequences that do not follow one another in the .bin.
ForeignFile find_megatron(const std::filesystem::path& path);

// llm.c: 256 numbers (i32): 20240520, 1, tokens (u16 follow), or 20240801, 7, tokens (u32 follow). (llm.c, dev/data/data_common.py)
ForeignFile find_llmc(const std::filesystem::path& path);

// numpy: an array on disk (.npy, format versions 1 to 3) of one dimension; or without numpy's header, as OLMo's memory maps, for which `type`
// must be given. (numpy.lib.format; olmo_core/data)
ForeignFile find_numpy(const std::filesystem::path& path, std::optional<TokenType> type);

// nanotron and datatrove: FILE.ds holds u16 or u32, FILE.ds.index document ends (u64, in tokens), FILE.ds.metadata "TOKENIZER|BYTES", a line
// further the number of tokens. The last two may be missing; without the metadata, `type` or the last end decides.
// (datatrove/pipeline/tokens/tokenizer.py)
ForeignFile find_nanotron(const std::filesystem::path& path, std::optional<TokenType> type);

std::vector<std::string> import_formats();  // "megatron", "llm.c", "numpy", "nanotron"
// The one of `format`.
ForeignFile find_tokens(const std::string& format, const std::filesystem::path& path, std::optional<TokenType> type);

}  // namespace drover
