// A token shard: header, dataset, inspection. Input: see guarded(); the rest is the file, which is there twice, so that samples span shards.
#include <deque>

#include "data/dataset.h"
#include "data/inspect.h"
#include "data/shard.h"
#include "tests/fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

constexpr int64_t kSequence = 5, kVocab = 258;

struct Sample {
  std::vector<int32_t> token, target, position, document_begin;
  std::vector<float> weight;
  Batch batch;

  Sample() : token(kSequence), target(token), position(token), document_begin(token), weight(kSequence) {
    const auto view = [](auto& values, DType dtype) {
      return TensorView{reinterpret_cast<std::byte*>(values.data()), dtype, {}, {kSequence}};
    };
    batch = {view(token, DType::i32), view(target, DType::i32), view(position, DType::i32), view(document_begin, DType::i32),
             view(weight, DType::f32)};
  }
  void check() const {
    for (size_t i = 0; i < kSequence; ++i) {
      const int32_t at = static_cast<int32_t>(i);
      require(token[i] >= 0 && token[i] < kVocab && target[i] >= 0 && target[i] < kVocab, "a token outside the vocabulary");
      require(document_begin[i] >= 0 && document_begin[i] <= at, "a document that begins after its token");
      require(position[i] == at - document_begin[i], "a position that does not count from the document's begin");
    }
  }
};

void run(Guarded input, const Scratch& scratch) {
  if (input.repair && input.bytes.size() >= ShardHeader::kBytes)
    put_hash(input.bytes, ShardHeader::kBytes - 8, xxh3(input.bytes.data(), ShardHeader::kBytes - 8));
  for (const char* name : {"a.tokens", "b.tokens"}) scratch.write(name, input.bytes);
  accepted(ExitCode::data, [&] {
    const TokenDataset dataset({scratch.path.string()}, kSequence, kVocab);
    require(dataset.tokens() <= 2 * static_cast<int64_t>(input.bytes.size()), "more tokens than bytes");
    Sample sample;
    for (int64_t index = 0; index < dataset.samples(); ++index) {
      dataset.read(index, true, sample.batch, 0);
      sample.check();
    }
  });
  accepted(ExitCode::data, [&] { inspect_data(scratch.path); });
  accepted(ExitCode::data, [&] { verify_data(scratch.path); });
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  static const bool prepared = (scratch.write("prepare.json", R"({"shards":2,"tokens":4,"documents":2})"), true);
  if (prepared) drover::fuzz::run(drover::fuzz::guarded(data, size), scratch);
  return 0;
}
