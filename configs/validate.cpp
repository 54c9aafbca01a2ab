#include "configs/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>

#include "configs/validate_data.h"
#include "kernels/base/error.h"
#include "kernels/base/words.h"

namespace drover {
namespace {

// Of many values the first, the last and the count.
template <class T> std::string listed(const std::vector<T>& values, const char* between = ", ") {
  constexpr size_t kMost = 12, kFirst = 6;
  if (values.empty()) return "none";
  if (values.size() <= kMost) return fmt::format("{}", fmt::join(values, between));
  return fmt::format("{}{}...{}{} ({} in all)", fmt::join(values.begin(), values.begin() + kFirst, between), between, between,
                     values.back(), values.size());
}

// What a file holds may be said on a terminal, which obeys control characters (those beyond ASCII are C2 80 to C2 9F in UTF-8).
std::string printable(const std::string& text) {
  std::string out;
  unsigned char before = 0;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    const bool control = byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte >= 0x80 && byte < 0xa0);
    out += control ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
    before = byte;
  }
  return out;
}

class Validator {
 public:
  Validator(LoadedConfig& loaded, int64_t ranks)
      : loaded_(loaded), c_(loaded.config), ranks_(ranks), violations_(loaded.violations) {}

  // Rules over values that could be read: every key of a rule stands in its known().
  std::vector<Violation> run() {
    derive();
    model();
    layout();
    batch();
    rest();
    return violations_;
  }

 private:
  // At the key's place; at that of an override where one of the keys in the message was set by it.
  void violate(const std::string& key, const std::string& message) {
    std::string place = place_of(loaded_, key);
    for (const auto& [path, where] : loaded_.places)
      if (!place.starts_with("--set ") && where.starts_with("--set ") && message.find(path) != std::string::npos) place = where;
    violations_.push_back({place, message});
  }
  bool known(std::initializer_list<const char*> keys) const {
    return std::none_of(keys.begin(), keys.end(), [&](const char* key) { return loaded_.unread.contains(key); });
  }
  void forget(const char* key) { loaded_.unread.insert(key); }

  void derive() {
    ModelConfig& m = c_.model;
    if (m.kv_heads == 0) {
      m.kv_heads = m.heads;
      if (!known({"model.heads"})) forget("model.kv_heads");
    }
    if (m.head_dim == 0) {
      const bool readable = known({"model.hidden", "model.heads"});
      if (readable && m.hidden % m.heads == 0) {
        m.head_dim = m.hidden / m.heads;
      } else {
        forget("model.head_dim");
        if (readable)
          violate("model.heads",
                  fmt::format("model.hidden {} is no multiple of model.heads {}: give model.head_dim", m.hidden, m.heads));
      }
    }
    if (known({"parallel.tp", "parallel.pp", "parallel.cp"})) {
      const int64_t inner = c_.parallel.tp * c_.parallel.pp * c_.parallel.cp;
      if (c_.parallel.dp == 0 && ranks_ % inner == 0) c_.parallel.dp = ranks_ / inner;
    } else {
      forget("parallel.dp");
    }
    if (c_.run.dir.empty() && loaded_.places.contains("run.dir") && known({"run.dir"}))
      violate("run.dir", "run.dir is empty: a directory, or leave it out");
    if (c_.run.dir.empty()) c_.run.dir = "runs/" + std::filesystem::path(loaded_.name).stem().string();
  }

  void model() {
    const ModelConfig& m = c_.model;
    if (known({"model.heads", "model.kv_heads"}) && m.heads % m.kv_heads != 0)
      violate("model.kv_heads", fmt::format("model.kv_heads {} must divide model.heads {}; divisors: {}", m.kv_heads, m.heads,
                                            listed(divisors(m.heads))));
    if (known({"model.head_dim"}) && m.head_dim % 2 != 0)
      violate("model.head_dim", fmt::format("model.head_dim {} must be even: rotary embedding turns pairs", m.head_dim));
    const auto f32 = [](double value) { return static_cast<float>(value); };  // what their difference is computed in
    if (known({"model.rope_scaling.factor", "model.rope_scaling.high_freq_factor", "model.rope_scaling.low_freq_factor"}) &&
        m.rope_scaling.factor != 1 && f32(m.rope_scaling.high_freq_factor) <= f32(m.rope_scaling.low_freq_factor))
      violate("model.rope_scaling.high_freq_factor",
              "model.rope_scaling.high_freq_factor must be above model.rope_scaling.low_freq_factor");
    size();
  }

