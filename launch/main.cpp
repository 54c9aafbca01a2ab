// drover: parses the command line, runs one command, prints one error.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <thread>

#include "data/import_formats.h"
#include "data/tokenizer/count_words.h"
#include "kernels/base/error.h"
#include "kernels/base/host.h"
#include "launch/commands.h"
#include "launch/option_checks.h"

namespace {

using drover::integer;
using drover::number;
using drover::TrainRequest;

void add_overrides(CLI::App* command, TrainRequest& request) {
  command->add_option("--set", request.overrides, "override a key: key.path=value")->take_all()->allow_extra_args(false);
}

constexpr int64_t kMostRanks = int64_t{1} << 20;

[[noreturn]] void refuse(const std::string& what) {
  throw drover::Error(drover::ExitCode::config, what + "; `drover --help` and `drover COMMAND --help` list what there is");
}

struct CommandLine {
  CLI::App app{"Drover: pretrains Llama-class language models, from one YAML file"};
  TrainRequest request;
  drover::PrepareRequest prepare;
  drover::ImportOptions import_tokens;
  drover::ExportOptions export_tokens;
  drover::PreviewOptions preview;
  drover::GenerateOptions generate;
  int64_t ranks = 1, sequence = 2048;
  bool against = false, json = false;
  drover::PlanOptions plan_options;
  drover::BenchOptions bench_options;
  drover::DoctorOptions doctor_options;
  drover::TokenizerOptions tokenizer;
  drover::BenchTokenizerOptions bench_tokenizer;
  drover::TrainTokenizerOptions train_tokenizer;
  std::string verb, directory, page, out, other;
  std::vector<std::string> paths;
  std::function<int()> run;
  enum class Ranks : uint8_t { first, together, apart };  // one process's work, all ranks' by MPI, or each rank's on its own
  Ranks ranks_of_command = Ranks::first;

  CommandLine() {
    app.require_subcommand(0, 1);
    app.set_version_flag("--version", drover::version_text());
    add_training();
    add_data();
    add_tokenizers();
    add_token_files();
    add_checkpoints();
    add_looks_at_runs();
    add_benchmarks();
    add_doctor();
  }

  void parse(int argc, char** argv) {
    std::vector<std::string> names;
    for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
    if (argc > 1 && argv[1][0] != '-' && std::find(names.begin(), names.end(), argv[1]) == names.end())
      refuse(fmt::format("unknown command {}; there are {}", argv[1], fmt::join(names, ", ")));
    app.parse(argc, argv);
    if (!run) refuse(fmt::format("a command is missing: {}", fmt::join(names, ", ")));
  }

  CLI::App* command(const char* name, const char* help, std::function<int()> body, Ranks on = Ranks::first) {
    return command(app, name, help, std::move(body), on);
  }
  CLI::App* command(CLI::App& group, const char* name, const char* help, std::function<int()> body, Ranks on = Ranks::first) {
    CLI::App* added = group.add_subcommand(name, help);
    added->final_callback([this, on, body = std::move(body)] {
      run = body;
      ranks_of_command = on;
    });
    return added;
  }

  static constexpr const char* tokenizer_help = "bytes, or a file tokenizer.json or tokenizer.model, or a directory with one";

  void add_training() {
    CLI::App* train = command(
        "train", "train from a YAML file (start several ranks with launch/mpirun.sh -np N)",
        [this] { return drover::run_training(request, drover::launcher_view()); }, Ranks::together);
    train->add_option("config", request.config, "YAML file")->required();
    train->add_flag("--tiny", request.tiny, "the same kind of layout at small sizes, for 8 ranks");
    add_overrides(train, request);
    CLI::App* resume = command(
        "resume", "continue a run from its newest valid checkpoint, on any number of ranks",
        [this] {
          request.resume = true;
          request.config = request.run_directory + "/config.yaml";
          return drover::run_training(request, drover::launcher_view());
        },
        Ranks::together);
    resume->add_option("run_directory", request.run_directory, "directory of the run")->required();
    add_overrides(resume, request);
    for (CLI::App* runs : {train, resume})
      runs->add_flag("--log-actions", request.log_actions,
                     "write each rank's actions of the first step, and its counters of the run, to the run directory");
    CLI::App* validate =
        command("validate", "check a YAML file for a number of ranks", [this] { return drover::validate_command(request, ranks); });
    CLI::App* plan = command("plan", "print mesh, schedule, bubble and memory of a YAML file",
                             [this] { return drover::plan_command(request, ranks, plan_options); });
    plan->add_flag("--json", plan_options.json, "the memory of the worst rank as JSON");
    plan->add_option("--program", plan_options.program, "print the actions of one rank's step instead")
        ->check(integer(0, kMostRanks - 1));
    for (CLI::App* look : {validate, plan}) {
      look->add_option("config", request.config, "YAML file")->required();
      look->add_option("--ranks", ranks, "number of ranks")->required()->check(integer(1, kMostRanks));
      look->add_flag("--tiny", request.tiny, "of the small sizes that train --tiny runs");
      add_overrides(look, request);
    }
  }

