// `drover bench data`: the loader alone, on one core and from the page cache. What it makes is thrown away.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <optional>

#include "data/dataset.h"
#include "data/mixture.h"
#include "data/shard.h"
#include "kernels/base/files.h"
#include "kernels/base/philox.h"
#include "kernels/base/seconds.h"
#include "kernels/base/threads.h"
#include "kernels/base/words.h"
#include "kernels/measure.h"
#include "launch/commands.h"
#include "trainer/device.h"
#include "trainer/model/shape.h"

namespace drover {
namespace {

constexpr int64_t kTokensAPass = 1 << 25;  // more than the caches of a processor hold, less than a page cache
constexpr double kSeconds = 1;

// One sample: its first token, counted over all directories, and how many.
struct Span {
  int64_t begin, tokens;
};

// What is measured: samples in random order, as training takes them, into rows of a batch that is used again and again.
struct Subject {
  std::vector<std::string> directories;
  std::vector<Span> samples;
  int64_t rows = 8, longest = 0;
  double opening = 0;  // seconds that opening the shards took
  std::function<void(int64_t sample, const Batch& batch, int64_t row)> read;
};

struct Rows {
  explicit Rows(int64_t tokens) {
    const auto view = [&](DType dtype) {
      memory.emplace_back(new (kAligned) int32_t[static_cast<size_t>(tokens)]);
      return TensorView{reinterpret_cast<std::byte*>(memory.back().get()), dtype, {}, {tokens}};
    };
    batch = {view(DType::i32), view(DType::i32), view(DType::i32), view(DType::i32), view(DType::f32)};
  }
  static constexpr std::align_val_t kAligned{256};  // as an arena's tensors
  struct Free {
    void operator()(int32_t* row) const { operator delete[](row, kAligned); }
  };
  std::vector<std::unique_ptr<int32_t[], Free>> memory;
  Batch batch;
};

// Shards of one directory: samples of `sequence` tokens, in the order of a run that reads nothing else.
Subject subject_of(const std::string& directory, int64_t sequence) {
  Subject subject{.directories = {directory}, .longest = sequence};
  const auto begin = std::chrono::steady_clock::now();
  const auto dataset = std::make_shared<TokenDataset>(subject.directories, sequence, INT32_MAX);
  subject.opening = seconds_since(begin);
  const int64_t count = std::min(dataset->samples(), std::max<int64_t>(1, kTokensAPass / sequence));
  for (int64_t i = 0; i < count; ++i) subject.samples.push_back({sample_at(1, i, dataset->samples()) * sequence, sequence});
  subject.read = [dataset](int64_t i, const Batch& batch, int64_t row) {
    dataset->read(sample_at(1, i, dataset->samples()), true, batch, row);
  };
  return subject;
}

// The first samples of a run.
Subject subject_of(const Config& config) {
  Subject subject{.rows = config.train.micro_batch};
  const auto begin = std::chrono::steady_clock::now();
  const auto mixture = std::make_shared<Mixture>(config);
  subject.opening = seconds_since(begin);
  std::vector<int64_t> begins;
  int64_t tokens = 0, read = 0;
  for (const auto& [name, source] : sources_of(config.data)) {
    subject.directories.insert(subject.directories.end(), source.path.begin(), source.path.end());
    begins.push_back(tokens);
    tokens += mixture->source(static_cast<int>(begins.size()) - 1).tokens();
  }
  while (read < std::min(kTokensAPass, tokens)) {
    const SampleOrder::Sample sample = mixture->order().at(std::ssize(subject.samples));
    subject.samples.push_back({begins[static_cast<size_t>(sample.source)] + sample.token, sample.sequence});
    subject.longest = std::max(subject.longest, sample.sequence);
    read += sample.sequence;
  }
  const bool document_mask = config.data.document_mask;
  const int64_t most_documents = config.data.max_documents_per_sample;
  subject.read = [=](int64_t i, const Batch& batch, int64_t row) { mixture->read(i, document_mask, batch, row, most_documents); };
  return subject;
}

int64_t tokens_of(const std::vector<Span>& samples) {
  return std::accumulate(samples.begin(), samples.end(), int64_t{0},
                         [](int64_t sum, const Span& span) { return sum + span.tokens; });
}

// Seconds that this thread had a core: it waits for nothing else, and others may want the core too.
double core_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Tokens a second of one core, of the best pass: others may take caches and memory too. The first pass fills the page cache.
double measure(const Subject& subject) {
  Rows rows(subject.rows * subject.longest);
  const auto pass = [&] {
    const double begin = core_seconds();
    for (int64_t i = 0; i < std::ssize(subject.samples); ++i) subject.read(i, rows.batch, i % subject.rows);
    return core_seconds() - begin;
  };
  pass();
  double best = 1e9, total = 0;
  while (total < kSeconds) {
    const double seconds = pass();
    best = std::min(best, seconds);
    total += seconds;
  }
  return static_cast<double>(tokens_of(subject.samples)) / best;
}

// The same rows, copied by numpy out of its own memory maps: what a loader in Python does at the least, into one array of i32.
constexpr const char* kNumpy = R"(
import sys, time
import numpy as np
shards, spans = [], np.fromfile(sys.argv[1], "<i8").reshape(-1, 2).tolist()
begin = 0
for path in sys.argv[2:]:
    width, count = np.fromfile(path, "<u4", 4)[3], int(np.fromfile(path, "<u8", 13)[12])
    shards.append((begin, begin + count, np.memmap(path, "<u2" if width == 2 else "<u4", "r", 256, (count,))))
    begin += count
rows = [(tokens, row - first, n) for row, n in spans for first, end, tokens in shards if first <= row and row + n + 1 <= end]
batch, best = np.zeros((8, max(n for _, n in spans) + 1), np.int32), 1e9
def copy():
    begin = time.thread_time()
    for i, (tokens, row, n) in enumerate(rows):
        batch[i % 8, :n + 1] = tokens[row:row + n + 1]
    return time.thread_time() - begin
copy()
end = time.perf_counter() + 2
while time.perf_counter() < end:
    best = min(best, copy())
print(sum(n for _, _, n in rows) / best)
)";

// Tokens a second; 0 without a Python that has numpy, or where tokens lie in files of others.
double measure_numpy(const Subject& subject) {
  std::string shards;
  for (const std::string& directory : subject.directories)
    for (const auto& path : list_shards(directory)) {
      if (Shard(path).header().foreign) return 0;
      shards += fmt::format(" '{}'", path.string());
    }
  const auto scratch = std::filesystem::temp_directory_path() / fmt::format("drover_bench_data_{}", getpid());
  std::filesystem::create_directories(scratch);
  write_durably(scratch / "copy_rows.py", kNumpy);
  write_durably(scratch / "samples",
                {reinterpret_cast<const char*>(subject.samples.data()), subject.samples.size() * sizeof(Span)});
  double rate = 0;
  for (const char* python : {"build/venv/bin/python", "python3"}) {
    const std::string command = fmt::format("{} '{}' '{}'{} 2>/dev/null", python, (scratch / "copy_rows.py").string(),
                                            (scratch / "samples").string(), shards);
    std::FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) continue;
    const bool read = std::fscanf(pipe, "%lf", &rate) == 1;
    if (pclose(pipe) == 0 && read) break;
    rate = 0;
  }
  std::filesystem::remove_all(scratch);
  return rate;
}

