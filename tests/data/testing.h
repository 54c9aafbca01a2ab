// Scratch directories, shards made by hand, and buffers for batches.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/shard.h"
#include "kernels/base/error.h"

namespace drover::data_testing {

namespace fs = std::filesystem;

class Directory {
 public:
  // In memory where there is such a place: an fsync of a disk takes longer than most tests.
  Directory()
      : path((access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path()) /
             ("drover_data_" + std::to_string(getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Directory() { fs::remove_all(path); }
  const fs::path path;
};

inline std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// One shard of `tokens`; `ends`: document ends, as places in the shard.
inline void write_shard(const fs::path& path, const std::vector<int32_t>& tokens, const std::vector<uint64_t>& ends,
                        uint64_t vocab = 258, uint32_t width = 2, uint64_t tokenizer_hash = 1) {
  ShardWriter writer(path, width, vocab, "bytes", tokenizer_hash);
  size_t next = 0;
  for (size_t i = 0; i <= tokens.size(); ++i) {
    for (; next < ends.size() && ends[next] == i; ++next) writer.end_document();
    if (i < tokens.size()) writer.append({&tokens[i], 1});
  }
  writer.finish();
}
inline void mark_prepared(const fs::path& directory) {
  uint64_t shards = 0, tokens = 0, documents = 0;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() != ".tokens") continue;
    const Shard shard(entry.path());
    shards += 1, tokens += shard.header().tokens, documents += shard.header().documents;
  }
  write_bytes(directory / "prepare.json", "{\"shards\": " + std::to_string(shards) + ", \"tokens\": " + std::to_string(tokens) +
                                              ", \"documents\": " + std::to_string(documents) + "}\n");
}

template <class Body> std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}
inline void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

// Batches with memory of their own.
class Buffers {
 public:
  std::vector<Batch> make(int count, int64_t tokens) {
    std::vector<Batch> all(static_cast<size_t>(count));
    for (Batch& batch : all)
      batch = {view(DType::i32, tokens), view(DType::i32, tokens), view(DType::i32, tokens), view(DType::i32, tokens),
               view(DType::f32, tokens)};
    return all;
  }

 private:
  TensorView view(DType dtype, int64_t tokens) {
    storage_.emplace_back(static_cast<size_t>(tokens), -12345);
    TensorView made;
    made.data = reinterpret_cast<std::byte*>(storage_.back().data());
    made.dtype = dtype;
    made.shape = Shape{tokens};
    return made;
  }
  std::deque<std::vector<int32_t>> storage_;
};

}  // namespace drover::data_testing