  void add_benchmarks() {
    CLI::App* bench =
        app.add_subcommand("bench", "measure: bench step CONFIG | bench data CONFIG_OR_DIR | bench tokenizer | bench ops");
    bench->require_subcommand(1);
    CLI::App* step = command(
        *bench, "step", "the training step of a YAML file on random tokens, and its share of this machine's rate",
        [this] { return drover::bench_step(request, bench_options, drover::launcher_view()); }, Ranks::together);
    step->add_option("config", request.config, "YAML file")->required();
    step->add_option("--steps", bench_options.steps, "measured steps")->check(integer(1))->capture_default_str();
    step->add_option("--warmup", bench_options.warmup, "steps before")->check(integer(0))->capture_default_str();
    step->add_flag("--breakdown", bench_options.breakdown, "where a step's time goes, by op, and each op's share of its limit");
    step->add_flag("--json", bench_options.json, "the figures once more, as one JSON object on the last line");
    step->add_flag("--tiny", request.tiny, "of the small sizes that train --tiny runs");
    add_overrides(step, request);
    CLI::App* data = command(*bench, "data", "the loader alone, on one core from the page cache, and its share of a step's time",
                             [this] { return drover::bench_data_command(request, sequence, against); });
    data->add_option("config", request.config, "YAML file, or a directory that prepare made")->required();
    data->add_option("--sequence", sequence, "tokens a sample, of a directory")->check(integer(1, 1 << 24))->capture_default_str();
    data->add_flag("--against", against, "beside numpy's memmap copying the same rows, where there is a Python with numpy");
    data->add_flag("--tiny", request.tiny, "of the small sizes that train --tiny runs");
    add_overrides(data, request);
    CLI::App* ops = bench->add_subcommand(
        "ops", "every op by itself; options of Google Benchmark are passed on (--benchmark_filter=REGEX, --benchmark_format=json)");
    ops->allow_extras();
    ops->final_callback([this, ops] { run = [options = ops->remaining()] { return drover::bench_ops_command(options); }; });
    CLI::App* ids = command(*bench, "tokenizer", "how fast text becomes ids, on one thread and on all cores",
                            [this] { return drover::bench_tokenizer_command(bench_tokenizer); });
    ids->add_option("tokenizer", bench_tokenizer.tokenizer, tokenizer_help)->required();
    ids->add_option("texts", bench_tokenizer.inputs, "files of text")->required()->check(CLI::ExistingFile);
    ids->add_option("--threads", bench_tokenizer.threads, "0: one, and all cores")->check(integer(0, 4096));
    ids->add_option("--rounds", bench_tokenizer.rounds, "of which the median counts")->check(integer(1))->capture_default_str();
    ids->add_flag("--against", bench_tokenizer.against, "in turn with the Python library whose file it is, tiktoken or tokenizers");
    ids->add_flag("--json", bench_tokenizer.json, "the figures as JSON instead");
  }

  void add_doctor() {
    CLI::App* doctor = command(
        "doctor", "go or no-go: limits, cores, MPI, network, disk and clocks, measured before a run",
        [this] { return drover::doctor_command(request, doctor_options); }, Ranks::together);
    doctor->add_option("config", request.config, "YAML file of the run: its directory, its checkpoints' size, its threads");
    doctor->add_option("--hosts", doctor_options.hostfile, "on the hosts of this file too, a line a host: HOST slots=RANKS");
    doctor->add_option("--ranks", doctor_options.ranks, "ranks to start; else the hosts' slots, or this host's cores, at most 8")
        ->check(integer(1, kMostRanks));
    doctor->add_option("--limit", doctor_options.limit_seconds, "seconds for all ranks to answer")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    add_overrides(doctor, request);
  }