// At most this share of a step: were its products as fast as this process can make them, and nothing else to do.
void print_share(const Config& config, double tokens_per_second) {
  set_threads(static_cast<int>(config.run.threads));
  Stream stream;
  const double rate = measure_gemm_rate(stream, config.precision.compute == Precision::bf16 ? DType::bf16 : DType::f32);
  const double flops = flops_per_token(config.model, config.train.sequence), step = flops / rate * tokens_per_second;
  fmt::print(
      "a step at {:.0f} GFLOP/s in matrix products, all that {} have here, takes {:.0f} times as long: loading is {:.2f} % of it\n",
      rate / 1e9, counted(config.run.threads, "thread"), step, 100 / step);
}

}  // namespace

int bench_data_command(const TrainRequest& request, int64_t sequence, bool against) {
  std::optional<Config> config;
  if (!std::filesystem::is_directory(request.config)) {
    config = resolve_config(request, 1);
    if (config->run.threads == 0) config->run.threads = available_cores();
  }
  const Subject subject = config ? subject_of(*config) : subject_of(request.config, sequence);
  int64_t shards = 0;
  for (const std::string& directory : subject.directories) shards += std::ssize(list_shards(directory));
  fmt::print("{} opened in {:.1f} ms\n", counted(shards, "shard"), 1e3 * subject.opening);
  const uint32_t width = Shard(list_shards(subject.directories.front()).front()).header().width;
  const double rate = measure(subject);
  const auto line = [&](const char* who, double tokens) {
    fmt::print("{:<7} {:.3f} GB/s of tokens ({} bytes each, {:.0f} million a second)\n", who, tokens * width / 1e9, width,
               tokens / 1e6);
  };
  const bool same_length = tokens_of(subject.samples) == std::ssize(subject.samples) * subject.longest;
  fmt::print("{} of {}{} tokens, in random order, from the page cache, on one core\n",
             counted(std::ssize(subject.samples), "sample"), same_length ? "" : "up to ", subject.longest);
  line("drover", rate);
  if (against) {
    const double numpy = measure_numpy(subject);
    if (numpy > 0) {
      line("numpy", numpy);
      fmt::print("drover makes {:.2f} times the tokens of numpy's memmap, which only copies inputs and targets\n", rate / numpy);
    } else {
      fmt::print("numpy   not measured: no Python with numpy, or shards that refer to files of others\n");
    }
  }
  if (config && !may_use_gpu(*config)) print_share(*config, rate);
  return 0;
}

}  // namespace drover
