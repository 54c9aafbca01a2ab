#include "configs/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "configs/fields.h"

namespace drover {
namespace {

// NOLINTBEGIN(bugprone-macro-parentheses): a member has no parentheses
#define DROVER_AT(member) \
  [](Config & c) -> auto& { return c.member; }
// NOLINTEND(bugprone-macro-parentheses)

std::vector<Field> model_fields() {
  return {
      integer("model.layers", 1, 10000, DROVER_AT(model.layers), true, "transformer blocks"),
      integer("model.hidden", 1, kMostWide, DROVER_AT(model.hidden), true, "width of the residual stream"),
      integer("model.heads", 1, kMostRanks, DROVER_AT(model.heads), true, "query heads"),
      integer("model.kv_heads", 0, kMostRanks, DROVER_AT(model.kv_heads), false,
              "key and value heads (grouped-query attention); 0: as many as heads"),
      integer("model.head_dim", 0, kMostRanks, DROVER_AT(model.head_dim), false, "width of a head; 0: hidden / heads"),
      integer("model.ffn", 1, kMostWide, DROVER_AT(model.ffn), true, "width of the feed-forward layer"),
      integer("model.vocab", 2, kMostWide, DROVER_AT(model.vocab), true, "vocabulary size; at least the tokenizer's"),
      number("model.norm_eps", kPositiveShare, DROVER_AT(model.norm_eps), false, "epsilon of RMSNorm"),
      number("model.rope_theta", kFromOne, DROVER_AT(model.rope_theta), false, "base of the rotary embedding"),
      number("model.rope_scaling.factor", kFromOne, DROVER_AT(model.rope_scaling.factor), false,
             "Llama 3.1's rotary scaling; 1: off"),
      number("model.rope_scaling.low_freq_factor", kFromZero, DROVER_AT(model.rope_scaling.low_freq_factor), false,
             "below it, frequencies are divided by factor"),
      number("model.rope_scaling.high_freq_factor", kFromZero, DROVER_AT(model.rope_scaling.high_freq_factor), false,
             "above it, frequencies stay"),
      integer("model.rope_scaling.original_positions", 1, kMost, DROVER_AT(model.rope_scaling.original_positions), false,
              "context length before scaling"),
      boolean("model.tied_embeddings", DROVER_AT(model.tied_embeddings), "the head uses the embedding's weight"),
      boolean("model.qkv_bias", DROVER_AT(model.qkv_bias), "biases on q, k and v (Qwen2.5)"),
  };
}

std::vector<Field> layout_fields() {
  return {
      integer("parallel.dp", 0, kMostRanks, DROVER_AT(parallel.dp), false, "data-parallel replicas; 0: ranks / (tp * pp * cp)"),
      integer("parallel.tp", 1, kMostRanks, DROVER_AT(parallel.tp), false,
              "tensor-parallel ranks, with sequence parallelism; divides heads, kv_heads, ffn and micro_batch * sequence"),
      integer("parallel.pp", 1, 1024, DROVER_AT(parallel.pp), false, "pipeline stages (1F1B); layers may be divided unevenly"),
      integer("parallel.cp", 1, kMostRanks, DROVER_AT(parallel.cp), false, "context-parallel ranks; this version runs 1"),
      integer("parallel.zero", 0, 1, DROVER_AT(parallel.zero), false,
              "1: optimizer state divided among data-parallel ranks; 0: copied"),
      integer("train.steps", 0, kMost, DROVER_AT(train.steps), true, "optimizer steps of the whole run"),
      integer("train.global_batch", 1, kMost, DROVER_AT(train.global_batch), true,
              "sequences a step, over all ranks: micro_batch * dp * n"),
      integer("train.micro_batch", 1, 1 << 20, DROVER_AT(train.micro_batch), false,
              "sequences a data-parallel rank runs at a time"),
      integer("train.sequence", 1, 1 << 30, DROVER_AT(train.sequence), true, "tokens a sequence, the context length"),
      integer("train.seed", 0, kMost, DROVER_AT(train.seed), false, "of initial weights and token order"),
      choice("train.recompute", {"none", "block"}, DROVER_AT(train.recompute),
             "block: keep a block's input only, compute the rest again in the backward pass"),
      boolean("train.deterministic_attention", DROVER_AT(train.deterministic_attention),
              "false: attention's backward pass on a GPU needs less memory, computes nothing between documents, and adds in "
              "another order each time"),
      integer("train.validate_every", 0, kMost, DROVER_AT(train.validate_every), false,
              "steps between validations; 0: at the end only"),
      integer("train.validation_batches", 0, kMost, DROVER_AT(train.validation_batches), false,
              "global batches a validation reads; 0: the whole set"),
      integer("train.max_skipped", 1, kMost, DROVER_AT(train.max_skipped), false,
              "non-finite steps in a row after which the run stops"),
  };
}

std::vector<Field> run_fields() {
  return {
      number("optimizer.lr", kPositive, DROVER_AT(optimizer.lr), true, "peak learning rate"),
      integer("optimizer.warmup_steps", 0, kMost, DROVER_AT(optimizer.warmup_steps), false,
              "linear warm-up: step n runs at lr * n / warmup_steps"),
      choice("optimizer.schedule", {"cosine", "wsd", "constant"}, DROVER_AT(optimizer.schedule),
             "after warm-up: cosine decay, warm-up-stable-decay, or constant"),
      number("optimizer.min_lr_ratio", kAnyShare, DROVER_AT(optimizer.min_lr_ratio), false, "the last step's rate over the peak"),
      number("optimizer.decay_fraction", kAnyShare, DROVER_AT(optimizer.decay_fraction), false,
             "wsd: share of the steps, at the end, that decay linearly"),
      number("optimizer.weight_decay", kFromZero, DROVER_AT(optimizer.weight_decay), false,
             "decoupled decay (AdamW); never on norms and biases"),
      number("optimizer.clip", kFromZero, DROVER_AT(optimizer.clip), false, "global gradient norm to clip to; 0: off"),
      number("optimizer.beta1", kBelowOne, DROVER_AT(optimizer.beta1), false, "decay of the first moment"),
      number("optimizer.beta2", kBelowOne, DROVER_AT(optimizer.beta2), false, "decay of the second moment"),
      number("optimizer.eps", kPositiveShare, DROVER_AT(optimizer.eps), false, "added to the root of the second moment"),
      choice("precision.compute", {"f32", "bf16"}, DROVER_AT(precision.compute),
             "weights and activations; masters, moments and gradients are f32"),
      paths("data.train", DROVER_AT(data.train), "what `drover prepare` made: short for one source, train"),
      paths("data.validation", DROVER_AT(data.validation), "the same, held out; may be empty"),
      boolean("data.document_mask", DROVER_AT(data.document_mask), "attention stays inside a document, positions restart"),
      integer("data.max_documents_per_sample", 1, 4096, DROVER_AT(data.max_documents_per_sample), false,
              "with document_mask: a sample ends early where one more begins, and what follows in it is not trained on"),
      choice("data.packing", {"contiguous", "best_fit"}, DROVER_AT(data.packing),
             "of training samples: tokens as they lie, or whole documents as far as they fit (needs document_mask)"),
      integer("data.packing_window", 1, 4096, DROVER_AT(data.packing_window), false,
              "with best_fit: samples that lie side by side and whose documents are packed into as many"),
      sources_field(),
      phases_field(),
      skip_field(),
      loss_weights_field(),
  };
}

std::vector<Field> checkpoint_fields() {
  return {
      integer("checkpoint.every", 0, kMost, DROVER_AT(checkpoint.every), false,
              "steps between checkpoints, step 0 included; 0: at the end and on a stop signal"),
      integer("checkpoint.keep", 0, kMost, DROVER_AT(checkpoint.keep), false, "newest checkpoints kept; 0: all"),
      text("checkpoint.resume", "auto | must | never | a checkpoint directory", DROVER_AT(checkpoint.resume),
           "never: refuse a run directory that holds a run; auto: resume if there is a checkpoint; must: fail if there is none"),
      boolean("checkpoint.gradients", DROVER_AT(checkpoint.gradients),
              "store the last step's gradients too (array `gradient`), for comparisons"),
      text("run.dir", "a directory", DROVER_AT(run.dir),
           "configuration, metrics, log and checkpoints; left out: runs/<name of the YAML file>"),
      text("run.device", "auto | cpu | cuda", DROVER_AT(run.device),
           "auto: GPUs where every rank has one, else the cpu; decided once for all ranks"),
      integer("run.ranks_per_gpu", 1, 64, DROVER_AT(run.ranks_per_gpu), false,
              "ranks of a host that share a GPU, to try a layout on fewer GPUs than it is for"),
      text(
          "run.communication", "auto | nccl | host", DROVER_AT(run.communication),
          "between GPUs, by NCCL or by way of host memory and MPI; auto: NCCL where it is found and no GPU is shared; decided once "
          "for all ranks"),
      number("run.device_memory", kFromZero, DROVER_AT(run.device_memory), false,
             "GiB of its GPU that a rank may use; 0: what is free. 79 on a larger GPU is an H100 of 80 GB"),
      boolean("run.cuda_graphs", DROVER_AT(run.cuda_graphs),
              "a GPU's forward and backward passes are captured and launched as CUDA graphs, one a unit and action: the same bits, "
              "less work "
              "for the host, some memory"),
      boolean("run.timed_products", DROVER_AT(run.timed_products),
              "on GPUs: time cuBLASLt's algorithms for each matrix product at the start, and use the fastest; kept with the "
              "checkpoints. "
              "false: its first proposals"),
      integer(
          "run.threads", 0, 4096, DROVER_AT(run.threads), false,
          "threads a rank; 0: the cores of the affinity mask / ranks on the host. Kept on resume with as many ranks, else 0 again"),
      integer("run.log_every", 1, kMost, DROVER_AT(run.log_every), false, "steps a console line"),
      integer("run.heartbeat_seconds", 0, 86400, DROVER_AT(run.heartbeat_seconds), false,
              "silence of a rank's process (stopped, host down, network cut) after which all others end with exit code 6; what it "
              "computes does "
              "not matter; 0: never"),
  };
}

#undef DROVER_AT

std::string leaf(const std::string& path) { return path.substr(path.rfind('.') + 1); }
std::string parent(const std::string& path) { return path.substr(0, path.find('.') == std::string::npos ? 0 : path.rfind('.')); }

// Insertions, deletions, replacements, and swaps of neighbours (optimal string alignment).
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> least(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      least[i][j] = i + j;
      if (i == 0 || j == 0) continue;
      least[i][j] = std::min({least[i - 1][j] + 1, least[i][j - 1] + 1, least[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        least[i][j] = std::min(least[i][j], least[i - 2][j - 2] + 1);
    }
  return least[a.size()][b.size()];
}

std::set<std::string> words_of(const std::string& text) {
  constexpr const char* kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::set<std::string> words;
  for (size_t begin = text.find_first_of(kLetters); begin != std::string::npos;) {
    const size_t end = std::min(text.find_first_not_of(kLetters, begin), text.size());
    words.insert(text.substr(begin, end - begin));
    begin = text.find_first_of(kLetters, end);
  }
  return words;
}

constexpr size_t kFar = std::numeric_limits<size_t>::max();

// How far a known key is from an unknown one; the same section is nearer than another.
size_t distance(const std::string& unknown, const std::string& key, const std::string& doc) {
  constexpr size_t kSharedWord = 1000, kDescribed = 2000;  // beyond every distance of spelling
  const std::string name = leaf(unknown);
  const size_t elsewhere = parent(unknown) == parent(key) ? 0 : 1, typed = edit_distance(name, leaf(key));
  if (typed <= std::max<size_t>(1, name.size() / 3)) return 2 * typed + elsewhere;
  const std::set<std::string> words = words_of(name), others = words_of(leaf(key)), described = words_of(doc);
  if (std::any_of(words.begin(), words.end(), [&](const std::string& word) { return others.contains(word); }))
    return kSharedWord + elsewhere;
  const bool by_doc = words.size() > 1 && std::includes(described.begin(), described.end(), words.begin(), words.end());
  return by_doc ? kDescribed + elsewhere : kFar;
}

}  // namespace

const std::vector<Field>& schema() {
  static const std::vector<Field> fields = [] {
    std::vector<Field> all = model_fields();
    for (auto part : {layout_fields, run_fields, checkpoint_fields})
      for (Field& field : part()) all.push_back(std::move(field));
    return all;
  }();
  return fields;
}

const Field* find_field(const std::string& path) {
  for (const Field& field : schema())
    if (field.path == path) return &field;
  return nullptr;
}

std::optional<Field> find_nested(const Config& config, const std::string& path) {
  for (const Field& field : schema())
    if (field.nested && path.starts_with(field.path + ".")) return key_of_entry(field, config, path);
  return std::nullopt;
}

bool is_section(const std::string& path) {
  for (const Field& field : schema())
    if (field.path.starts_with(path + ".")) return true;
  return false;
}

std::vector<std::string> near_keys(const std::string& path) {
  std::vector<std::string> nearest;
  size_t least = kFar - 1;
  const std::string start = path.substr(0, 64);  // no key is as long: what follows would only take time
  const auto consider = [&](const std::string& key, const std::string& doc) {
    const size_t far = distance(start, key, doc);
    if (far > least || std::find(nearest.begin(), nearest.end(), key) != nearest.end()) return;
    if (far < least) nearest.clear();
    least = far;
    nearest.push_back(key);
  };
  for (const Field& field : schema()) {
    for (size_t dot = field.path.find('.'); dot != std::string::npos; dot = field.path.find('.', dot + 1))
      consider(field.path.substr(0, dot), "");
    consider(field.path, field.doc);
  }
  return nearest;
}

std::string keys_of(std::string section) {
  while (!section.empty() && !is_section(section)) section = parent(section);
  const std::string prefix = section.empty() ? "" : section + ".";
  std::vector<std::string> keys;
  for (const Field& field : schema()) {
    if (!field.path.starts_with(prefix)) continue;
    const std::string key = field.path.substr(prefix.size(), field.path.find('.', prefix.size()) - prefix.size());
    if (keys.empty() || keys.back() != key) keys.push_back(key);
  }
  return fmt::format("{}: {}", section.empty() ? "sections" : "keys of " + section, fmt::join(keys, ", "));
}

std::string alternatives(const std::string& path) {
  const std::vector<std::string> near = near_keys(path);
  if (near.empty()) return keys_of(parent(path));
  return fmt::format("the nearest {} {}", near.size() == 1 ? "is" : "are", fmt::join(near, ", "));
}

}  // namespace drover
