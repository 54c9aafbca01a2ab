// The subcommands of `drover`, one file each. They return the exit code, or throw Error.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/encode.h"
#include "data/export_tokens.h"
#include "data/import_tokens.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "parallel/world.h"
#include "trainer/bench.h"
#include "trainer/generate.h"
#include "trainer/run.h"

namespace drover {

int validate_command(const TrainRequest& request, int64_t ranks);
struct PlanOptions {
  bool json = false;
  int program = -1;  // print the actions of this rank instead; -1: the plan
};
int plan_command(const TrainRequest& request, int64_t ranks, const PlanOptions& options);
struct PrepareRequest : PrepareOptions {
  std::string invalid_utf8 = "refuse";  // or "replace"
};
// On several ranks each takes units of the inputs, and the first speaks for all.
int prepare_command(PrepareRequest request, const LauncherView& view);
int import_tokens_command(const ImportOptions& options);
int export_tokens_command(const ExportOptions& options);
int data_command(const std::string& verb, const std::string& directory);
struct PreviewOptions {
  int64_t step = 1, ranks = 1;
  int rank = 0;
};
int audit_command(const TrainRequest& request, int64_t ranks, bool json);         // 4 where something would end the run
int preview_command(const TrainRequest& request, const PreviewOptions& options);  // the samples of a rank's step, as text
std::filesystem::path checkpoint_of(const std::filesystem::path& path);  // a run directory's newest valid one, or the path itself
int checkpoint_command(const std::string& verb, const std::vector<std::string>& paths);
int generate_command(const GenerateOptions& options);
int report_command(const std::string& run_directory, const std::string& out);  // out "": RUN_DIR/report.html
int compare_command(const std::string& run_a, const std::string& run_b);
// Of a YAML file, or of a directory of shards in samples of `sequence`; `against`: beside numpy's memmap, where there is a Python with it.
int bench_data_command(const TrainRequest& request, int64_t sequence, bool against);
int bench_ops_command(const std::vector<std::string>& options);
struct DoctorOptions {
  std::string hostfile;     // empty: this host
  int ranks = 0;            // 0: the hostfile's slots; without one, the cores, 2 to 8
  int limit_seconds = 300;  // for the ranks to answer
};
int doctor_command(const TrainRequest& request, const DoctorOptions& options);
struct TokenizerOptions {
  std::string tokenizer, other;     // "bytes" or a file; `other`: to compare with
  std::vector<std::string> inputs;  // of texts, as prepare's; of ids for decode; none, or "-": standard input
  std::string standard_input_format = "text";
  TextRules rules;
};
int tokenizer_command(const std::string& verb, const TokenizerOptions& options);
int add_range_command(const std::string& tokenizer, const std::string& range, const std::string& out);  // range: NAME=SIZE
struct TrainTokenizerOptions {
  int64_t vocab = 0;
  std::filesystem::path out;  // tokenizer.json
  std::vector<std::filesystem::path> inputs;
  std::string standard_input_format;
  TextRules rules;
  std::vector<std::string> special{"<|begin_of_text|>", "<|end_of_text|>"};
  std::string pattern = "llama3";
  int workers = 0;  // 0: all cores
};
int train_tokenizer_command(const TrainTokenizerOptions& options);
struct BenchTokenizerOptions {
  std::string tokenizer;
  std::vector<std::string> inputs;
  int threads = 0;  // 0: one, and all cores
  int rounds = 5;
  bool against = false, json = false;
};
int bench_tokenizer_command(const BenchTokenizerOptions& options);
int docs_command(const std::string& page);
std::string version_text();
std::string library_versions();  // those of version_text

}  // namespace drover
