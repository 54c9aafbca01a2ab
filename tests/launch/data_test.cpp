// `drover data audit` and `drover data preview` on a mixture in two phases: what they say, beside what the parts that a run is made of give.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "data/audit.h"
#include "data/mixture.h"
#include "data/tokenizer.h"
#include "parallel/mesh.h"
#include "tests/data/testing.h"
#include "tests/end_to_end/run_drover.h"
#include "trainer/preflight.h"

namespace drover {
namespace {

using testing::Outcome;

struct DataCommand : ::testing::Test {
  // Two phases: of `data` and of `more`, 3 documents of 102 tokens, the last two alike; 9 samples of 32 tokens in the first, and then of 64.
  DataCommand() {
    std::ofstream(sandbox.path() / "more.jsonl") << fmt::format(
        "{{\"text\": \"{}\"}}\n{{\"text\": \"{}\"}}\n{{\"text\": \"{}\"}}\n", std::string(100, 'x'), numbers(), numbers());
    const Outcome made = sandbox.drover({"prepare", "--tokenizer", "bytes", "--out", "more", "more.jsonl"});
    EXPECT_EQ(made.code, 0) << made.output;
    const auto path = [&](const char* name) { return (sandbox.path() / name).string(); };
    sandbox.configure({{"train.steps", "5"},
                       {"train.global_batch", "6"},
                       {"data.train", "[]"},
                       {"data.sources", fmt::format("{{more: {{path: {}}}, web: {{path: {}}}}}", path("more"), path("data"))},
                       {"data.phases", "[{until_tokens: 270, weights: {web: 1}}, {sequence: 64, weights: {more: 1}}]"}});
  }
  // 100 digits in which no 11 letters come again
  static std::string numbers() {
    std::string text;
    for (int i = 100; text.size() < 100; ++i) text += fmt::format("{}a", i);
    return text.substr(0, 100);
  }
  Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"data"});
    return sandbox.drover(arguments);
  }
  testing::Sandbox sandbox;
};

TEST_F(DataCommand, AuditSaysEveryFigure) {
  const Outcome text = run({"audit", "config.yaml"});
  EXPECT_EQ(text.code, 0) << text.output;
  for (const std::string& part :
       {std::string("more: 1 shard, 306 tokens, 3 documents\n  ids         0 of model.vocab 258 or more\n"),
        std::string("epochs      4.500: 4 whole and 0.500 of the next; by phase 0.000, 4.500\n"),
        std::string("longest     102 tokens: ") + (sandbox.path() / "more/shard_00000.tokens").string() + " from index 0 on\n",
        std::string(
            "repetition  32.59 % of 13-grams come again in their document, 66.67 % in another one of the sample: 270 grams in 3 "
            "documents evenly spaced, of each the first 4096 tokens at most\n"),
        std::string("run: 5 steps, 27 samples, 1440 tokens\n"),
        std::string(
            "  step 2 ends a sequence length of 32: 3 of 6 slots are filled\n  empty slots 6.250 % of all tokens of all slots\n"),
        std::string("each column 1/60 of the run\n  phase      1           2\n"), std::string("\n  more                   ████")})
    EXPECT_NE(text.output.find(part), std::string::npos) << part << "\nin\n" << text.output;
}

TEST_F(DataCommand, AuditForMachines) {
  const Outcome out = run({"audit", "config.yaml", "--json"});
  EXPECT_EQ(out.code, 0) << out.output;
  const auto json = nlohmann::json::parse(out.output);
  EXPECT_EQ(json["sources"]["more"]["documents"], 3);
  EXPECT_EQ(json["sources"]["more"]["repetition"]["across"], 180);
  EXPECT_EQ(json["sources"]["more"]["phase_epochs"], (std::vector<double>{0, 4.5}));
  EXPECT_EQ(json["run"]["short_steps"][0]["filled"], 3);
  EXPECT_TRUE(json["problems"].empty());
}