  void add_data() {
    CLI::App* make = command(
        "prepare", "turn text into token shards (on several nodes: mpirun -np N, or srun -n N)",
        [this] { return drover::prepare_command(prepare, drover::launcher_view()); }, Ranks::apart);
    make->add_option("--tokenizer", prepare.tokenizer, tokenizer_help)->capture_default_str();
    make->add_option("--out", prepare.out, "directory of the shards")->required();
    make->add_option("--workers", prepare.workers, "threads; 0: all cores")->check(integer(0, 4096));
    make->add_option("--jsonl-field", prepare.jsonl_field, "field of a JSONL record that holds the text")->capture_default_str();
    make->add_option("--column", prepare.column, "column of a Parquet file that holds the text")->capture_default_str();
    make->add_option("--input-format", prepare.standard_input_format, "what standard input (-) holds: text | jsonl")
        ->check(CLI::IsMember({"text", "jsonl"}));
    make->add_option("--invalid-utf8", prepare.invalid_utf8, "refuse: a bad record (or file of plain text) | replace: by U+FFFD")
        ->check(CLI::IsMember({"refuse", "replace"}))
        ->capture_default_str();
    make->add_option("--max-bad", prepare.max_bad, "records without a text that may be left out; they are listed")
        ->check(integer(0))
        ->capture_default_str();
    make->add_flag(
        "--deduplicate", prepare.deduplicate,
        "keep only the first of documents with the same text; takes a first look at all of it, and 20 bytes of memory a document");
    make->add_option("--shard-tokens", prepare.shard_tokens, "tokens of each shard but a unit's last")
        ->check(integer(1))
        ->capture_default_str();
    make->add_option(
            "--unit-bytes", prepare.unit_bytes,
            "files are taken together up to this size; each such unit has shards of its own, and is one process's work at a time")
        ->check(integer(1))
        ->capture_default_str();
    CLI::Option* tail = make->add_option("--validation-tail", prepare.validation_tail,
                                         "share of the text, at its end, that is held out: OUT/train and OUT/validation")
                            ->check(number(0, 1));
    make->add_option(
            "--validation-share", prepare.validation_share,
            "share of the documents that is held out, chosen by a hash of the text: it stays when inputs come, go, or move")
        ->check(number(0, 1))
        ->excludes(tail);
    make->add_option("inputs", prepare.inputs,
                     "files, or patterns in quotes: plain text (a file is a document), .jsonl or .ndjson (a line is one); each "
                     "also .gz and .zst; "
                     ".parquet (a row is one); or - for standard input")
        ->required();
    CLI::App* data = command("data", "look at prepared data: inspect DIR | verify DIR | audit CONFIG | preview CONFIG", [this] {
      request.config = directory;
      if (verb == "audit") return drover::audit_command(request, preview.ranks, json);
      return verb == "preview" ? drover::preview_command(request, preview) : drover::data_command(verb, directory);
    });
    data->add_option("verb", verb, "inspect | verify | audit | preview")
        ->required()
        ->check(CLI::IsMember({"inspect", "verify", "audit", "preview"}));
    data->add_option("directory", directory, "what prepare made; audit and preview: a YAML file")->required();
    data->add_option("--step", preview.step, "preview: the samples of this step")->check(integer(1))->capture_default_str();
    data->add_option("--rank", preview.rank, "preview: of this rank")->check(integer(0, kMostRanks))->capture_default_str();
    data->add_option("--ranks", preview.ranks, "audit and preview: of so many")
        ->check(integer(1, kMostRanks))
        ->capture_default_str();
    data->add_flag("--json", json, "audit: the figures as JSON instead");
    add_overrides(data, request);
    CLI::App* docs = command("docs", "print a generated page: config", [this] { return drover::docs_command(page); });
    docs->add_option("page", page, "config")->required()->check(CLI::IsMember({"config"}));
  }

  static void add_text_rules(CLI::App* to, drover::TextRules& rules, std::string& standard_input_format) {
    to->add_option("--jsonl-field", rules.field, "field of a JSONL record that holds the text")->capture_default_str();
    to->add_option("--column", rules.column, "column of a Parquet file that holds the text")->capture_default_str();
    to->add_option("--input-format", standard_input_format, "what standard input (-) holds: text | jsonl")
        ->check(CLI::IsMember({"text", "jsonl"}));
    const auto set_invalid = [&rules](const std::string& how) { rules.replace_ill_formed = how == "replace"; };
    to->add_option_function<std::string>("--invalid-utf8", set_invalid, "refuse: an error | replace: by U+FFFD")
        ->check(CLI::IsMember({"refuse", "replace"}))
        ->default_str("refuse");
  }

