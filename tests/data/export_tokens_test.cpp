// Shards as token files of other programs.
#include <gtest/gtest.h>

#include "data/export_tokens.h"
#include "tests/data/token_files.h"
#include "tests/file_trace.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

TEST_F(TokenFiles, ExportedAndImportedAgain) {
  for (const uint32_t width : {2u, 4u}) {
    fs::remove_all(at("data"));
    fs::create_directories(at("data"));
    write_shard(at("data/shard_00000.tokens"), {1, 2, 3, 4, 5}, {2}, 258, width);
    write_shard(at("data/shard_00001.tokens"), {6, 7, 8}, {1}, 258, width);
    mark_prepared(at("data"));
    for (const std::string format : {"megatron", "llm.c"}) {
      const ExportResult result = export_tokens({format, at("e" + format + std::to_string(width)), at("data"), 5});
      EXPECT_EQ(result.tokens, 8);
      EXPECT_EQ(result.documents, 3);
      ImportOptions all = options(format, {});
      all.vocab = 258;
      all.inputs = result.files;
      if (format == "megatron")
        all.inputs.pop_back();
      else
        all.whole_files = true;
      const Imported found = import(all);
      EXPECT_EQ(found.tokens, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8}));
      EXPECT_EQ(found.ends, format == "megatron" ? (Ends{2, 6, 8}) : (Ends{5, 8}));
      expect_has(error_of([&] {
                   export_tokens({format, at("e" + format + std::to_string(width)), at("data"), 5});
                 }),
                 "is there already");
    }
  }
}

TEST_F(TokenFiles, AnExportThatFailsLeavesNothing) {
  write_shard(at("shard_00000.tokens"), {1, 2, 3, 4, 5}, {5});
  write_shard(at("shard_00001.tokens"), {6, 7, 8, 258}, {4});  // 258 is damage, met when two files are whole
  mark_prepared(scratch.path);
  for (const std::string format : {"megatron", "llm.c"}) {
    expect_has(error_of([&] { export_tokens({format, at("new/e"), scratch.path, 2}); }), "token 258 at index 3");
    EXPECT_TRUE(fs::is_empty(at("new")));
  }
}

TEST_F(TokenFiles, ExportsAreSyncedBeforeTheirNames) {
  write_shard(at("shard_00000.tokens"), {1, 2, 3}, {3});
  mark_prepared(scratch.path);
  const testing::FileTrace trace;
  export_tokens({"megatron", at("e"), scratch.path});
  for (const char* name : {"e.bin", "e.idx"}) trace.expect_synced(at(std::string(name) + ".tmp"), trace.renamed_to(at(name)));
  EXPECT_LT(trace.renamed_to(at("e.bin")), trace.renamed_to(at("e.idx")));
}

}  // namespace
}  // namespace drover
