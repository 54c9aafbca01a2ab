#include "data/import_formats.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr std::array<std::string_view, 8> kNames{"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"};

}  // namespace

int64_t bytes_of(TokenType type) { return int64_t{1} << (static_cast<int>(type) / 2); }

std::optional<TokenType> token_type(const std::string& name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (name == kNames[i]) return static_cast<TokenType>(i);
  return std::nullopt;
}

std::string token_type_names() {
  std::string names;
  for (const std::string_view name : kNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

std::vector<std::string> import_formats() { return {"megatron", "llm.c", "numpy", "nanotron"}; }

ForeignFile find_tokens(const std::string& format, const std::filesystem::path& path, std::optional<TokenType> type) {
  if (type && (format == "megatron" || format == "llm.c"))
    throw Error(ExitCode::config, "--dtype is for files that do not say it; those of " + format + " do");
  if (format == "megatron") return find_megatron(path);
  if (format == "llm.c") return find_llmc(path);
  if (format == "numpy") return find_numpy(path, type);
  if (format == "nanotron") return find_nanotron(path, type);
  throw Error(ExitCode::config, "unknown format " + format + " of token files; there are megatron, llm.c, numpy, nanotron");
}

}  // namespace drover