TEST_F(DataCommand, AuditFindsIdsOutsideTheVocabulary) {
  const std::filesystem::path shard = sandbox.path() / "more/shard_00000.tokens";
  std::fstream(shard, std::ios::in | std::ios::out | std::ios::binary).seekp(256 + 2 * 17).write("\x02\x01", 2);
  const Outcome out = run({"audit", "config.yaml"});
  EXPECT_EQ(out.code, 4) << out.output;
  for (const std::string& part : {std::string("ids         1 of model.vocab 258 or more"),
                                  "drover: error: data.sources.more: " + shard.string() +
                                      ": 1 of 306 tokens outside model.vocab 258: the first is 258 at index 17"})
    EXPECT_NE(out.output.find(part), std::string::npos) << part << "\nin\n" << out.output;
  std::filesystem::remove_all(sandbox.path() / "more");
  const Outcome gone = run({"audit", "config.yaml", "--json"});
  EXPECT_EQ(gone.code, 4) << gone.output;
  EXPECT_NE(gone.output.find("more does not exist"), std::string::npos) << gone.output;
}

// Steps of both sequences, and the short one between them, on two ranks: what the loader of a run gives them.
TEST_F(DataCommand, BenchReadsTheMixture) {
  sandbox.expect({"bench", "data", "config.yaml"}, 0,
                 {"shards opened in", " samples of up to 64 tokens", "GB/s of tokens", "% of it"});
  sandbox.expect({"bench", "data", "config.yaml", "--set", "data.packing=best_fit"}, 0, {" samples of up to 64 tokens"});
  sandbox.expect({"bench", "data", "config.yaml", "--set", "data.sources.more.path=[nowhere]"}, 4,
                 {"data.sources.more: data directory nowhere does not exist"});
}

TEST_F(DataCommand, PreviewIsWhatTheLoaderGives) {
  for (const std::string packing : {"contiguous", "best_fit"}) {
    SCOPED_TRACE(packing);
    const Config config =
        resolve_config({.config = (sandbox.path() / "config.yaml").string(), .overrides = {"data.packing=" + packing}}, 2);
    const Mixture mixture(config);
    const auto tokenizer = make_tokenizer("bytes");
    int empty = 0;
    for (int rank = 0; rank < 2; ++rank) {
      int64_t consumed = 0;
      for (int step = 1; step <= 3; consumed = mixture.order().after_step(consumed, 6), ++step) {
        const int64_t sequence = step < 3 ? 32 : 64;
        data_testing::Buffers buffers;
        Loader loader(mixture,
                      {.global_batch = 6,
                       .micro_batch = 1,
                       .sequence = sequence,
                       .dp_rank = rank,
                       .dp_size = 2,
                       .document_mask = true,
                       .max_documents = config.data.max_documents_per_sample},
                      buffers.make(2 * 3, sequence));
        const Outcome out = run({"preview", "config.yaml", "--ranks", "2", "--rank", std::to_string(rank), "--step",
                                 std::to_string(step), "--set", "data.packing=" + packing});
        ASSERT_EQ(out.code, 0) << out.output;
        size_t at = out.output.find('\n') + 1;
        for (const Batch& batch : loader.next(consumed)) {
          const std::vector<int32_t> tokens(batch.token.as<int32_t>(), batch.token.as<int32_t>() + sequence);
          int64_t documents = 1, targets = 0;
          for (int64_t i = 0; i < sequence; ++i) {
            documents += i > 0 && batch.document_begin.as<int32_t>()[i] == i;
            targets += batch.weight.as<float>()[i] == 1;
          }
          const size_t line = at + 1, end = out.output.find('\n', line) + 1;
          const std::string head = out.output.substr(line, end - line);
          if (targets == 0) {
            ++empty;
            EXPECT_NE(head.find("is empty: the next samples have another length"), std::string::npos) << head;
            at = end;
            continue;
          }
          EXPECT_NE(head.find(fmt::format("; {} document{}, {} of {} targets count\n", documents, documents == 1 ? "" : "s",
                                          targets, sequence)),
                    std::string::npos)
              << head << " has " << documents << ", " << targets;
          const std::string text = tokenizer->decode(tokens) + "\n";
          EXPECT_EQ(out.output.substr(end, text.size()), text) << head;
          at = end + text.size();
        }
        EXPECT_EQ(at, out.output.size()) << out.output.substr(at);
      }
    }
    EXPECT_EQ(empty, 3);
  }
}

