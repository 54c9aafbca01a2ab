// `drover prepare` as a job: killed and started again, on a full disk, on several ranks, from a pipe, and in constant memory.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

struct PrepareJob : ::testing::Test {
  // `documents` of JSONL, a name's content of its own.
  void write_input(const std::string& name, int documents) const {
    std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
    std::ofstream file(sandbox.path() / name);
    for (int i = 0; i < documents; ++i)
      file << R"({"text": "document )" << random() << std::string(random() % 1000, 'x') << "\"}\n";
  }
  std::map<std::string, std::string> shards_of(const std::string& directory) const {
    std::map<std::string, std::string> shards;
    for (const auto& entry : fs::recursive_directory_iterator(sandbox.path() / directory))
      if (entry.path().extension() == ".tokens") {
        std::ifstream in(entry.path(), std::ios::binary);
        shards[fs::relative(entry.path(), sandbox.path() / directory).string()] = {std::istreambuf_iterator<char>(in), {}};
      }
    return shards;
  }
  // Bytes of the journal of the job that makes "out".
  uintmax_t journalled() const {
    uintmax_t bytes = 0;
    std::error_code gone;  // files come and go
    for (fs::directory_iterator entry(sandbox.path() / "out/prepare.journal", gone), end; !gone && entry != end;
         entry.increment(gone)) {
      const uintmax_t size = entry->file_size(gone);
      if (!gone) bytes += size;
    }
    return bytes;
  }
  std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> all{"prepare", "--out", out, "--shard-tokens", "200000", "--unit-bytes", "4000000"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  testing::Sandbox sandbox;
};

TEST_F(PrepareJob, KilledAtAnyTimeItGoesOn) {
  for (int i = 0; i < 4; ++i) write_input(std::to_string(i) + ".jsonl", 9000);
  const std::vector<std::string> inputs{"--validation-share", "0.05", "--deduplicate", "?.jsonl"};
  ASSERT_EQ(sandbox.drover(arguments("whole", inputs)).code, 0);
  const auto whole = shards_of("whole");
  std::mt19937 random(4);
  int kills = 0, kept = 0;
  bool finished = false;
  while (!finished && kills < 200) {
    testing::Process process(sandbox.on_ranks(1, arguments("out", inputs)), sandbox.path());
    // Every other start comes to something first, so that the kills are spread over the work however fast the machine is.
    const uintmax_t before = journalled();
    do finished = !process.run_for(0.001 * (1 + random() % 10) + 0.001 * kills);
    while (!finished && kills % 2 == 0 && journalled() == before);
    if (!finished) kill(process.pid(), SIGKILL);
    const Outcome outcome = process.wait();
    if (finished) {
      ASSERT_EQ(outcome.code, 0) << outcome.output;
    } else {
      ++kills;
      kept += fs::exists(sandbox.path() / "out/train") && !shards_of("out").empty();
    }
  }
  std::printf("%d kills, %d of them with finished shards\n", kills, kept);
  EXPECT_GT(kills, 5);
  EXPECT_GT(kept, 0);
  EXPECT_TRUE(shards_of("out") == whole);
  EXPECT_EQ(sandbox.drover({"data", "verify", "out/train"}).code, 0);
  EXPECT_FALSE(fs::exists(sandbox.path() / "out/prepare.journal"));
}

// A small file system of its own, as root.
TEST_F(PrepareJob, AFullDiskIsGoneOnWithWhenThereIsRoom) {
  write_input("a.jsonl", 6000);
  ASSERT_EQ(sandbox.drover(arguments("whole", {"a.jsonl"})).code, 0);
  const fs::path disk = sandbox.path() / "disk";
  fs::create_directory(disk);
  if (mount("none", disk.c_str(), "tmpfs", 0, "size=3m") != 0) GTEST_SKIP() << "needs root to mount a small file system";
  const Outcome full = sandbox.drover(arguments("disk/out", {"a.jsonl"}));
  testing::expect_one_error(full, 7, {"No space left on device", "disk/out"});
  EXPECT_GT(shards_of("disk").size(), 3u);
  EXPECT_EQ(mount("none", disk.c_str(), "tmpfs", MS_REMOUNT, "size=100m"), 0);
  const Outcome outcome = sandbox.drover(arguments("disk/out", {"a.jsonl"}));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(shards_of("disk/out") == shards_of("whole"));
  umount(disk.c_str());
}

