// What the fuzz targets share. A target throws bytes at one reader of files and holds it to its contract: an Error of the right code, or a
// value that makes sense. launch/fuzz builds them with libFuzzer; everywhere else replay.cpp runs their corpus as a test.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace drover::fuzz {

// A broken promise of the code under test: ends the process, so that the fuzzer keeps the input.
inline void require(bool promise, const std::string& what) {
  if (promise) return;
  std::fprintf(stderr, "broken promise: %s\n", what.c_str());
  std::abort();
}

inline int64_t accepted_inputs = 0;  // how often a reader took what it was given

// Runs `body`, which may refuse its input with an Error of this code and in no other way.
template <class Body> bool accepted(ExitCode code, Body&& body) {
  try {
    body();
    ++accepted_inputs;
    return true;
  } catch (const Error& error) {
    require(error.code() == code, "an error of another kind: " + std::string(error.what()));
    return false;
  }
}

// A directory of this process, removed at its end.
class Scratch {
 public:
  Scratch() {
    std::string name = std::filesystem::temp_directory_path() / "drover_fuzz_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::filesystem::path path;
};

// Checksums guard the parsers from all but one input in 2^64: the first byte says whether the others are taken as they are, or get the
// checksum that they need.
struct Guarded {
  bool repair;
  std::string bytes;
};
inline Guarded guarded(const uint8_t* data, size_t size) {
  return {size > 0 && data[0] != 0, size > 0 ? std::string(data + 1, data + size) : ""};
}
inline void put_hash(std::string& bytes, size_t at, uint64_t hash) {
  for (size_t i = 0; i < sizeof hash; ++i) bytes[at + i] = static_cast<char>(hash >> (8 * i));
}

}  // namespace drover::fuzz