  // What no memory holds is refused here, so that no product of sizes overflows later.
  void size() {
    if (!known({"model.layers", "model.hidden", "model.heads", "model.kv_heads", "model.head_dim", "model.ffn", "model.vocab"}))
      return;
    constexpr double kMostParameters = 1e15, kMostActivations = 1e16;
    const auto f64 = [](int64_t value) { return static_cast<double>(value); };
    const ModelConfig& m = c_.model;
    const double rows = f64(m.heads + 2 * m.kv_heads) * f64(m.head_dim) + f64(m.heads) * f64(m.head_dim) + 3 * f64(m.ffn);
    const double parameters = f64(m.hidden) * (f64(m.layers) * rows + 2 * f64(m.vocab));
    if (parameters > kMostParameters)
      violate("model", fmt::format("the model has about {:.1e} parameters; at most {:.0e}", parameters, kMostParameters));
    if (!known({"train.micro_batch", "train.sequence", "data.phases"})) return;
    const auto activations = [&](const std::string& key, int64_t sequence) {
      const double count = f64(c_.train.micro_batch) * f64(sequence) * f64(m.layers) * (f64(m.hidden) + rows);
      if (count > kMostActivations)
        violate(key,
                fmt::format("a micro-batch of train.micro_batch {} * {} {} tokens has about {:.1e} activations; at most {:.0e}",
                            c_.train.micro_batch, key, sequence, count, kMostActivations));
    };
    activations("train.sequence", c_.train.sequence);
    for (size_t i = 0; i < c_.data.phases.size(); ++i)
      activations(fmt::format("data.phases.{}.sequence", i + 1), c_.data.phases[i].sequence);
  }

  static std::vector<int64_t> divisors(int64_t n) {
    std::vector<int64_t> all;
    for (int64_t d = 1; d <= n; ++d)
      if (n % d == 0) all.push_back(d);
    return all;
  }

  bool tp_works(int64_t tp) const {
    const ModelConfig& m = c_.model;
    const auto divides = [&](const PhaseConfig& phase) { return c_.train.micro_batch * phase.sequence % tp == 0; };
    return m.heads % tp == 0 && m.kv_heads % tp == 0 && m.ffn % tp == 0 && (c_.train.micro_batch * c_.train.sequence) % tp == 0 &&
           std::all_of(c_.data.phases.begin(), c_.data.phases.end(), divides);
  }
  std::vector<int64_t> working_tp() const {
    std::vector<int64_t> works;
    for (int64_t tp = 1; tp <= c_.model.kv_heads; ++tp)
      if (tp_works(tp)) works.push_back(tp);
    return works;
  }
  bool tp_is_known() const { return known({"model.heads", "model.kv_heads", "model.ffn", "train.micro_batch", "train.sequence"}); }

  void tensor_parallel() {
    if (!known({"parallel.tp"})) return;
    const int64_t tp = c_.parallel.tp;
    std::vector<std::string> undivided;
    const auto divides = [&](std::initializer_list<const char*> keys, const char* what, int64_t value) {
      if (known(keys) && value % tp != 0) undivided.push_back(fmt::format("{} {}", what, value));
    };
    divides({"model.heads"}, "model.heads", c_.model.heads);
    divides({"model.kv_heads"}, "model.kv_heads", c_.model.kv_heads);
    divides({"model.ffn"}, "model.ffn", c_.model.ffn);
    divides({"train.micro_batch", "train.sequence"},
            "train.micro_batch * train.sequence =", c_.train.micro_batch * c_.train.sequence);
    for (size_t i = 0; i < c_.data.phases.size(); ++i)
      divides({"train.micro_batch", "data.phases"}, fmt::format("train.micro_batch * data.phases.{}.sequence =", i + 1).c_str(),
              c_.train.micro_batch * c_.data.phases[i].sequence);
    if (undivided.empty()) return;
    violate("parallel.tp", fmt::format("parallel.tp {} does not divide {}{}", tp, fmt::join(undivided, ", "),
                                       tp_is_known() ? "; tp that work for this model and batch: " + listed(working_tp()) : ""));
  }

