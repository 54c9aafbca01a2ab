// Token files of other programs, made here byte by byte by the formats' own documents, and what becomes of them.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/import_tokens.h"
#include "data/inspect.h"
#include "tests/data/testing.h"

namespace drover::data_testing {

template <class Value> std::string raw(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}
template <class Value> std::string raw(Value value) { return raw(std::vector<Value>{value}); }

struct Megatron {
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths{3, 2, 0, 4};
  std::vector<int64_t> marks{0, 2, 3, 4};
  std::string tokens = raw<uint16_t>(std::vector<uint16_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  int64_t width = 2;

  std::string index() const {
    std::vector<int64_t> places;
    int64_t place = 0;
    for (const int32_t length : lengths) places.push_back(place), place += length * width;
    return std::string("MMIDIDX\0\0", 9) + raw(version) + raw(type) + raw<uint64_t>(lengths.size()) + raw<uint64_t>(marks.size()) +
           raw(lengths) + raw(places) + raw(marks);
  }
  void write(const fs::path& prefix) const {
    write_bytes(prefix.string() + ".idx", index());
    write_bytes(prefix.string() + ".bin", tokens);
  }
};

inline std::string llmc(int32_t magic, int32_t version, int32_t tokens, const std::string& payload) {
  std::vector<int32_t> header(256, 0);
  header[0] = magic, header[1] = version, header[2] = tokens;
  return raw(header) + payload;
}

inline std::string npy(const std::string& header, const std::string& payload) {
  return "\x93NUMPY" + std::string("\x01\x00", 2) + raw(static_cast<uint16_t>(header.size())) + header + payload;
}

struct Imported {
  std::vector<int32_t> tokens;
  std::vector<uint64_t> ends;
};
inline Imported read_all(const fs::path& directory) {
  Imported all;
  for (const fs::path& path : list_shards(directory)) {
    const Shard shard(path);
    const size_t before = all.tokens.size();
    for (const uint64_t end : shard.ends()) all.ends.push_back(before + end);
    all.tokens.resize(before + shard.header().tokens);
    shard.read(0, std::span(all.tokens).subspan(before));
    EXPECT_EQ(shard.compute_payload_hash(), shard.header().payload_hash);
  }
  return all;
}

inline std::vector<int32_t> count_to(int32_t last) {
  std::vector<int32_t> numbers;
  for (int32_t i = 1; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

struct TokenFiles : ::testing::Test {
  fs::path at(const std::string& name) const { return scratch.path / name; }
  ImportOptions options(const std::string& format, const std::vector<std::string>& names) const {
    ImportOptions all{.format = format, .out = at("out"), .vocab = 100};
    for (const std::string& name : names) all.inputs.push_back(at(name));
    return all;
  }
  Imported import(const ImportOptions& all) const {
    fs::remove_all(all.out);
    const ImportResult result = import_tokens(all, {});
    Imported found = read_all(all.out);
    EXPECT_EQ(result.tokens, std::ssize(found.tokens));
    EXPECT_EQ(result.documents, std::ssize(found.ends));
    EXPECT_TRUE(verify_data(all.out).empty());
    return found;
  }
  // Refused as an error of the data, with nothing that training would read.
  void expect_refused(const ImportOptions& all, const std::string& name, const std::string& says) const {
    fs::remove_all(all.out);
    const std::string message = error_of([&] { import_tokens(all, {}); });
    expect_has(message, name);
    expect_has(message, says);
    EXPECT_FALSE(fs::exists(all.out / "prepare.json"));
  }
  const Directory scratch;
};

using Ends = std::vector<uint64_t>;

}  // namespace drover::data_testing
