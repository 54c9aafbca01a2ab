#include "data/kept_tokenizer.h"

#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

constexpr const char* kNames[] = {"tokenizer.json", "tokenizer.model"};

std::filesystem::path kept_in(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const char* name : kNames)
    if (std::filesystem::is_regular_file(directory / name, ignored)) return directory / name;
  return {};
}

}  // namespace

void keep_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& directory) {
  if (tokenizer.source().empty()) return;
  write_durably(directory / (tokenizer.source().extension() == ".json" ? kNames[0] : kNames[1]), read_text(tokenizer.source()));
}

void pass_on_tokenizer(const std::vector<std::string>& directories, const std::filesystem::path& to) {
  if (!kept_in(to).empty()) return;
  for (const auto& directory : directories)
    if (const auto kept = kept_in(directory); !kept.empty()) return write_durably(to / kept.filename(), read_text(kept));
}

std::unique_ptr<Tokenizer> kept_tokenizer(const std::string& name, uint64_t hash, const std::vector<std::string>& directories) {
  if (name == "bytes") return make_tokenizer(name);
  for (const auto& directory : directories) {
    const auto kept = kept_in(directory);
    if (kept.empty()) continue;
    try {
      auto tokenizer = make_tokenizer(kept);
      if (tokenizer->hash() == hash) return tokenizer;
    } catch (const Error&) {  // damaged: another copy may not be
    }
  }
  return nullptr;
}

}  // namespace drover