  void layout() {
    const ParallelConfig& p = c_.parallel;
    if (p.cp != 1) violate("parallel.cp", fmt::format("parallel.cp {}: context parallelism is not in this version; 1", p.cp));
    tensor_parallel();
    if (known({"parallel.pp", "model.layers"}) && p.pp > c_.model.layers)
      violate("parallel.pp", fmt::format("parallel.pp {}: every stage needs a layer, model.layers is {}; at most {}", p.pp,
                                         c_.model.layers, c_.model.layers));
    if (!known({"parallel.dp", "parallel.tp", "parallel.pp", "parallel.cp"})) return;
    const int64_t inner = p.tp * p.pp * p.cp;
    if (p.dp == 0) {
      violate("parallel.tp",
              fmt::format("{} cannot be divided into tp {} * pp {}{}; start a multiple of {} ranks{}", counted(ranks_, "rank"),
                          p.tp, p.pp, p.cp > 1 ? fmt::format(" * cp {}", p.cp) : "", inner, layout_alternatives()));
    } else if (p.dp * inner != ranks_) {
      violate("parallel.dp",
              fmt::format("dp {} * tp {} * pp {} * cp {} = {}, but the run has {}; leave parallel.dp out to derive it, "
                          "or start {}",
                          p.dp, p.tp, p.pp, p.cp, counted(p.dp * inner, "rank"), counted(ranks_, "rank"),
                          counted(p.dp * inner, "rank")));
    }
  }
  std::string layout_alternatives() const {
    if (!tp_is_known() || !known({"model.layers"})) return "";
    std::vector<std::string> layouts;
    for (int64_t tp : working_tp())
      for (int64_t pp = 1; pp <= std::min(ranks_, c_.model.layers); ++pp)
        if (ranks_ % (tp * pp) == 0) layouts.push_back(fmt::format("tp {} pp {}", tp, pp));
    return fmt::format(", or for {}: {}", counted(ranks_, "rank"), listed(layouts, "; "));
  }

  void batch() {
    constexpr int64_t kMostMicrobatches = 32767;  // what an action of the step's program counts in
    if (!known({"parallel.dp", "train.micro_batch", "train.global_batch"}) || c_.parallel.dp == 0) return;
    const int64_t unit = c_.train.micro_batch * c_.parallel.dp, batch = c_.train.global_batch;
    if (batch % unit != 0) {
      const int64_t below = batch / unit * unit;
      violate("train.global_batch",
              fmt::format("train.global_batch {} must be a multiple of train.micro_batch {} * dp {} = {}; nearest: {}", batch,
                          c_.train.micro_batch, c_.parallel.dp, unit,
                          below == 0 ? std::to_string(unit) : fmt::format("{} or {}", below, below + unit)));
    } else if (batch / unit > kMostMicrobatches) {
      violate("train.global_batch",
              fmt::format("train.global_batch {} is {} micro-batches a step of train.micro_batch {} * dp {}; at most {}: a larger "
                          "train.micro_batch, or more ranks",
                          batch, batch / unit, c_.train.micro_batch, c_.parallel.dp, kMostMicrobatches));
    }
  }

  void rates() {
    const OptimizerConfig& o = c_.optimizer;
    const int64_t steps = c_.train.steps, after_warmup = steps - o.warmup_steps;
    if (known({"optimizer.lr", "optimizer.weight_decay"}) && o.lr * o.weight_decay > 1)
      violate("optimizer.weight_decay",
              fmt::format("optimizer.weight_decay {} * optimizer.lr {} is above 1: a step would take more than all of a weight; at "
                          "most {}",
                          o.weight_decay, o.lr, 1 / o.lr));
    if (!known({"optimizer.warmup_steps", "train.steps"}) || steps == 0) return;
    if (after_warmup < 0)
      return violate("optimizer.warmup_steps",
                     fmt::format("optimizer.warmup_steps {} is above train.steps {}", o.warmup_steps, steps));
    const double most = static_cast<double>(after_warmup) / static_cast<double>(steps);
    if (known({"optimizer.schedule", "optimizer.decay_fraction"}) && o.schedule == LrSchedule::wsd && o.decay_fraction > most)
      violate("optimizer.decay_fraction",
              fmt::format("optimizer.decay_fraction {} of {} begins inside the warm-up, optimizer.warmup_steps {}; at most "
                          "decay_fraction {}, or warmup_steps {:.0f}",
                          o.decay_fraction, counted(steps, "step"), o.warmup_steps, std::floor(most * 1000) / 1000,
                          std::floor(static_cast<double>(steps) * (1 - o.decay_fraction))));
  }