  void add_tokenizers() {
    CLI::App* group =
        app.add_subcommand("tokenizer", "text to ids and back: tokenizer encode | decode | inspect | compare | add-range | train");
    group->require_subcommand(1);
    const auto add = [&](const char* name, const char* help) {
      CLI::App* added = command(*group, name, help, [this, name] { return drover::tokenizer_command(name, tokenizer); });
      added->add_option("tokenizer", tokenizer.tokenizer, tokenizer_help)->required();
      return added;
    };
    const auto add_texts = [&](CLI::App* to) {
      to->add_option("texts", tokenizer.inputs, "as prepare's inputs; none or -: standard input");
      add_text_rules(to, tokenizer.rules, tokenizer.standard_input_format);
    };
    add_texts(add("encode", "the ids of each text, a line a text"));
    add("decode", "the text of ids")
        ->add_option("ids", tokenizer.inputs, "files of ids between white space; none or -: standard input");
    add("inspect", "vocabulary, patterns, special tokens");
    CLI::App* compare = add("compare", "how two tokenizers differ, and on the texts given; exit code 10 where they do");
    compare->add_option("other", tokenizer.other, tokenizer_help)->required();
    add_texts(compare);
    CLI::App* ranged = command(*group, "add-range", "a tokenizer.json with codes of another modality as well",
                               [this] { return drover::add_range_command(tokenizer.tokenizer, other, out); });
    ranged->add_option("tokenizer", tokenizer.tokenizer, "a tokenizer.json")->required();
    ranged->add_option("range", other, "NAME=SIZE, such as image=8192: tokens <|begin_NAME|>, <|end_NAME|>, <|NAME:0|> ...")
        ->required();
    ranged->add_option("--out", out, "file to write")->required();
    CLI::App* train = command(*group, "train", "a byte-level BPE vocabulary from text, as tokenizer.json",
                              [this] { return drover::train_tokenizer_command(train_tokenizer); });
    train->add_option("--vocab", train_tokenizer.vocab, "ids in all: special tokens, 256 bytes, merges")
        ->required()
        ->check(integer(257, int64_t{1} << 21));
    train->add_option("--out", train_tokenizer.out, "file to write")->required();
    train->add_option("--special", train_tokenizer.special, "special tokens, ids from 0 on; one must end a document")
        ->capture_default_str();
    train->add_option("--pattern", train_tokenizer.pattern, "how text is cut into words, as in that model")
        ->check(CLI::IsMember(drover::pattern_names()))
        ->capture_default_str();
    add_text_rules(train, train_tokenizer.rules, train_tokenizer.standard_input_format);
    train->add_option("--workers", train_tokenizer.workers, "threads; 0: all cores")->check(integer(0, 4096));
    train->add_option("inputs", train_tokenizer.inputs, "as of prepare")->required();
  }

  void add_token_files() {
    CLI::App* in = command("import-tokens", "turn token files of other programs into token shards, or refer to them where they lie",
                           [this] { return drover::import_tokens_command(import_tokens); });
    in->add_option("--from", import_tokens.format, "the files' format: megatron (.bin and .idx), llm.c, numpy, nanotron (.ds)")
        ->required()
        ->check(CLI::IsMember(drover::import_formats()));
    in->add_option("--out", import_tokens.out, "directory of the shards")->required();
    in->add_option("--tokenizer", import_tokens.tokenizer, "whose ids these are");
    in->add_option("--vocab", import_tokens.vocab, "how many ids there are, when the tokenizer is not known here")
        ->check(integer(1, INT32_MAX));
    in->add_option("--end-token", import_tokens.end_token, "a document ends after this id, where the format has no document ends")
        ->check(integer(0));
    in->add_option("--begin-token", import_tokens.begin_token, "a document begins at this id (llm.c's own data: 50256)")
        ->check(integer(0));
    in->add_flag("--whole-files", import_tokens.whole_files, "a file is a document");
    in->add_option("--dtype", import_tokens.dtype, "of files that do not say it: uint16, uint32 and so on");
    in->add_flag("--in-place", import_tokens.in_place, "shards refer to the files, which must stay as they are");
    in->add_option("--shard-tokens", import_tokens.shard_tokens, "tokens of each shard but the last; in place a file is a shard")
        ->check(integer(1))
        ->capture_default_str();
    in->add_option("files", import_tokens.inputs, "in this order")->required();
    CLI::App* away = command("export-tokens", "write token shards as another program's token files",
                             [this] { return drover::export_tokens_command(export_tokens); });
    away->add_option("--to", export_tokens.format, "megatron: OUT.bin and OUT.idx | llm.c: OUT_000000.bin and so on")
        ->required()
        ->check(CLI::IsMember(drover::export_formats()));
    away->add_option("--out", export_tokens.out, "what the files' names begin with")->required();
    away->add_option("--file-tokens", export_tokens.file_tokens, "llm.c: tokens of each file but the last")
        ->check(integer(1, INT32_MAX))
        ->capture_default_str();
    away->add_option("directory", export_tokens.directory, "what prepare or import-tokens made")->required();
  }

