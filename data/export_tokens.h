// Shards as token files of other programs.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace drover {

struct ExportOptions {
  std::string format;  // export_formats()
  std::filesystem::path out, directory;
  int64_t file_tokens = 100'000'000;  // llm.c: of each file but the last
};

struct ExportResult {
  int64_t documents = 0, tokens = 0;
  std::vector<std::filesystem::path> files;
};

std::vector<std::string> export_formats();  // "megatron", "llm.c"

// megatron: OUT.bin and OUT.idx, a sequence and a document for each document; tokens of 2 bytes are uint16, of 4 bytes int32.
// llm.c: OUT_000000.bin and so on; tokens of 2 bytes as it has GPT-2's, of 4 bytes as it has Llama 3's. It has no document ends: its own
// data begins each document with an end-of-text token.
// Layouts: data/import_formats.h. Throws Error(data) for what cannot be read, is there already, or does not fit the format; Error(storage)
// for a full disk. Nothing half-written keeps a final name; of Megatron's pair the index comes last.
ExportResult export_tokens(const ExportOptions& options);

}  // namespace drover