  void rest() {
    constexpr double kMostTokens = 9007199254740992;  // 2^53: what metrics count in
    const double tokens = static_cast<double>(c_.train.steps) * static_cast<double>(c_.train.global_batch) *
                          static_cast<double>(longest_sequence(c_));
    if (known({"train.steps", "train.global_batch", "train.sequence", "data.phases"}) && tokens > kMostTokens)
      violate("train.steps", fmt::format("a run of {:.1e} tokens: at most {:.1e}", tokens, kMostTokens));
    rates();
    check_data(loaded_, [this](const std::string& key, const std::string& message) { violate(key, message); });
    if (known({"data.validation", "train.validate_every"}) && c_.data.validation.empty() && c_.train.validate_every > 0)
      violate("train.validate_every",
              fmt::format("train.validate_every {} needs data.validation: a directory that `drover prepare` made; or 0",
                          c_.train.validate_every));
    if (known({"run.device"}) && c_.run.device != "auto" && c_.run.device != "cpu" && c_.run.device != "cuda")
      violate("run.device", fmt::format("run.device \"{}\": auto, cpu or cuda", c_.run.device));
    if (known({"run.communication"}) && c_.run.communication != "auto" && c_.run.communication != "nccl" &&
        c_.run.communication != "host")
      violate("run.communication", fmt::format("run.communication \"{}\": auto, nccl or host", c_.run.communication));
    const std::string& resume = c_.checkpoint.resume;
    if (known({"checkpoint.resume"}) && resume != "auto" && resume != "must" && resume != "never" &&
        resume.find('/') == std::string::npos)
      violate("checkpoint.resume",
              fmt::format("checkpoint.resume \"{}\": auto, must, never or a checkpoint directory with a / in its "
                          "path, such as runs/mine/checkpoints/step_00001000",
                          resume));
  }

  LoadedConfig& loaded_;
  Config& c_;
  int64_t ranks_;
  std::vector<Violation> violations_;
};

}  // namespace

std::vector<Violation> resolve_and_validate(LoadedConfig& loaded, int64_t ranks) { return Validator(loaded, ranks).run(); }

void throw_if_any(const std::vector<Violation>& violations) {
  if (violations.empty()) return;
  std::string text = violations.size() == 1 ? "the configuration breaks a rule"
                                            : fmt::format("the configuration breaks {} rules", violations.size());
  for (const Violation& violation : violations)
    text += fmt::format("\n  {}: {}", printable(violation.where), printable(violation.message));
  throw Error(ExitCode::config, text);
}

Config tiny(const Config& config) {
  Config small = config;
  ParallelConfig& p = small.parallel;
  p.dp = 0;
  p.tp = std::min<int64_t>(p.tp, 2);
  p.pp = std::min<int64_t>(p.pp, 2);
  ModelConfig& m = small.model;
  const int64_t kv_heads = m.kv_heads == 0 ? m.heads : m.kv_heads;  // nothing is derived or checked yet
  const int64_t group = std::clamp<int64_t>(m.heads / kv_heads, 1, 4);
  const bool uneven = config.model.layers % config.parallel.pp != 0;
  m.layers = p.pp + (uneven && p.pp > 1 ? 1 : 0) + (p.pp == 1 ? 1 : 0);
  m.kv_heads = 2;
  m.heads = 2 * group;
  m.head_dim = 16;
  m.hidden = 64;
  m.ffn = 128;
  m.vocab = 258;
  small.train.steps = 3;
  small.train.sequence = 64;
  small.train.micro_batch = 1;
  small.train.global_batch = 16;
  small.data.phases.clear();
  small.data.skip.clear();
  small.train.validate_every = 0;
  small.train.validation_batches = 1;
  small.optimizer.warmup_steps = std::min<int64_t>(small.optimizer.warmup_steps, 1);
  small.run.threads = 1;
  small.run.device = "cpu";
  small.run.dir = config.run.dir.empty() ? "" : config.run.dir + "_tiny";
  return small;
}

}  // namespace drover
