// Tokenizers' files beside what was made by them: prepared data and runs keep a copy, tokenizer.json or tokenizer.model, so that their ids can be read
// as text wherever they are taken.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace drover {

// Copies the tokenizer's file into the directory, durably; nothing for one that is built in.
void keep_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& directory);
// Copies what the first of `directories` that keeps one keeps, where `to` has none.
void pass_on_tokenizer(const std::vector<std::string>& directories, const std::filesystem::path& to);

// The tokenizer of that name and hash: one that is built in, or the first kept in `directories` that has the hash; null where there is none.
std::unique_ptr<Tokenizer> kept_tokenizer(const std::string& name, uint64_t hash, const std::vector<std::string>& directories);

}  // namespace drover