  void add_looks_at_runs() {
    CLI::App* report = command("report", "a run as one HTML page: curves, where the time goes, memory, layout, starts and stops",
                               [this] { return drover::report_command(directory, out); });
    report->add_option("run_directory", directory, "directory of the run; it may be training")->required();
    report->add_option("--out", out, "file to write; default: report.html in the run directory");
    CLI::App* compare = command("compare", "the first step where two runs differ, by how much, and what differs in their settings",
                                [this] { return drover::compare_command(directory, other); });
    compare->add_option("run_a", directory, "directory of a run")->required();
    compare->add_option("run_b", other, "directory of another")->required();
  }

  void add_checkpoints() {
    CLI::App* checkpoint =
        command("checkpoint", "list RUN_DIR | inspect CKPT | verify CKPT_OR_RUN_DIR | index CKPT | diff CKPT_A CKPT_B",
                [this] { return drover::checkpoint_command(verb, paths); });
    checkpoint->add_option("verb", verb, "list | inspect | verify | index | diff")
        ->required()
        ->check(CLI::IsMember({"list", "inspect", "verify", "index", "diff"}));
    checkpoint->add_option("paths", paths, "checkpoint or run directories")->required();
    CLI::App* text = command("generate", "text from a checkpoint", [this] { return drover::generate_command(generate); });
    text->add_option("checkpoint", generate.checkpoint, "a checkpoint, or a run directory (its newest)")->required();
    text->add_option("--prompt", generate.prompt, "text to continue");
    text->add_option("--max-tokens", generate.max_tokens, "tokens to add")->check(integer(0))->capture_default_str();
    text->add_option("--temperature", generate.temperature, "0: the most likely token")->check(number(0))->capture_default_str();
    text->add_option("--top-k", generate.top_k, "among the k most likely; 0: all")->check(integer(0))->capture_default_str();
    text->add_option("--tokenizer", generate.tokenizer, "its file, where neither the run's directory nor its data's has one");
    text->add_option("--seed", generate.seed, "the same seed gives the same text")->check(integer(0))->capture_default_str();
  }
};

int run(int argc, char** argv, const drover::LauncherView& view) {
  CommandLine line;
  try {
    line.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return view.rank == 0 ? line.app.exit(error) : 0;  // --help, --version
    refuse(error.what());
  }
  using Ranks = CommandLine::Ranks;
  if (line.ranks_of_command == Ranks::apart) return line.run();
  if (line.ranks_of_command == Ranks::first) return view.rank == 0 ? line.run() : 0;
  const std::string separate = drover::separate_processes(view);
  if (separate.empty()) return line.run();
  if (view.rank == 0) throw drover::Error(drover::ExitCode::communication, separate);
  return static_cast<int>(drover::ExitCode::communication);
}

}  // namespace

int main(int argc, char** argv) {
  const drover::LauncherView view = drover::launcher_view();
  try {
    return run(argc, argv, view);
  } catch (const std::exception& error) {
    // Before MPI, rank 0 speaks for all: the others wait for the launcher to end them. One that is still here after that saw what rank 0
    // did not (a host without the data, say), and speaks for itself and its host.
    if (view.rank > 0) std::this_thread::sleep_for(std::chrono::seconds(view.local_rank == 0 ? 10 : 14));
    std::fflush(stdout);
    std::cerr << "drover: error: " << (view.rank > 0 ? fmt::format("rank {}@{}: ", view.rank, drover::host_name()) : "")
              << drover::message_of(error) << std::endl;
    return static_cast<int>(drover::exit_code_of(error));
  }
}
