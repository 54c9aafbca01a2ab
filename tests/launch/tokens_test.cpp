// `drover import-tokens`, `drover export-tokens` and `drover bench data`: what they say, and training on what lies in another's file.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

struct TokensCommand : ::testing::Test {
  testing::Sandbox sandbox;  // has data of 900 documents
};

TEST_F(TokensCommand, TrainsAlikeOnItsOwnShardsAndOnMegatronsFile) {
  sandbox.expect({"export-tokens", "--to", "megatron", "--out", "away/m", "data"}, 0,
                 {"900 documents, ", "in 2 files", "away/m.bin", "away/m.idx"});
  const std::vector<std::string> import{"import-tokens", "--from", "megatron", "--in-place", "--tokenizer",
                                        "bytes",         "--out",  "here",     "away/m"};
  sandbox.expect(import, 0, {"900 documents, ", " tokens in 1 shard"});
  sandbox.expect(import, 0, {"here: already imported from these files"});
  sandbox.expect({"data", "inspect", "here"}, 0,
                 {"tokenizer   bytes (vocabulary 258", "documents   900", "refers to   ", "away/m.bin"});
  sandbox.expect({"data", "verify", "here"}, 0, {"here: sound"});
  sandbox.configure({{"train.steps", "6"}});
  const Outcome own = sandbox.train({}, "own"), other = sandbox.train({}, "other", {"data.train=[here]"});
  ASSERT_EQ(own.code, 0) << own.output;
  ASSERT_EQ(other.code, 0) << other.output;
  EXPECT_EQ(testing::without_timings(sandbox.metrics("own")), testing::without_timings(sandbox.metrics("other")));
  std::ofstream(sandbox.path() / "away/m.bin", std::ios::app) << "more";
  sandbox.expect({"train", "config.yaml", "--set", "data.train=[here]", "--set", "run.dir=third"}, 4,
                 {"away/m.bin has changed since token shard here/shard_00000.tokens was made"});
}

TEST_F(TokensCommand, RefusalsSayWhatWouldDo) {
  std::ofstream(sandbox.path() / "a.bin") << std::string(2000, 'x');
  sandbox.expect({"import-tokens", "--from", "llm.c", "--out", "new", "--vocab", "100", "--whole-files", "a.bin"}, 4,
                 {"a.bin: at byte 0: not llm.c's"});
  sandbox.expect({"import-tokens", "--from", "numpy", "--out", "new", "--vocab", "100", "--dtype", "uint16", "a.bin"}, 2,
                 {"does not say where documents end", "--end-token ID", "--begin-token ID", "--whole-files"});
  sandbox.expect({"import-tokens", "--from", "parquet", "--out", "new", "--vocab", "100", "a.bin"}, 2,
                 {"megatron", "llm.c", "numpy", "nanotron"});
  sandbox.expect({"export-tokens", "--to", "llm.c", "--out", "a", "nowhere"}, 4, {"nowhere does not exist"});
  EXPECT_FALSE(fs::exists(sandbox.path() / "new"));
}

TEST_F(TokensCommand, BenchSaysTheRateAndTheShareOfAStep) {
  sandbox.configure({});
  sandbox.expect({"bench", "data", "data", "--sequence", "32"}, 0,
                 {"shards opened in", "samples of 32 tokens", "GB/s of tokens (2 bytes each"});
  sandbox.expect({"bench", "data", "config.yaml"}, 0, {"GB/s of tokens (2 bytes each", "a step at", "% of it"});
}

}  // namespace
}  // namespace drover