// The same samples in one go, and again from a checkpoint; not in windows of another size.
TEST_F(DataCommand, PackedRunsGoOnAsTheyBegan) {
  const std::vector<std::string> packed{"data.packing=best_fit", "checkpoint.every=2"};
  const Outcome whole = sandbox.train({}, "whole", packed);
  ASSERT_EQ(whole.code, 0) << whole.output;
  std::vector<std::string> from = packed;
  from.emplace_back("checkpoint.resume=whole/checkpoints/step_00000002");
  const Outcome again = sandbox.train({}, "again", from);
  ASSERT_EQ(again.code, 0) << again.output;
  std::vector<nlohmann::json> rows = testing::without_timings(sandbox.metrics("whole")),
                              later = testing::without_timings(sandbox.metrics("again"));
  ASSERT_EQ(rows.size(), 5u);
  ASSERT_EQ(later.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(later[i].at("loss"), rows[i + 2].at("loss"));
  from.emplace_back("data.packing_window=8");
  testing::expect_one_error(
      sandbox.train({}, "other", from), 3,
      {"data.packing: best_fit in windows of 64 samples of at most 64 documents -> best_fit in windows of 8 samples"});
  const Outcome contiguous = sandbox.train({}, "contiguous");
  ASSERT_EQ(contiguous.code, 0) << contiguous.output;
  EXPECT_NE(sandbox.metrics("contiguous").front().at("loss"), rows.front().at("loss"));
  testing::expect_one_error(sandbox.train({}, "bare", {"data.packing=best_fit", "data.document_mask=false"}), 2,
                            {"data.packing best_fit needs data.document_mask true"});
}

TEST_F(DataCommand, PlanSaysHowManyDocumentsAreCut) {
  const Outcome out = sandbox.drover({"plan", "config.yaml", "--ranks", "1"});
  EXPECT_EQ(out.code, 0) << out.output;
  // `more`, in one window of its 4 samples of 64: its documents of 102 are all cut, and the last goes on beyond.
  for (const std::string& part :
       {std::string("packing contiguous; documents that are cut\n"),
        std::string("\n  more       100.0 % contiguous, 100.0 % by best_fit: of 3 documents in at most 16 windows of 64 "
                    "samples of 64 tokens; padding 0.00 % and 0.00 % of tokens\n"),
        std::string("\n  web ")})
    EXPECT_NE(out.output.find(part), std::string::npos) << part << "\nin\n" << out.output;
  const Outcome one = sandbox.drover({"plan", "config.yaml", "--ranks", "1", "--set", "data.max_documents_per_sample=1"});
  // Samples 0 to 3 of `more`: the documents of 102 tokens begin at 0, 102 and 204, so behind 102 - 64 and 204 - 192 tokens of samples 1 and 3.
  EXPECT_NE(one.output.find("; padding 30.47 % and "), std::string::npos) << one.output;
}

TEST_F(DataCommand, PreviewRefusesWhatIsNotThere) {
  const Outcome rank = run({"preview", "config.yaml", "--ranks", "2", "--rank", "2"}),
                step = run({"preview", "config.yaml", "--step", "6"});
  testing::expect_one_error(rank, 2, {"rank 2: there are 2; --ranks says how many"});
  testing::expect_one_error(step, 2, {"step 6: the run has 5 steps"});
}

}  // namespace
}  // namespace drover
