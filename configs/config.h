// The run configuration: plain structs, one field per YAML key, in the YAML's own nesting. Nothing here reads a file, checks a value
// or knows MPI: `configs/load.h` does the first, `configs/validate.h` the second.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace drover {

struct RopeScalingConfig {  // Llama 3.1's; off when factor is 1
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_positions = 8192;
};

struct ModelConfig {
  int64_t layers = 0, hidden = 0, heads = 0;
  int64_t kv_heads = 0;  // resolved: heads when omitted
  int64_t head_dim = 0;  // resolved: hidden / heads when omitted
  int64_t ffn = 0, vocab = 0;
  double norm_eps = 1e-5, rope_theta = 500000;
  RopeScalingConfig rope_scaling;
  bool tied_embeddings = false, qkv_bias = false;
};

struct ParallelConfig {
  int64_t dp = 0;                  // resolved: ranks / (tp pp cp) when omitted
  int64_t tp = 1, pp = 1, cp = 1;  // cp: 1 only, until context parallelism is built
  int64_t zero = 1;                // 0: optimizer state on every data-parallel rank; 1: divided among them
};

enum class Recompute : uint8_t { none, block };

struct TrainConfig {
  int64_t steps = 0;
  int64_t global_batch = 0;  // sequences a step, over all ranks
  int64_t micro_batch = 1;   // sequences that one data-parallel rank runs at a time
  int64_t sequence = 0;      // tokens a sequence
  int64_t seed = 0;
  Recompute recompute = Recompute::none;
  bool deterministic_attention = true;  // its backward pass, on a GPU
  int64_t validate_every = 0;           // steps; 0: at the end only, when data.validation is given
  int64_t validation_batches = 0;       // global batches a validation reads; 0: the whole validation set
  int64_t max_skipped = 10;             // non-finite steps in a row after which the run stops
};

enum class LrSchedule : uint8_t { cosine, wsd, constant };

struct OptimizerConfig {
  double lr = 0;             // peak
  int64_t warmup_steps = 0;  // linear from lr / warmup_steps
  LrSchedule schedule = LrSchedule::cosine;
  double min_lr_ratio = 0.1;    // the last step's lr over the peak's
  double decay_fraction = 0.2;  // wsd: the share of steps, at the end, that decay linearly
  double weight_decay = 0.1;
  double clip = 1.0;  // global gradient norm; 0: off
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
};

enum class Precision : uint8_t { f32, bf16 };

struct PrecisionConfig {
  Precision compute = Precision::bf16;
};

struct SourceConfig {
  std::vector<std::string> path;  // directories that `drover prepare` made
  double weight = 1;              // of its tokens among those of all sources
  double max_epochs = 0;          // that a run may read; 0: any number
};

struct PhaseConfig {
  int64_t until_tokens = 0;               // of the run; 0 in the last phase
  int64_t sequence = 0;                   // 0: train.sequence
  std::map<std::string, double> weights;  // by source, 0 for those that are left out; empty: the sources' own
};

struct SkipConfig {
  int64_t from_sample = 0, to_sample = 0;  // of the run; to_sample is the first after them
};

enum class Packing : uint8_t { contiguous, best_fit };

struct DataConfig {
  std::vector<std::string> train;       // directories that `drover prepare` made
  std::vector<std::string> validation;  // may be empty
  bool document_mask = true;
  int64_t max_documents_per_sample = 64;  // with document_mask
  Packing packing = Packing::contiguous;  // of the training data
  int64_t packing_window = 64;            // samples, with best_fit
  std::map<std::string, SourceConfig> sources;
  std::vector<PhaseConfig> phases;
  std::vector<SkipConfig> skip;
  std::map<std::string, double> loss_weights;  // of targets in a range of the tokenizer's vocabulary, by its name; 1 elsewhere
};

struct CheckpointConfig {
  int64_t every = 0;             // steps; 0: only at the end and on a stop signal
  int64_t keep = 3;              // newest checkpoints kept; 0: all
  std::string resume = "never";  // auto | must | never | a checkpoint directory
  bool gradients = false;        // also store the last step's gradients, as array "gradient": for comparing layouts and frameworks
};

struct RunConfig {
  std::string dir;                     // runs/<name of the YAML file> when omitted
  std::string device = "auto";         // auto | cpu | cuda; auto is decided when a run starts
  int64_t ranks_per_gpu = 1;           // of a host, one after the other
  double device_memory = 0;            // GiB of its GPU that a rank may use; 0: what is free
  std::string communication = "auto";  // auto | nccl | host; between GPUs; auto is decided when a run on them starts
  bool cuda_graphs = false;            // computation of a GPU is launched by graphs, an action each
  bool timed_products = true;          // on GPUs: matrix products by the algorithms that were the fastest at the start
  int64_t threads = 0;                 // a rank; 0: auto
  int64_t log_every = 1;               // steps a console line
  int64_t heartbeat_seconds = 120;     // silence of a rank's process after which the others end the run; 0: wait for it forever
};

struct Config {
  ModelConfig model;
  ParallelConfig parallel;
  TrainConfig train;
  OptimizerConfig optimizer;
  PrecisionConfig precision;
  DataConfig data;
  CheckpointConfig checkpoint;
  RunConfig run;
};

// What data.train or data.sources, data.phases and train.sequence mean together: at least one source, and one phase, every field filled.
std::map<std::string, SourceConfig> sources_of(const DataConfig& data);
std::vector<std::string> source_directories(const DataConfig& data);  // of all sources
std::vector<PhaseConfig> phases_of(const Config& config);
int64_t longest_sequence(const Config& config);              // of all phases: memory is planned for it
Config at_sequence(const Config& config, int64_t sequence);  // the configuration of a phase's engine

// Number of trainable parameters of the logical model (no padding).
int64_t parameter_count(const ModelConfig& model);

// FLOPs of one trained token, forward and backward (docs/numerics.md): 6 x matmul parameters (head included, embedding lookup
// excluded) + causal attention 6 * layers * heads * head_dim * sequence. Recompute is excluded.
double flops_per_token(const ModelConfig& model, int64_t sequence);

// Learning rate of step n (1-based), a pure function.
double learning_rate(const OptimizerConfig& optimizer, int64_t steps, int64_t step);

}  // namespace drover