TEST_F(PrepareJob, RanksShareTheUnits) {
  for (int i = 0; i < 6; ++i) write_input(std::to_string(i) + ".jsonl", 3000);
  for (const std::vector<std::string>& inputs :
       {std::vector<std::string>{"?.jsonl"}, {"--deduplicate", "--validation-tail", "0.3", "?.jsonl"}}) {
    const std::string name = std::to_string(inputs.size());
    ASSERT_EQ(sandbox.drover(arguments("one" + name, inputs)).code, 0);
    const Outcome outcome = testing::run_command(sandbox.on_ranks(4, arguments("four" + name, inputs)), sandbox.path());
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_EQ(testing::count(outcome.output, "18000 documents"), 1) << outcome.output;
    EXPECT_TRUE(shards_of("four" + name) == shards_of("one" + name));
  }
  std::ofstream(sandbox.path() / "5.jsonl", std::ios::app) << "bad\n";
  const Outcome bad = testing::run_command(sandbox.on_ranks(3, arguments("bad", {"?.jsonl"})), sandbox.path());
  testing::expect_one_error(bad, 4, {"5.jsonl:3001: not a JSON object"});
}

TEST_F(PrepareJob, StandardInputAndBadRecords) {
  write_input("a.jsonl", 50);
  std::ofstream(sandbox.path() / "a.jsonl", std::ios::app) << "bad\n"
                                                           << R"({"text": "\ud800"})"
                                                           << "\n";
  const std::string program = testing::drover_program();
  const auto shell = [&](const std::string& command) { return testing::run_command({"sh", "-c", command}, sandbox.path()); };
  const Outcome piped = shell("cat a.jsonl | " + program + " prepare --out piped --max-bad 2 --input-format jsonl -");
  EXPECT_EQ(piped.code, 0) << piped.output;
  for (const char* words : {"2 bad records left out:\n", "-:51: not a JSON object", "-:52: not a JSON object (", "50 documents"})
    EXPECT_NE(piped.output.find(words), std::string::npos) << words << " in " << piped.output;
  ASSERT_EQ(sandbox.drover({"prepare", "--out", "named", "--max-bad", "2", "a.jsonl"}).code, 0);
  EXPECT_TRUE(shards_of("piped") == shards_of("named"));
  const Outcome again = shell(program + " prepare --out piped --max-bad 2 --input-format jsonl - < a.jsonl");
  testing::expect_one_error(again, 4, {"piped already holds shards of standard input"});
  testing::expect_one_error(sandbox.drover({"prepare", "--out", "x", "--max-bad", "1", "a.jsonl"}), 4,
                            {"2 bad records, more than --max-bad 1"});
  testing::expect_one_error(sandbox.drover({"prepare", "--out", "x", "-"}), 4, {"--input-format text|jsonl"});
  testing::expect_one_error(
      sandbox.drover({"prepare", "--out", "x", "--validation-tail", "0.1", "--validation-share", "0.1", "a.jsonl"}), 2,
      {"--validation-share", "--validation-tail"});
}

// The system's word: ten times the text takes no more memory.
TEST_F(PrepareJob, MemoryDoesNotGrowWithTheInput) {
  const auto most_memory = [&](const std::string& name, int megabytes) {
    std::string lines;
    for (int i = 0; i < 50; ++i) lines += "{\"text\": \"" + std::to_string(i) + std::string(20000, 'x') + "\"}\n";
    std::string frame(ZSTD_compressBound(lines.size()), '\0');
    frame.resize(ZSTD_compress(frame.data(), frame.size(), lines.data(), lines.size(), 1));
    std::ofstream file(sandbox.path() / name);
    for (int i = 0; i < megabytes; ++i) file << frame;
    file.close();
    const Outcome outcome =
        sandbox.drover({"prepare", "--workers", "2", "--shard-tokens", "4000000", "--out", "out_" + name, name});
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    fs::remove_all(sandbox.path() / ("out_" + name));
    return static_cast<double>(usage.ru_maxrss) / 1024;
  };
  const double less = most_memory("less.jsonl.zst", 20), more = most_memory("more.jsonl.zst", 200);
  std::printf("20 MB: %.0f MiB, 200 MB: %.0f MiB\n", less, more);
  EXPECT_LT(more, less + 24);
  EXPECT_LT(more, 200);
}

}  // namespace
}  // namespace drover
