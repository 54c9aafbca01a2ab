// Text from a checkpoint: one token at a time, on one rank.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace drover {

struct GenerateOptions {
  std::filesystem::path checkpoint;  // .../checkpoints/step_00001000
  std::string prompt;
  int64_t max_tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  int64_t top_k = 40;        // sample among the k most likely; 0: among all
  std::string tokenizer;     // a file, where neither the run nor its data keep one
  uint64_t seed = 0;         // the same seed gives the same text
  int threads = 0;           // 0: all cores of the affinity mask
};

// Passes the prompt and then the text to `emit` as it grows (bytes: a character may come in pieces). Ends at the end of the document or at max_tokens. Each
// token is predicted from at most the last train.sequence tokens. Throws Error(resume) when the checkpoint is damaged.
void generate(const GenerateOptions& options, const std::function<void(std::string_view)>& emit);

}  // namespace drover
